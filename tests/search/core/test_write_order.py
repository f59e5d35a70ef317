"""The order of writing: a process may die before any change on disk, and loses nothing finished."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.rundir.ledger import Ledger
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.state import SearchState
from revo_ray.storage import Storage
from tests.properties import examples
from tests.search.core.by_hand import files, models, open_state, rows, run

FEW = ("search.evaluations=14", "search.population=4")
METHODS = {
    "revo-continuous": ("search.lookahead=2",),
    "revo-binary": ("method.global_lr=0.01", "search.lookahead=2"),
}


class Death(BaseException):
    """The process dies."""


class Watched(Storage):
    """Calls a function before each change of a file."""

    def __init__(self, folder: Path, before: Callable[[str], None]) -> None:
        super().__init__(str(folder))
        self._before = before

    def write(self, path: str, content: bytes) -> None:
        self._before(path)
        super().write(path, content)

    def create(self, path: str, content: bytes) -> bytes:
        self._before(path)
        return super().create(path, content)

    def move(self, source: str, target: str) -> None:
        self._before(target)
        super().move(source, target)

    def copy(self, source: str, target: str) -> None:
        self._before(target)
        super().copy(source, target)

    def delete(self, path: str) -> None:
        self._before(path)
        super().delete(path)


def predicted(folder: Path) -> set[int]:
    """The evaluations whose predictions are stored."""
    names = (path.stem for path in (folder / "predictions").glob("*.npz"))
    return {int(name) for name in names if name.isdigit()}


def open_search(folder: Path | Storage, method: str) -> SearchState:
    return open_state(folder, f"method.name={method}", *METHODS[method], *FEW)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Uninterrupted searches by method."""
    folders = {method: tmp_path_factory.mktemp("whole") for method in METHODS}
    for method, folder in folders.items():
        run(open_search(folder, method), folder)
    return folders


@pytest.mark.parametrize("method", METHODS)
def test_at_every_change_a_row_goes_before_its_weights_and_a_resumed_search_finds_both(
    tmp_path: Path, method: str
) -> None:
    folder, copy, paths = tmp_path / "run", tmp_path / "copy", []
    best = RunDirectory(str(folder)).best

    def look(path: str) -> None:
        ledger = Ledger.load(Storage(str(folder)))
        had_weights = "best/model.safetensors" in paths
        assert best.owner in ledger if had_weights else best.owner is None
        if path.startswith(Ledger.FOLDER):
            assert not state.proposals.finished  # the last row is not told before it is written
        paths.append(path)
        if copy.exists():
            shutil.rmtree(copy)
        shutil.copytree(folder, copy)
        resumed = open_search(copy, method)
        assert resumed.few.missing() == []
        assert list(resumed.ledger) == list(ledger)
        kept = {row.evaluation for row in resumed.few.rows}
        assert models(copy) == kept
        assert predicted(copy) == {row.evaluation for row in ledger if row.status == "ok"}

    def told() -> None:
        assert list(Ledger.load(Storage(str(folder)))) == list(state.ledger)
        assert state.few.missing() == []

    folder.mkdir()
    state = open_search(Watched(folder, look), method)
    state.followers.append(told)
    run(state, folder, workers=3)
    assert len({path for path in paths if path.startswith(Ledger.FOLDER)}) == 14


@pytest.mark.sample(2)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("end", [Death, OSError])
@given(
    ends=st.lists(st.integers(0, 80), max_size=4),
    workers=st.integers(1, 4),
    seed=st.integers(0, 999),
)
@examples(8)
def test_a_search_that_ends_before_any_change_goes_on_as_if_it_had_not(
    method: str,
    end: type[BaseException],
    ends: list[int],
    workers: int,
    seed: int,
    whole: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("broken")
    ledger = folder / Ledger.FOLDER
    written: dict[Path, bytes] = {}

    def before(path: str) -> None:
        nonlocal left
        if left == 0:
            raise end("the disk is full")
        left -= 1

    left = 0
    for changes in ends:
        left = changes
        try:
            run(open_search(Watched(folder, before), method), folder, workers, seed)
        except end:
            pass
        written |= {path: path.read_bytes() for path in ledger.glob("*.json")}
    state = open_search(folder, method)
    assert state.few.missing() == []
    run(state, folder, workers, seed)
    assert rows(folder) == rows(whole[method])
    assert {path: path.read_bytes() for path in written} == written  # nothing was made twice
    assert files(folder) == files(whole[method])
