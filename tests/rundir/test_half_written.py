"""Files that are read while another process writes them: old or new, never a part."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from revo_ray import storage as storage_module
from revo_ray.errors import UserError
from revo_ray.rundir.evaluation import read_row, seal_row
from revo_ray.rundir.ledger import Ledger, LedgerTail
from revo_ray.rundir.outcome import SearchResult
from revo_ray.rundir.predictions import ScoredImages, TestPredictions
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.rundir.study_directory import StudyDirectory
from revo_ray.settings.schema import SearchConfig
from revo_ray.settings.study import StudyConfig
from revo_ray.storage import Storage
from tests.properties import examples
from tests.rundir.test_ledger import row

CARD = {"image_size": 8, "classes": [], "units": [], "mean": [0.0] * 3, "std": [1.0] * 3}


@pytest.mark.parametrize("error", [None, '"}', 'sha256": "', "é\n\x00"])
def test_a_part_of_a_row_is_no_row(error: str | None) -> None:
    whole = row(3).model_copy(update={"error": error})
    content = seal_row(whole)
    assert [size for size in range(len(content)) if read_row(content[:size], "x") is not None] == []
    assert read_row(content, "x") == whole


@given(size=st.integers(0, 10**6), last=st.integers(0, 3), reads=st.integers(0, 2))
@examples(40)
def test_a_row_that_is_half_there_is_read_once_when_it_is_whole(
    size: int, last: int, reads: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The file that is not whole may be any, since trials end in any order."""
    folder = tmp_path_factory.mktemp("run")
    storage, tail = Storage(str(folder)), LedgerTail(Storage(str(folder)))
    path = folder / "ledger" / f"{last:06d}.json"
    path.parent.mkdir()
    others = [number for number in range(4) if number != last]
    seen: list[int] = []

    def read() -> None:
        rows = tail.new_rows()
        assert rows is not None
        seen.extend(each.evaluation for each in rows)

    for number in others:
        (folder / "ledger" / f"{number:06d}.json").write_bytes(seal_row(row(number)))
    whole = seal_row(row(last))
    path.write_bytes(whole[: size % len(whole)])
    for _ in range(reads):
        read()
    assert seen == (others if reads else [])
    ledger = Ledger.load(storage)
    assert [each.evaluation for each in ledger] == others
    assert ledger.torn == [f"ledger/{last:06d}.json"]
    path.write_bytes(whole)
    read()
    read()
    assert sorted(seen) == [0, 1, 2, 3]
    assert (len(Ledger.load(storage)), Ledger.load(storage).torn) == (4, [])


def scored(number: int) -> ScoredImages:
    """Images whose names hold a number."""
    return ScoredImages((f"{number}.png",), np.array([0]), (None,), ("cat", "dog"))


def answered(number: int) -> TestPredictions:
    """The answers of a form, with a number in them."""
    none = np.zeros(0, np.int64)
    return TestPredictions({number: 1.0}, np.zeros((1, 2), np.float32), 1, none, none)


def read_all(folder: Path) -> dict[str, str]:
    """All that the readers of a run directory and of a study give, as text."""

    def text(read: Callable[[], Any]) -> str:
        try:
            return repr(read()).replace(str(folder), "FOLDER")
        except (UserError, OSError):
            return "nothing"

    run, study = RunDirectory(str(folder)), StudyDirectory(str(folder))
    ledger = run.ledger()
    found = {name: text(getattr(run.best, name)) for name in ("card", "plan", "weights")}
    return found | {
        "models": text(lambda: [(n, run.models.weights(n)) for n in (0, 1) if run.models.holds(n)]),
        "prediction": text(lambda: run.storage.read("predictions/000000.npz")),
        "images": text(lambda: run.predictions.images("test")),
        "test": text(lambda: run.predictions.test("best")),
        "rows": repr((list(ledger), ledger.torn, run.count_rows())),
        "tail": repr(run.tail().new_rows()),
        "table": text(lambda: run.rows(table_first=True)),
        "outcome": text(run.outcome),
        "owner": repr(run.best.owner),
        "config": text(lambda: run.config().config),
        "study": text(study.config),
    }


def write_all(folder: Path) -> list[Callable[[], object]]:
    """Writes of all files of a run directory and of a study; each file is written twice."""
    run, study = RunDirectory(str(folder)), StudyDirectory(str(folder))
    ledger, writes = run.ledger(), []
    for number in (0, 1):
        new = row(number)
        config = SearchConfig.load(None, [f"search.seed={number}"])
        several = StudyConfig.load("preset:quick", [f"train.epochs={number + 1}"])
        weights = {"w": torch.full((3,), float(number))}
        result = SearchResult.of_rows(f"{number}", "x", [], ledger.objective)
        writes += [
            lambda config=config: run.write_config(config, {}, {}),
            lambda several=several: study.write_config(several),
            lambda weights=weights, number=number: run.best.write(weights, number),
            lambda result=result: run.write_outcome(result),  # before there are rows
            lambda weights=weights, number=number: run.models.write(weights, number),
            lambda number=number: run.predictions.write(0, [[float(number)]], "float32"),
            lambda number=number: run.predictions.write_images(*[scored(number)] * 2),
            lambda number=number: run.predictions.write_test("best", answered(number)),
            lambda new=new: run.best.take(new, "none", CARD),
            lambda: run.tensorboard.write("events", b"whole"),
            lambda: run.tensorboard.write("000000/events", b"whole"),
        ]
    for number in (0, 1):
        new = row(number)
        writes += [lambda new=new: ledger.append(new), ledger.write_parquet]
    return writes


def test_a_reader_sees_each_file_as_it_was_or_as_it_is_and_a_killed_writer_leaves_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, copy, seen = tmp_path / "run", tmp_path / "copy", []

    class Slow(io.FileIO):
        """A file that is read by others when it was opened, and when half of it is written."""

        def __init__(self, path: str, mode: str) -> None:
            super().__init__(path, mode.replace("b", ""))
            self.look()

        def write(self, content: Any) -> int:
            half = len(content) // 2
            super().write(content[:half])
            self.look()
            return half + super().write(content[half:])

        def look(self) -> None:
            seen.append(read_all(folder))
            if copy.exists():
                shutil.rmtree(copy)
            shutil.copytree(folder, copy)  # as a power failure would leave it
            run = RunDirectory(str(copy))
            run.delete_leftovers()
            assert [path.name for path in copy.rglob("*") if path.name.startswith(".")] == []
            assert read_all(copy) == seen[-1]

    folder.mkdir()
    monkeypatch.setattr("os.fsync", lambda file: None)
    monkeypatch.setattr(storage_module, "open", Slow, raising=False)
    changed = set()
    for write in write_all(folder):
        before = read_all(folder)
        seen.clear()
        write()
        after = read_all(folder)
        assert seen
        for found in seen:
            for name, value in found.items():
                assert value in (before[name], after[name]), name
        changed |= {name for name in after if after[name] != before[name]}
    assert changed == set(after)  # each of them was written


def test_a_writer_that_fails_halfway_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.FileIO):
        """A file on a disk that is full after half of it."""

        def __init__(self, path: str, mode: str) -> None:
            super().__init__(path, mode.replace("b", ""))

        def write(self, content: Any) -> int:
            super().write(content[: len(content) // 2])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", lambda file: None)
    (tmp_path / "run").mkdir()
    for write in write_all(tmp_path / "run"):
        before = read_all(tmp_path / "run")
        with monkeypatch.context() as full:
            full.setattr(storage_module, "open", Full, raising=False)
            with pytest.raises(OSError, match="No space left"):
                write()
        assert read_all(tmp_path / "run") == before
        assert [p.name for p in tmp_path.rglob("*") if p.name.startswith(".")] == []
        write()


@pytest.mark.parametrize("kind", [RunDirectory, StudyDirectory])
def test_a_report_that_is_being_written_is_left_alone(
    kind: type[RunDirectory | StudyDirectory], tmp_path: Path
) -> None:
    """It takes no lock: only files that were not touched for hours go."""
    folder = kind(str(tmp_path))
    for name in (".old.tmp", ".new.tmp", "figures/.old.tmp", "figures/.new.tmp", "page.html"):
        folder.report.write(name, b"half")
        if "old" in name:
            os.utime(tmp_path / "report" / name, (0, 0))
    folder.delete_leftovers()
    left = {path.name for path in (tmp_path / "report").rglob("*") if path.is_file()}
    assert left == {".new.tmp", "page.html"}
