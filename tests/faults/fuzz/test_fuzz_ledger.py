"""Damaged run directories: one line says what is wrong, or the search ends as if nothing was."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.errors import SearchError, UserError
from revo_ray.report.outcomes import load_outcomes
from revo_ray.rundir import open_directory
from revo_ray.rundir.ledger import Ledger
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.prepare import resolve
from revo_ray.search.core.state import SearchState
from revo_ray.search.core.summary import finished_result, write_result
from revo_ray.settings.schema import SearchConfig
from revo_ray.storage import Storage
from tests.properties import examples
from tests.search.core.by_hand import answer, measure, open_search

SECONDS = 20.0
"""Of this process, for one run directory; most take some hundredths of a second."""

METHODS = {
    "revo-continuous": ("search.lookahead=2",),
    "revo-binary": ("method.global_lr=0.01", "search.lookahead=2"),
    "random": (),
    "set-encoding": (),
    "full": ("method.halving=none", "method.startup=4"),
}
BUDGET = 14

Rows = dict[int, tuple[Any, float | None]]


def config_of(method: str) -> SearchConfig:
    options = [f"method.name={method}", f"search.evaluations={BUDGET}", "search.population=4"]
    return resolve(SearchConfig.load(None, [*options, *METHODS[method]]))[0]


def open_state(folder: Path, method: str) -> SearchState:
    """As a resumed search does, without images and a network."""
    config = config_of(method)
    storage = Storage(str(folder))
    if storage.list(Ledger.FOLDER):
        RunDirectory(storage).check_config(config, {}, {})
    else:
        RunDirectory(storage).write_config(config, {}, {})
    return open_search(config, RunDirectory(storage))


def drive(folder: Path, method: str, rows: int = BUDGET) -> SearchState:
    state = open_state(folder, method)
    if finished_result(state) is not None:
        return state
    while len(state.ledger) < rows or (rows == BUDGET and not state.done):
        request = state.next_request()
        if request is None:
            assert state.done, "it waits for nothing"
            break
        if request.proposal is None:
            state.forms.answered(request.config, answer(request))
            continue
        state.record(request.proposal, measure(request, folder), "trial")
        state.tell(request.proposal.evaluation)
    if state.done:
        write_result(state)
    return state


def facts(folder: Path) -> Rows:
    ledger = Ledger.load(Storage(str(folder)))
    return {row.evaluation: (row.sample, row.val_loss) for row in ledger}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Path]:
    """Undamaged run directories by method and rows: half of the budget, and all of it."""
    made = {}
    for method in METHODS:
        for rows in (BUDGET // 2, BUDGET):
            folder = made[method, rows] = tmp_path_factory.mktemp("whole") / "run"
            drive(folder, method, rows)
    return made


# Damage that is done to files: each takes the run directory, a row's file and a source of chance.


def reseal(path: Path, values: Any) -> None:
    """Write a row as somebody who knows how rows are sealed."""
    text = json.dumps(values)[:-1].encode()
    path.write_bytes(text + f', "sha256": "{hashlib.sha256(text).hexdigest()}"}}'.encode())


def edited(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    values = json.loads(path.read_bytes())
    values.pop("sha256")
    change(values)
    reseal(path, values)


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def swap(folder: Path, path: Path, rng: random.Random) -> None:
    other = rng.choice(sorted((folder / "ledger").iterdir()))
    ours, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(ours)


def link_out(folder: Path, name: str) -> None:
    """Put a folder of the run where nobody else writes, and a link in its place."""
    target = folder.parent / "outside"
    if (folder / name).is_dir() and not (folder / name).is_symlink():
        shutil.rmtree(folder / name)
    (folder / name).symlink_to(target, target_is_directory=True)


JUNK: list[Any] = [
    *(None, True, -1, 0, 10**400, 1e308, float("nan"), float("inf"), "x", "", "[/]", [], {}),
    *([None], {"a": {}}, "\ud800", [1e999], {"stem": "x"}, {"lr": None, "wd": []}),
]

LOST: dict[str, Callable[[Path, Path, random.Random], Any]] = {
    "cut": lambda f, p, r: p.write_bytes(p.read_bytes()[: r.randrange(p.stat().st_size)]),
    "empty": lambda f, p, r: p.write_bytes(b""),
    "noise": lambda f, p, r: p.write_bytes(b"\xff" + r.randbytes(200)),
    "zeros": lambda f, p, r: p.write_bytes(bytes(p.stat().st_size)),
    "deep": lambda f, p, r: p.write_bytes(b"[" * 100_000),
    "gone": lambda f, p, r: p.unlink(),
    "all gone": lambda f, p, r: shutil.rmtree(f / "ledger"),
    "many gone": lambda f, p, r: [
        row.unlink() for row in p.parent.glob("*.json") if r.random() < 0.6
    ],
    "a broken link": lambda f, p, r: (p.unlink(), p.symlink_to("nowhere")),
    "remains of writing": lambda f, p, r: Path(f"{p}.0a1b2c3d.tmp").write_bytes(b"{"),
    "another file": lambda f, p, r: (f / "ledger" / "notes.txt").write_text("mine"),
    "another folder": lambda f, p, r: (f / "ledger" / "notes").mkdir(exist_ok=True),
    "hidden": lambda f, p, r: (f / "ledger" / ".DS_Store").write_bytes(b"\0"),
    "weights cut": lambda f, p, r: _best(f, r.randbytes(30)),
    "weights deep": lambda f, p, r: _best(f, b"\xff\xff\0\0\0\0\0\0" + b"[" * 90_000),
    "weights of nobody": lambda f, p, r: _best(f, _header({"evaluation": r.choice(JUNK)})),
    "weights of another": lambda f, p, r: _best(f, _header({"evaluation": str(r.randrange(99))})),
    "weights gone": lambda f, p, r: shutil.rmtree(f / "best", ignore_errors=True),
    "weights described otherwise": lambda f, p, r: _best(f, b"{", "plan.json"),
    "weights of no row": lambda f, p, r: _put(f, "models", f"{r.randrange(99):06d}.safetensors"),
    "no weights": lambda f, p, r: _put(f, "models", "mine.txt"),
    "kept weights gone": lambda f, p, r: shutil.rmtree(f / "models", ignore_errors=True),
    "predictions of no row": lambda f, p, r: _put(f, "predictions", "000099.npz"),
    "forms gone": lambda f, p, r: [
        shutil.rmtree(f / name, ignore_errors=True)
        for name in ("plain", "soup", "ensemble")
        if r.random() < 0.5
    ],
    "tests gone": lambda f, p, r: [path.unlink() for path in f.glob("predictions/test-*")],
    "result": lambda f, p, r: (f / "result.json").write_bytes(r.choice([b"", b"[", b"[" * 10**5])),
    "result of junk": lambda f, p, r: _result(f, r),
}
"""After these the search ends as if nothing had been."""

FORGED: dict[str, Callable[[Path, Path, random.Random], Any]] = {
    "flip": lambda f, p, r: flip(p, r),
    "swap": lambda f, p, r: swap(f, p, r),
    "twice": lambda f, p, r: shutil.copy(p, f / "ledger" / f"{r.randrange(10**7):06d}.json"),
    "named otherwise": lambda f, p, r: p.rename(f / "ledger" / r.choice(["1.json", "é.json"])),
    "folder": lambda f, p, r: (p.unlink(), p.mkdir()),
    "JSON": lambda f, p, r: p.write_text(json.dumps(r.choice(JUNK))),
    "edited": lambda f, p, r: p.write_text(p.read_text().replace("0.", "1.", 1)),
    "value": lambda f, p, r: edited(p, lambda v: v.update({r.choice(list(v)): r.choice(JUNK)})),
    "loss": lambda f, p, r: edited(p, lambda v: v.update(val_loss=r.choice([-1.0, 1e308, None]))),
    "status": lambda f, p, r: edited(
        p, lambda v: v.update(status=r.choice(["ok", "error", "cached", "stopped", "diverged"]))
    ),
    "source": lambda f, p, r: edited(
        p, lambda v: v.update(status="cached", source=r.choice([None, -1, 3, 10**9]))
    ),
    "sample": lambda f, p, r: edited(p, lambda v: v.update(sample=r.choice(JUNK))),
    "gene": lambda f, p, r: edited(
        p, lambda v: v["sample"].update({r.choice(list(v["sample"])): r.choice(JUNK)})
    ),
    "no key": lambda f, p, r: edited(p, lambda v: v.pop(r.choice(list(v)))),
    "beyond": lambda f, p, r: _beyond(f, p, r.choice([BUDGET, 10**6, 10**12, -1])),
    "a link to a row": lambda f, p, r: (p.unlink(), p.symlink_to(f.parent / "outside" / "row")),
    "config": lambda f, p, r: flip(f / "config.yaml", r),
    "config cut": lambda f, p, r: (f / "config.yaml").write_bytes(b"recorded: {sha256: {}}\n1: 2"),
    "config deep": lambda f, p, r: (f / "config.yaml").write_bytes(b"[" * 500),
    "config gone": lambda f, p, r: (f / "config.yaml").unlink(),
    "models elsewhere": lambda f, p, r: link_out(f, "models"),
    "predictions elsewhere": lambda f, p, r: link_out(f, "predictions"),
    "predictions cut": lambda f, p, r: _spoil(f, r, lambda content: content[:20]),
    "predictions of another": lambda f, p, r: _spoil(f, r, lambda content: content + b"x"),
    "predictions gone": lambda f, p, r: shutil.rmtree(f / "predictions"),
    "test spoilt": lambda f, p, r: _put(f, "predictions", "test-best.npz"),
    "images spoilt": lambda f, p, r: _put(f, "predictions", "images.parquet"),
    "ensemble spoilt": lambda f, p, r: _put(f, "ensemble", "config.json"),
    "soup spoilt": lambda f, p, r: _put(f, "soup", "config.json"),
    "best elsewhere": lambda f, p, r: link_out(f, "best"),
    "model a folder": lambda f, p, r: (f / "models" / "000099.safetensors").mkdir(
        parents=True, exist_ok=True
    ),
    "weights a folder": lambda f, p, r: (
        shutil.rmtree(f / "best"),
        (f / "best" / "model.safetensors").mkdir(parents=True),
    ),
}
"""After these it may be refused, or end with what was forged."""


def _best(folder: Path, content: bytes, name: str = "model.safetensors") -> None:
    path = folder / "best" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def _header(metadata: Any) -> bytes:
    text = json.dumps({"__metadata__": metadata}).encode()
    return len(text).to_bytes(8, "little") + text


def _spoil(folder: Path, rng: random.Random, change: Callable[[bytes], bytes]) -> None:
    path = rng.choice(sorted(folder.glob("predictions/0*.npz")))
    path.write_bytes(change(path.read_bytes()))


def _put(folder: Path, room: str, name: str) -> None:
    (folder / room).mkdir(exist_ok=True)
    (folder / room / name).write_bytes(b"\0")


def _result(folder: Path, rng: random.Random) -> None:
    path = folder / "result.json"
    try:
        values = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        values = {"evaluations": BUDGET}
    values[rng.choice([*values, "best", "test"])] = rng.choice(JUNK)
    path.write_text(json.dumps(values))


def _beyond(folder: Path, path: Path, number: int) -> None:
    target = folder / "ledger" / f"{number:06d}.json"
    shutil.copy(path, target)
    edited(target, lambda values: values.update(evaluation=number))


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Nothing beside the run directory changes, and it does not take for ever."""
    before, began = beside(folder), time.process_time()
    yield
    assert time.process_time() - began < SECONDS
    assert beside(folder) == before


def beside(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.parent.rglob("*"))
        if not path.is_relative_to(folder)
    }


def copy(run: Path, tmp_path: Path) -> Path:
    """A run directory to damage, beside a folder that no damage may reach."""
    place = tmp_path / "case"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(run, place / "run", symlinks=True)
    (place / "outside").mkdir()
    (place / "outside" / "000001.safetensors").write_bytes(b"mine")
    shutil.copy(run / "ledger" / "000001.json", place / "outside" / "row")
    return place / "run"


def refusal(error: Exception) -> None:
    line = str(error)
    assert len(line.splitlines()) == 1, line
    assert 20 < len(line) < 1000, line


PLACES = st.tuples(
    st.sampled_from(list(METHODS)), st.sampled_from([BUDGET // 2, BUDGET]), st.integers(0, 2**32)
)


@pytest.mark.sample(9)
@pytest.mark.parametrize("first", LOST)
@given(place=PLACES, more=st.lists(st.sampled_from(list(LOST)), max_size=3))
@examples(3)
def test_what_is_lost_is_made_again(
    first: str,
    place: tuple[str, int, int],
    more: list[str],
    runs: dict[tuple[str, int], Path],
    tmp_path: Path,
) -> None:
    method, rows, seed = place
    folder, rng = copy(runs[method, rows], tmp_path), random.Random(seed)
    for name in [first, *more]:
        files = (
            sorted((folder / "ledger").glob("??????.json")) if (folder / "ledger").exists() else []
        )
        if files := [path for path in files if path.is_file()]:
            LOST[name](folder, rng.choice(files), rng)
    with guarded(folder):
        state = drive(folder, method)
        assert state.spent
        made = facts(folder)
        assert sorted(made) == list(range(BUDGET))
        if method != "full":  # who asks one by one proposes something else
            assert made == facts(runs[method, BUDGET])
        assert finished_result(open_state(folder, method)) is not None
        load_outcomes(open_directory(str(folder)))


@pytest.mark.sample(12)
@pytest.mark.parametrize("first", FORGED)
@given(place=PLACES, more=st.lists(st.sampled_from(list(FORGED)), max_size=1))
@examples(3)
def test_what_is_forged_is_refused_or_taken(
    first: str,
    place: tuple[str, int, int],
    more: list[str],
    runs: dict[tuple[str, int], Path],
    tmp_path: Path,
) -> None:
    method, rows, seed = place
    folder, rng = copy(runs[method, rows], tmp_path), random.Random(seed)
    for name in [first, *more]:
        files = [path for path in (folder / "ledger").glob("??????.json") if path.is_file()]
        try:
            FORGED[name](folder, rng.choice(sorted(files)), rng)
        except (ValueError, KeyError, AttributeError, OSError):
            continue  # the damage before left nothing to forge
    with guarded(folder):
        try:
            load_outcomes(open_directory(str(folder)))
        except (UserError, OSError) as error:
            refusal(error)
        try:
            drive(folder, method)
        except (UserError, SearchError, OSError) as error:
            refusal(error)
        else:
            assert sorted(facts(folder)) == list(range(BUDGET))
