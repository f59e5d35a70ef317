"""Hostile values of `--set` and of files: each is what it says, or one line refuses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from revo_ray.errors import UserError
from revo_ray.methods import RevoContinuous
from revo_ray.search.core.prepare import resolve
from revo_ray.settings.schema import SearchConfig
from revo_ray.settings.study import StudyConfig
from tests.faults.fuzz.test_fuzz_config import outcome
from tests.properties import examples

REFUSED = object()

HOSTILE = [
    *("photos #1", "007", "1.10", "12:30", "010", "&x", "&x 5", "yes", "no", "on", "Off", "[a"),
    *("*x", "!tag", "!!int 7", "|", ">", "{a", "1e3", "1E+2", "1_000", "0x10", "0b11", "0o17"),
    *(".inf", "-.INF", ".nan", "inf", "nan", "~", "NULL", "Null", "null", "", " ", " 5", "5 "),
    *("'5'", '"5"', "''", "true", "True", "FALSE", "=", "<<", "- 1", "-", "?", "a: b", "[1]"),
    *("{a: 1}", "[]", "{}", "2024-01-01", "+5", "-0", "1__0", "5 # five", "ü", "💥", "e\u0301"),
    *("a\nb", "\t", "%", "@a", "`a`", "key=value", "---", "1.", ".5", "9" * 200, "1e400", "1,5"),
]
NUMBERS: dict[str, float] = {
    **{"007": 7, "1.10": 1.1, "010": 10, "&x 5": 5, "!!int 7": 7, "1e3": 1000, "1E+2": 100},
    **{"1_000": 1000, "1__0": 10, "0x10": 16, "0b11": 3, " 5": 5, "5 ": 5, "'5'": 5, '"5"': 5},
    **{"+5": 5, "5 # five": 5, "1.": 1, ".5": 0.5, "-0": 0, "9" * 200: 1e200},
}
BOOLEANS = {
    **{"yes": True, "no": False, "on": True, "Off": False, "true": True, "True": True},
    **{"FALSE": False, "1.": True, "-0": False},
}
LISTS = {"[1]": ["1"], "[]": [], "- 1": ["1"]}


def taken(key: str, text: str, *others: str) -> Any:
    """The value that a key takes, or REFUSED where one line names the key."""
    said: list[str] = []
    value = outcome(lambda: resolve(SearchConfig.load(None, [*others, f"{key}={text}"]))[0], said)
    if said:
        assert said[0].startswith(key), said
        return REFUSED
    for name in key.split("."):
        value = value[name] if isinstance(value, dict) else getattr(value, name)
    return value


def meant(kind: str, text: str) -> Any:
    """The value that a text means at a key of a kind."""
    number, null = NUMBERS.get(text, REFUSED), text in ("", "null")
    return {
        "text": text,
        "text or null": None if null else text,
        "number": number,
        "number or null": None if null else number,
        "whole number": int(number) if isinstance(number, int) else REFUSED,
        "boolean": BOOLEANS.get(text, REFUSED),
        "list": LISTS.get(text, REFUSED),
        "name": REFUSED,
        "section": {} if text == "{}" else REFUSED,
    }[kind]


KEYS = {
    "model.weights": "text",
    "data.image_pattern": "text",
    "data.columns.image": "text",
    "data.root": "text or null",
    "data.group_by": "text or null",
    "search.seed": "whole number",
    "train.mixup": "number",
    "train.decay_all": "boolean",
    "method.sweep": "boolean",
    "data.exclude": "list",
    "train.optimizer": "name",
    "method.algorithm": "name",
    "data.train_fraction": "name",
    "data.splits": "section",
}


@pytest.mark.parametrize("key", KEYS)
def test_hostile_values(key: str) -> None:
    for text in HOSTILE:
        wanted = meant(KEYS[key], text)
        if (key, text) == ("data.train_fraction", ".5"):
            wanted = 0.5
        if (key, text) == ("search.seed", "1."):
            wanted = 1
        found = taken(key, text)
        assert found == wanted, text
        assert isinstance(found, float) or type(found) is type(wanted), text


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("data.group_by=7", 7),
        ("data.group_by=-1", -1),
        ("train.clip_norm=0.5", 0.5),
        ("train.clip_norm=null", None),
        ("train.clip_norm=", None),
        ("train.clip_norm=~", REFUSED),
        ("train.clip_norm=NULL", REFUSED),
        ("train.clip_norm=&x", REFUSED),
        ("train.clip_norm=# 5", REFUSED),
        ("train.epochs=null", REFUSED),
        ("data.intensity=[0, 010]", (0.0, 10.0)),
        ("data.splits={train: 007, test: yes}", {"train": "007", "test": "yes"}),
        ("data.exclude=[007, yes, 1.10, null]", REFUSED),
        ("data.exclude=[007, yes, 1.10, 1e3]", ["007", "yes", "1.10", "1e3"]),
        ("data.exclude=[a", REFUSED),
        ("data.exclude={a: 1, a: 2}", REFUSED),
        ("method.low=-5", -5.0),
        ("method.low=-1e0", -1.0),
        ("method.low=12:30", REFUSED),
        ("method.recipe=[momentum]", ["momentum"]),
        ("method.recipe=null", None),
        ("method.recipe=[momentum", REFUSED),
        ("method.weight_decay=[1e-6, 0.10]", [1e-6, 0.1]),
        ("method.start=null", None),
        ("method.start=~", REFUSED),
        ("search.keep=true", REFUSED),
        ("train.momentum=no", REFUSED),
    ],
)
def test_values_of_more_kinds(override: str, value: Any) -> None:
    key, _, text = override.partition("=")
    found = taken(key, text)
    assert found == value
    assert type(found) is type(value)


@examples(100)
@given(text=st.text(max_size=20))
def test_any_text_is_literal_where_text_is_taken(text: str) -> None:
    assert taken("data.image_pattern", text) == text
    assert taken("data.root", text) == (None if text in ("", "null") else text)


@examples(60)
@given(number=st.floats(0, 0.99) | st.integers(0, 2**31), key=st.sampled_from(["mixup", "cutmix"]))
def test_any_number_is_the_one_that_python_writes(number: float, key: str) -> None:
    assert taken(f"train.{key}", str(number)) == number


def in_file(folder: Path, text: str) -> SearchConfig:
    path = folder / "config.yaml"
    path.write_text(text)
    return SearchConfig.load(path)


def test_a_file_is_read_alike(tmp_path: Path) -> None:
    config = in_file(
        tmp_path,
        "name: 007\nstorage: 1.10\nmodel: {name: yes, weights: 12:30}\nplugins: [no, 1e3]\n"
        "data: {root: 010, group_by: 010, columns: {image: 0x10, label: on}, exclude: [1_0]}\n"
        "train: {epochs: 010, decay_all: yes, mixup: 1e-1, optimizer: 'sgd'}\n",
    )
    assert (config.name, config.storage, config.plugins) == ("007", "1.10", ["no", "1e3"])
    assert (config.model.name, config.model.weights) == ("yes", "12:30")
    assert (config.data.root, config.data.group_by) == ("010", "010")
    assert config.data.columns == {"image": "0x10", "label": "on"}
    assert config.data.exclude == ["1_0"]
    assert (config.train.epochs, config.train.decay_all, config.train.mixup) == (10, True, 0.1)


@pytest.mark.parametrize("text", ["name: null", "name:", "name: ~", "train: {epochs: yes}"])
def test_a_file_is_refused_alike(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is wanted, not (null|'yes') \(from .*yaml line 1\)$"):
        in_file(tmp_path, text)


def test_null_in_a_file_is_null_as_in_all_yaml(tmp_path: Path) -> None:
    for null in ("null", "~", "", "NULL"):
        config = in_file(tmp_path, f"data: {{root: {null}}}\ntrain: {{clip_norm: {null}}}")
        assert (config.data.root, config.train.clip_norm) == (None, None)


class Plugin(RevoContinuous):
    """A method of somebody else, with a text, a nullable text and lists."""

    name = "plugin"

    class Options(RevoContinuous.Options):
        tag: str = "x"
        note: str | None = "x"
        mode: Literal["1", "true", "a"] = "a"
        tags: list[str] = Field([])
        rates: list[float] = Field([])
        table: dict[str, int] = Field({})


OPTIONS = [
    ("tag", {text: text for text in HOSTILE}),
    ("note", {text: None if text in ("", "null") else text for text in HOSTILE}),
    ("mode", {"1": "1", "true": "true", "2": REFUSED, "True": REFUSED}),
    ("tags", {"[007, yes, null]": REFUSED, "[007, yes, 1.10]": ["007", "yes", "1.10"]}),
    ("rates", {"[1e3, 010, 1.10]": [1000, 10, 1.1], "[yes]": REFUSED, "[": REFUSED, "5": REFUSED}),
    ("table", {"{a: 010}": {"a": 10}, "{a: x}": REFUSED, "{a: 1, a: 2}": REFUSED}),
    ("low", {"-5": -5, "~": REFUSED, "null": REFUSED}),
]


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "hostile_plugin.py").write_text(
        "from tests.settings.test_override import Plugin\nMETHODS = [Plugin]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "hostile_plugin"


@pytest.mark.parametrize(("option", "cases"), OPTIONS)
def test_the_options_of_a_plugin_are_typed_when_they_are_known(
    option: str, cases: dict[str, Any], plugin: str
) -> None:
    sets = [f"plugins=[{plugin}]", "method.name=plugin"]
    for text, value in cases.items():
        assert taken(f"method.{option}", text, *sets) == value, text


def test_the_variants_of_a_study_are_typed_as_their_sections(plugin: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        f"plugins: [{plugin}]\nstudy:\n  methods:\n"
        "  - {name: plugin, tag: 007, note: 1.10, tags: [yes], label: 010}\n"
        "  data: [{source: folder, root: 1e3, label: no}]\n"
        "  models: [{name: x, weights: 1.10}]\n  seeds: [010]\n"
    )
    study = StudyConfig.load(path)
    (search,) = study.searches()
    assert search.name == "no-auto-x-010-s10"
    assert (search.data.root, search.model.weights) == ("1e3", "1.10")
    options = resolve(search)[0].method.options
    assert (options["tag"], options["note"], options["tags"]) == ("007", "1.10", ["yes"])
    override = "study.methods=[{name: plugin, tag: 007, note: 1.10, tags: [yes], label: 010}]"
    assert StudyConfig.load(path, [override]).searches() == [search]


def test_a_section_of_a_study_keeps_the_text_of_its_options(plugin: str) -> None:
    sets = [f"plugins=[{plugin}]", "method.tag=007", "study.methods=[plugin]", "study.seeds=[0]"]
    (search,) = StudyConfig.load("preset:quick", sets).searches()
    assert resolve(search)[0].method.options["tag"] == "007"
