"""`revo-ray watch` on run directories that another process writes."""

from __future__ import annotations

import io
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from revo_ray.cli.main import main
from revo_ray.errors import UserError
from revo_ray.monitor.watch import watch
from revo_ray.monitor.watched import open_watched
from revo_ray.rundir.ledger import Ledger
from revo_ray.rundir.outcome import SearchResult
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.rundir.study_directory import StudyDirectory
from revo_ray.search.core.state import SearchState
from revo_ray.settings.schema import SearchConfig
from revo_ray.settings.study import StudyConfig
from revo_ray.storage import Storage
from tests.monitor.synthetic import open_state, run
from tests.object_store import object_store

TEST: dict[str, float | None] = {"loss": 0.5, "accuracy": 0.875, "balanced_accuracy": 0.85}


def begin(storage: Storage, *overrides: str) -> SearchState:
    state = open_state(storage, *overrides)
    state.run.write_config(state.config, {}, {})
    return state


def finish(state: SearchState) -> SearchResult:
    run(state)
    assert state.best is not None
    best = {"evaluation": state.best.evaluation} | state.best.scores.columns
    result = SearchResult("shot", state.run.uri, best, TEST, 30, {}, 60, 2400, 75.0, 75.0, 1)
    state.run.write_outcome(result)
    return result


def look(storage: Storage) -> str:
    seen = open_watched(storage)
    assert seen is not None
    return seen.look().plain


def shown_by(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["revo-ray", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_once_says_where_a_search_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = begin(Storage(str(tmp_path)))
    run(state, rows=16)
    assert shown_by(["watch", str(tmp_path), "--once"], monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    # Each took 2.5 of 10 seconds: a quarter of a worker.
    begins = (
        r"shot: 16/30 evaluations · generation 2 of 3 · about 0.3 workers busy lately · 2m 10s left"
    )
    assert re.match(begins + r" · last evaluation ended \d+h \d\dm ago$", lines[0])
    best = state.best
    assert best is not None
    assert lines[1].startswith(f"best validation loss {best.val_loss:.4f}, accuracy")
    assert f"(#{best.evaluation}: {best.unit_lrs.count(0)} of 21 units frozen" in lines[1]
    assert lines[2] == "2 failed"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere/run", "no such folder '{}/nowhere/run': there is no '{}/nowhere'"),
        ("file", "{}/file is a file; name the run directory of a search or a study"),
        ("other", "{}/other holds neither a search nor a study (config.yaml or study.yaml), but x"),
        ("", "{} holds good; name one of them: {}/good"),
        (
            "broken",
            "{}/broken/config.yaml is missing or damaged; restore it, or put the folder away",
        ),
    ],
)
def test_a_wrong_path_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    path: str,
    message: str,
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("")
    if path == "":
        begin(Storage(str(tmp_path / "good")))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.yaml").write_text("nonsense: 1")
    if path == "":
        (tmp_path / "broken" / "config.yaml").unlink()
    assert shown_by(["watch", str(tmp_path / path)], monkeypatch) == 2
    error = capsys.readouterr().err
    assert error == f"revo-ray: {message.replace('{}', str(tmp_path))}\n"


def test_nothing_there_yet_is_said(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=300)
    watch(str(tmp_path / "run"), console, once=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").write_text("")
    watch(str(tmp_path / "run"), console, once=True)
    RunDirectory(str(tmp_path / "run")).write_config(SearchConfig.load(None, ["name=run"]), {}, {})
    watch(str(tmp_path / "run"), console, once=True)
    assert console.file.getvalue().splitlines() == [
        f"{tmp_path}/run does not exist yet: no search or study has begun there",
        f"{tmp_path}/run is empty: no search or study has begun there",
        "run: 0/100 evaluations, no evaluation has ended yet",
    ]


@contextmanager
def watching(uri: str, console: Console) -> Iterator[None]:
    """Watch beside what happens in the block, and see the end."""
    thread = threading.Thread(target=watch, args=(uri, console), kwargs={"every": 0.02})
    thread.start()
    yield
    thread.join(timeout=60)
    assert not thread.is_alive()


def wait_for(console: Console, text: str) -> None:
    deadline = time.monotonic() + 60
    while text not in console.file.getvalue():
        assert time.monotonic() < deadline, console.file.getvalue()
        time.sleep(0.01)


def test_a_log_follows_a_search_from_before_its_beginning_to_its_end(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=60)
    with watching(str(tmp_path / "shot"), console):
        wait_for(console, "does not exist yet")
        state = begin(Storage(str(tmp_path / "shot")))
        wait_for(console, "no evaluation has ended yet")
        for rows in (1, 7, 4):
            run(state, rows=rows)
            wait_for(console, f"shot: {len(state.ledger)}/30 evaluations, best validation")
        finish(state)
    lines = console.file.getvalue().splitlines()
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", console.file.getvalue())
    assert len(lines) == len(set(lines)), "a line was repeated, though nothing changed"
    best = state.best
    assert best is not None
    assert lines[-1].startswith(
        f"shot: done, validation loss {best.val_loss:.4f}, test accuracy 0.875 (30 evaluations), "
    )


@pytest.mark.slow
def test_rows_are_read_once_also_from_an_object_store(monkeypatch: pytest.MonkeyPatch) -> None:
    with object_store() as uri:
        storage = Storage(uri("results/shot"))
        assert open_watched(storage) is None
        with pytest.raises(UserError, match="no such folder"):
            open_watched(Storage(uri("").replace("s3://bucket/", "s3://elsewhere/run")))
        state = begin(storage)
        read: list[str] = []
        before = Storage.read

        def counted(self: Storage, path: str) -> bytes:
            read.append(path)
            return before(self, path)

        monkeypatch.setattr(Storage, "read", counted)
        seen = open_watched(storage)
        assert seen is not None
        for rows in (3, 2):
            run(state, rows=rows)
            assert f"{len(state.ledger)}/30 evaluations" in seen.look().plain
            seen.look()
        ledger = [path for path in read if path.startswith(Ledger.FOLDER)]
        assert sorted(ledger) == [f"ledger/{n:06d}.json" for n in range(5)]
        finish(state)
        assert seen.look().finished
        assert look(storage).startswith("shot: done, validation loss")


def test_rows_that_are_taken_back_do_not_count(tmp_path: Path) -> None:
    state = begin(Storage(str(tmp_path)))
    run(state, rows=6)
    seen = open_watched(Storage(str(tmp_path)))
    assert seen is not None
    assert "6/30" in seen.look().plain
    state.ledger.remove([4, 5])
    assert seen.look().plain == look(Storage(str(tmp_path)))
    (tmp_path / "ledger" / "000004.json").write_text("{")  # torn
    assert "4/30" in seen.look().plain


def test_a_study_is_watched_to_its_end(tmp_path: Path) -> None:
    config = StudyConfig.model_validate(
        {
            "name": "both",
            "storage": str(tmp_path),
            "search": {"evaluations": 30},
            "study": {"methods": ["revo-binary", "random"], "data": ["digits"]},
        }
    )
    folder = Storage(str(tmp_path)).child("both")
    StudyDirectory(folder).write_config(config)
    console = Console(file=io.StringIO(), width=60)
    first, second = (search.name for search in config.searches())
    with watching(folder.uri, console):
        wait_for(console, "study both: 0 of 2 searches finished, 0 evaluations")
        state = begin(folder.child(first))
        run(state, rows=5)
        wait_for(console, f"5 evaluations · 9m 10s left · {first}: 5/30 evaluations, best")
        finish(state)
        wait_for(console, "1 of 2 searches finished, 30 evaluations · 5m 00s left")
        finish(begin(folder.child(second)))
    assert console.file.getvalue().splitlines()[-1] == (
        "study both: 2 of 2 searches finished, 60 evaluations"
    )


def test_a_result_that_is_older_than_the_ledger_is_not_the_end(tmp_path: Path) -> None:
    state = begin(Storage(str(tmp_path)))
    state.run.write_outcome(replace(finish(state), evaluations=20))
    seen = open_watched(Storage(str(tmp_path)))
    assert seen is not None
    assert not seen.look().finished
    assert "testing the result" in look(Storage(str(tmp_path)))


def test_a_search_that_ran_out_of_time_is_not_done(tmp_path: Path) -> None:
    state = begin(Storage(str(tmp_path)))
    run(state, rows=16)
    result = state.run.outcome_so_far(state.config)
    state.run.write_outcome(replace(result, test=TEST, stopped_by="time", test_looks=1))
    seen = open_watched(Storage(str(tmp_path)))
    assert seen is not None
    view = seen.look()
    assert "16/30 evaluations, stopped by search.stop_after, validation loss" in view.plain
    assert "test accuracy 0.875 (16 evaluations)" in view.first
    assert not view.finished  # the next command goes on
    run(state, rows=1)
    assert "17/30 evaluations, best validation loss" in seen.look().plain
    finish(state)
    assert seen.look().finished


def test_another_objective_is_shown(tmp_path: Path) -> None:
    state = begin(Storage(str(tmp_path)), "search.objective=balanced_accuracy")
    run(state, rows=4)
    assert "4/30 evaluations, best validation balanced accuracy 0." in look(state.run.storage)
    finish(state)
    shown = look(state.run.storage)
    assert state.best is not None
    value = state.best.scores.balanced_accuracy
    assert shown.startswith(f"shot: done, validation balanced accuracy {value:.3f}, test")
    assert "test balanced accuracy 0.850 (30 evaluations), best validation balanced" in shown
