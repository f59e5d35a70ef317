"""Spoilt configurations: whatever stands in them, they are read, or one line says what is wrong."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.cli.main import main
from revo_ray.errors import UserError
from revo_ray.methods import UnitLike, load_methods
from revo_ray.search.core.prepare import resolve
from revo_ray.settings.presets import preset_names
from revo_ray.settings.schema import SearchConfig
from revo_ray.settings.study import StudyConfig
from tests.properties import examples

SECONDS = 10.0
"""Of this process, for one configuration; most take milliseconds."""


@dataclass(frozen=True)
class Unit:
    """A unit of a network that nobody needs to build."""

    name: str
    head: bool = False


UNITS: list[UnitLike] = [Unit("stem"), Unit("body"), Unit("head", head=True)]

FOLDER = resources.files("revo_ray") / "presets"
SEARCHES = [(FOLDER / f"{name}.yaml").read_text() for name in preset_names()]
STUDIES = [(FOLDER / "studies" / f"{name}.yaml").read_text() for name in preset_names("study")]


def keys_of(schema: dict[str, Any], whole: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in schema.get("properties", {}).items():
        yield prefix + key
        target = value.get("$ref") or value.get("allOf", [{}])[0].get("$ref") or ""
        yield from keys_of(
            whole["$defs"].get(target.rpartition("/")[2], {}), whole, f"{prefix}{key}."
        )


SCHEMA = StudyConfig.model_json_schema()
METHODS = load_methods()
KEYS = sorted(keys_of(SCHEMA, SCHEMA)) + sorted(
    {f"method.{key}" for method in METHODS.values() for key in method.Options.model_fields}
)

LAUGHS = "\n".join(
    ["a: &a0 {x: 1, y: 2}", *(f"l{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}}}" for n in range(1, 60))]
)
LAUGHING_LIST = (
    "[&b0 [1, 2], " + ", ".join(f"&b{n} [*b{n - 1}, *b{n - 1}]" for n in range(1, 60)) + "]"
)
MERGES = "[&c0 {a: 1}, " + ", ".join(f"&c{n} {{<<: [*c{n - 1}, *c{n - 1}]}}" for n in range(1, 40))

TOKENS = [
    *("null", "~", "true", "no", "0", "-1", "1", "0.5", "1e-400", "1e400", ".nan", "-.inf"),
    *("9" * 400, "-" + "9" * 5000, "0x" + "f" * 5000, "0b2", "0o9", "1_0", "1:99:99", "2**31"),
    *("2147483648", "4294967296", "1.7976931348623157e308", "5e-324", "1e30", "10000000000000"),
    *("''", '""', "[]", "{}", "[[]]", "[null]", "{null: null}", "{[a]: b}", "? [a]", "{a: {b: c}}"),
    *("!!int abc", "!!float abc", "!!bool maybe", "!!null 7", "!!timestamp never", "!!binary é"),
    *("!!binary aGk=", "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1]", "!!str 1", "=", "<<"),
    *("!!python/object/apply:os.system [touch pwned]", "!!python/name:os.system", "!unknown x"),
    *("&x [*x]", "&x {a: *x}", "*nowhere", "[&x 1, *x]", "{<<: {a: 1}}", "{<<: 1}", "<<: *x"),
    *("[" * 3000, "{a: " * 300, "- " * 500, "[" * 900 + "]" * 900, LAUGHING_LIST, MERGES + "]"),
    *("'", '"', "|", ">", "%", "@", "`", "#", ":", "-", "---", "...", "--- a\n--- b", "\t", "\r"),
    *("[red]", "[/]", "[bold]x[/bold]", "\x1b[31m", "\x00", "\x07", "\x85", "\u2028", "\ud800"),
    *("é" * 100, "a" * 100_000, "\u202egpj.exe", "💥", "\ufeff", "../../up", "/", "~", "~nobody/x"),
    *("auto", "searched", "log", "asha", "revo-binary", "set-encoding", "full", "random", "none"),
    *("[1, 0]", "[0.1, 1]", "[a, b]", "[1e-300, 1e300]", "{name: full}", "{source: csv, root: x}"),
    *("[0, 0.1, 0.1]", "[0]", "[1e308, 1e-308]", "s3://a b", "file://", "gopher://x", "package:"),
]
TEXT = st.one_of(st.sampled_from(TOKENS), st.text(max_size=30))
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(-(10**40), 10**40),
        st.floats(),
        TEXT,
        st.binary(max_size=9),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(TEXT, st.integers()), inner, max_size=3),
    ),
    max_leaves=8,
)


@st.composite
def spoilt(draw: st.DrawFn, texts: list[str]) -> bytes:
    """A configuration that works, with a few changes to its lines, its values or its bytes."""
    lines = draw(st.sampled_from(texts)).splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        kind = draw(st.integers(0, 6))
        if kind <= 2 and ":" in lines[at]:
            lines[at] = f"{lines[at].partition(':')[0]}: {draw(TEXT)}"
        elif kind == 3:
            lines.insert(at, draw(TEXT))
        elif kind == 4:
            lines.insert(at, lines[draw(st.integers(0, len(lines) - 1))])
        elif kind == 5 and len(lines) > 1:
            del lines[at]
        else:
            key, _, last = draw(st.sampled_from(KEYS)).rpartition(".")
            lines.append(f"{key or last}: {{{last}: {draw(TEXT)}}}" if key else f"{last}: x")
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(max_size=3)) + content[at + 1 :]
    return content


OVERRIDES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(KEYS), st.one_of(TEXT, VALUES.map(str))).map("=".join),
        st.tuples(TEXT, TEXT).map("=".join),
        TEXT,
    ),
    max_size=4,
)


@contextmanager
def in_time() -> Iterator[None]:
    began = time.process_time()
    yield
    assert time.process_time() - began < SECONDS


def outcome(make: Callable[[], Any], said: list[str] | None = None) -> Any:
    """Give the result, or None where one line, added to `said`, says why there is none."""
    try:
        return make()
    except UserError as error:
        line = str(error)
        assert len(line.splitlines()) == 1, line
        assert 0 < len(line) < 2000, len(line)
        if said is not None:
            said.append(line)
        return None


def carry_on(config: SearchConfig) -> None:
    """What a search does with its configuration before it reads images."""
    assert all(len(line) < 10**6 for line in [json.dumps(config.model_dump(mode="json"))])
    resolved = outcome(lambda: resolve(config))
    if resolved is None:
        return
    config, method = resolved
    outcome(lambda: method.scheduler(config.search, config.train))
    proposals = outcome(lambda: method.searcher(method.space(UNITS), config.search))
    for _ in range(3):
        if proposals is not None and (proposal := proposals.ask()) is not None:
            method.plan(proposal.sample, UNITS)


@given(content=spoilt(SEARCHES), overrides=OVERRIDES)
@examples(60)
def test_a_spoilt_search(content: bytes, overrides: list[str], tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with in_time():
        config = outcome(lambda: SearchConfig.load(path, overrides))
        if config is not None:
            carry_on(config)
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.yaml"]


@given(content=spoilt(STUDIES), overrides=OVERRIDES)
@examples(30)
def test_a_spoilt_study(content: bytes, overrides: list[str], tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(content)
    with in_time():
        study = outcome(lambda: StudyConfig.load(path, overrides))
        searches = outcome(study.searches) if study is not None else None
        for config in (searches or [])[:3]:
            carry_on(config)
    assert [entry.name for entry in tmp_path.iterdir()] == ["study.yaml"]


@given(values=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6), study=st.booleans())
@examples(40)
def test_values_of_any_type(values: dict[str, Any], study: bool, tmp_path: Path) -> None:
    nested: dict[str, Any] = {"study": {"methods": ["random"]}} if study else {}
    for key, value in values.items():
        section, _, last = key.partition(".")
        if last and isinstance(nested.setdefault(section, {}), dict):
            nested[section][last] = value
        else:
            nested[section] = value
    path = tmp_path / "config.yaml"
    path.write_text(yaml.dump(nested, allow_unicode=True), errors="surrogatepass")
    with in_time():
        config = outcome(lambda: (StudyConfig if study else SearchConfig).load(path))
        if isinstance(config, StudyConfig):
            outcome(config.searches)
        elif config is not None:
            carry_on(config)


def test_aliases_that_grow_without_end(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    for text in (LAUGHS, f"a: {LAUGHING_LIST}", f"a: {MERGES}]"):
        for whole in (text, "method:\n  " + text.replace("\n", "\n  ")):
            path.write_text(whole)
            with (
                in_time(),
                pytest.raises(UserError, match=r"too many|duplicate anchor|line") as caught,
            ):
                SearchConfig.load(path)
            assert len(str(caught.value)) < 300
    with in_time():
        outcome(lambda: SearchConfig.load(None, [f"data.root={LAUGHING_LIST}"]))


def test_every_odd_value_in_every_place(tmp_path: Path) -> None:
    """No odd value needs luck to be met."""
    path = tmp_path / "config.yaml"
    empty = tmp_path / "empty.yaml"
    empty.touch()

    def check(source: Path, override: str | None = None) -> None:
        with in_time():
            config = outcome(lambda: SearchConfig.load(source, [override] if override else []))
            if config is not None:
                carry_on(config)

    for token in TOKENS:
        for text in (token, f"train: {token}"):
            path.write_text(text, encoding="utf-8", errors="surrogatepass")
            check(path)
        for override in (f"{token}=1", f"name={token}", f"method.rates=[{token}, 1]"):
            check(empty, override)


@pytest.mark.parametrize("name", ["folder", "missing", "no text", "loop", "unreadable"])
def test_no_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    if name == "folder":
        path.mkdir()
    elif name == "no text":
        path.write_bytes(bytes(range(256)))
    elif name == "loop":
        path.symlink_to(path)
    elif name == "unreadable":
        path = Path("/proc/self/mem")
    with pytest.raises(UserError, match="cannot read the configuration"):
        SearchConfig.load(path)


@given(
    spoilt_search=spoilt(SEARCHES),
    spoilt_study=spoilt(STUDIES),
    overrides=OVERRIDES,
    command=st.sampled_from(
        ["search", "data inspect", "search --resume", "study", "train --plan=../plan.json"]
    ),
)
@examples(20)
def test_the_command_line(
    spoilt_search: bytes,
    spoilt_study: bytes,
    overrides: list[str],
    command: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It ends with 2 and one line: if nothing else is wrong, there are no images."""
    work, runs = tmp_path / "work", tmp_path / "runs"
    work.mkdir(exist_ok=True)
    study = command == "study"
    (work / "config.yaml").write_bytes(spoilt_study if study else spoilt_search)
    (tmp_path / "plan.json").write_text('{"unit_lrs": [0.1]}')
    monkeypatch.chdir(work)
    last = [f"storage={runs}", "data.source=folder", f"data.root={tmp_path}/none"]
    last += ["study.data=[]"] * study
    overrides = [override.replace("\0", "") for override in overrides]
    sets = [f"--set={item}" for item in [*overrides, *last]]
    monkeypatch.setattr(sys, "argv", ["revo-ray", *command.split(), "config.yaml", *sets])
    with in_time(), pytest.raises(SystemExit) as ended:
        main()
    _, err = capfd.readouterr()
    assert ended.value.code == 2, err
    assert len(err.splitlines()) == 1, err
    assert err.startswith("revo-ray: ")
    assert {entry.name for entry in tmp_path.iterdir()} <= {"work", "runs", "plan.json"}
    assert [entry.name for entry in work.iterdir()] == ["config.yaml"]
