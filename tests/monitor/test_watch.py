"""`revo-ray watch` on run directories that another process writes."""

from __future__ import annotations

import io
import re
import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from revo_ray.cli.main import main
from revo_ray.cli.next_commands import after_watch
from revo_ray.errors import UserError
from revo_ray.monitor.look import End
from revo_ray.monitor.open_watched import open_watched
from revo_ray.monitor.view import LINES, View
from revo_ray.monitor.watch import watch
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.ledger import Ledger
from revo_ray.rundir.lock import RunLock
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


def two_searches(folder: Storage) -> StudyConfig:
    """Write the configuration of a study."""
    config = StudyConfig.model_validate(
        {
            "name": "both",
            "search": {"evaluations": 30},
            "study": {"methods": ["revo-binary", "random"], "data": ["digits"]},
        }
    )
    StudyDirectory(folder).write_config(config)
    return config


def look(storage: Storage) -> str:
    return open_and_look(storage).plain


def open_and_look(storage: Storage) -> View:
    seen = open_watched(storage)
    assert seen is not None
    return seen.look().view


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
    with state.run.lock():
        assert shown_by(["watch", str(tmp_path), "--once"], monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "shot: revo-binary, timm/tf_efficientnet_lite0 on digits, 30 evaluations"
    # Each took 2.5 of 4 seconds.
    assert lines[1] == "16/30 evaluations · generation 2 of 3"
    second = (
        r"1m 02s so far · about \d+s left( \(.*\))? · about 0.6 workers busy · "
        r"last evaluation ended \d+h \d\dm ago$"
    )
    assert re.match(second, lines[2])
    best = state.best
    assert best is not None
    assert lines[3].startswith(f"best validation loss {best.val_loss:.4f}, accuracy")
    assert f"(#{best.evaluation}: {best.unit_lrs.count(0)} of 21 units frozen" in lines[3]
    assert lines[4] == "2 failed"
    assert shown_by(["watch", str(tmp_path), "--once"], monkeypatch) == 0
    assert "stopped or killed before its end" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "nowhere/run",
            "no such folder '{}/nowhere/run': there is no '{}/nowhere'; start the search first",
        ),
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
    run = RunDirectory(str(tmp_path / "run"))
    run.write_config(SearchConfig.load(None, ["name=run"]), {}, {})
    with run.lock():
        watch(str(tmp_path / "run"), console, once=True)
    assert console.file.getvalue().splitlines() == [
        f"{tmp_path}/run does not exist yet: no search or study has begun there",
        f"{tmp_path}/run is empty: no search or study has begun there",
        "run: revo-continuous, timm/tf_efficientnet_lite0 on digits, 100 evaluations",
        "0/100 evaluations",
        "time left known after generation 1",
        "no result yet",
    ]


@contextmanager
def watching(uri: str, console: Console) -> Iterator[list[End | None]]:
    """Watch beside what happens in the block, and see the end."""
    ends: list[End | None] = []
    thread = threading.Thread(target=lambda: ends.append(watch(uri, console, every=0.02)))
    thread.start()
    yield ends
    thread.join(timeout=30)
    assert not thread.is_alive()


def wait_for(console: Console, text: str) -> None:
    deadline = time.monotonic() + 90
    while text not in console.file.getvalue():
        assert time.monotonic() < deadline, console.file.getvalue()
        time.sleep(0.01)


def wait_for_rows(console: Console, rows: int, total: int) -> None:
    """A log has a line for each twentieth of the budget, so the last rows may have none yet."""
    deadline = time.monotonic() + 90
    while True:
        told = re.findall(r"(\d+)(?:/\d+)? evaluations in ", console.file.getvalue())
        if told and rows - total / LINES < int(told[-1]) <= rows:
            return
        assert time.monotonic() < deadline, console.file.getvalue()
        time.sleep(0.01)


def test_a_log_follows_a_search_from_before_its_beginning_to_its_end(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=60)
    run_directory = RunDirectory(str(tmp_path / "shot"))
    with watching(run_directory.uri, console) as ends:
        wait_for(console, "no search or study has begun there")
        with run_directory.lock():
            state = begin(run_directory.storage)
            wait_for(console, "0/30 evaluations, no result yet, time left known after generation 1")
            for rows in (1, 7, 4):
                run(state, rows=rows)
                wait_for_rows(console, len(state.ledger), 30)
            finish(state)
    lines = console.file.getvalue().splitlines()
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", console.file.getvalue())
    assert len(lines) == len(set(lines)), "a line was repeated, though nothing changed"
    best = state.best
    assert best is not None
    told = f"finished, validation loss {best.val_loss:.4f}, test accuracy 0.875 (30 evaluations)"
    assert lines[-1].endswith(told)
    assert ends == [End(told, complete=True, resumable=False)]


@pytest.mark.sample(5)
@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ("killed", "stopped or killed before its end: no process runs it"),
        ("errors", "stopped: evaluations 4 to 6 all failed, the last one with: ValueError: broken"),
        ("time", "stopped by search.stop_after"),
    ],
)
@pytest.mark.parametrize("kind", ["search", "study"])
@pytest.mark.parametrize("place", ["disk", pytest.param("store", marks=pytest.mark.slow)])
def test_a_search_that_nobody_runs_any_more_has_ended(
    tmp_path: Path, ends: str, told: str, kind: str, place: str
) -> None:
    with ExitStack() as stack:
        uri = str(tmp_path / "shot")
        if place == "store":
            uri = stack.enter_context(object_store())("results/shot")
        storage = folder = Storage(uri)
        lock = stack.enter_context(RunLock(storage, read_back=0.1, heartbeat=0.5, patience=2))
        begun = "4/30 evaluations"
        if kind == "study":
            config = two_searches(storage)
            folder = storage.child(config.searches()[0].name)
            begun = "0 of 2 searches finished, 4 evaluations"
        state = begin(folder)
        run(state, rows=4)
        console = Console(file=io.StringIO(), width=60)
        with watching(uri, console) as found:
            wait_for(console, begun)
            time.sleep(0.3)
            assert not found, "it ended although the search is held"
            for number in (4, 5, 6) if ends == "errors" else ():
                error = {"status": "error", "error": "ValueError: broken"}
                state.ledger.append(Evaluation(evaluation=number, sample={}, **error))
            if ends == "time":
                result = state.run.outcome_so_far(state.config)
                state.run.write_outcome(replace(result, stopped_by="time", test_looks=1))
            lock.close()
    (end,) = found
    assert end is not None
    assert told in end.text
    assert (end.complete, end.resumable) == (ends == "time", True)
    assert end.text in console.file.getvalue().splitlines()[-1]


def test_the_exit_status_says_whether_it_was_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = begin(Storage(str(tmp_path / "shot")))
    run(state, rows=4)
    every = ["--every", "0.1"]
    assert shown_by(["watch", str(tmp_path / "shot"), *every], monkeypatch) == 3
    shown = capsys.readouterr().out
    assert "search" in shown
    assert "--resume" in shown.splitlines()[-2]
    finish(state)
    assert shown_by(["watch", str(tmp_path / "shot"), *every], monkeypatch) == 0
    assert "--resume" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["search", "study"])
@pytest.mark.parametrize("moved", [False, True])
def test_the_command_to_go_on_names_the_same_run_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, moved: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    load: type[SearchConfig] = SearchConfig
    if kind == "search":
        config = SearchConfig.load(None, ["name=shot", "storage=./there"])
        RunDirectory.of(config).write_config(config, {}, {})
    else:
        load, study = StudyConfig, {"methods": ["random"]}
        made = StudyConfig.model_validate({"name": "shot", "storage": "there", "study": study})
        StudyDirectory.of(made).write_config(made)
    if moved:
        (tmp_path / "there").rename(tmp_path / "here")
    folder = tmp_path / ("here" if moved else "there") / "shot"
    (_, go_on), _ = after_watch(str(folder), resumable=True)
    words = shlex.split(go_on)
    file = words[words.index(kind) + 1]
    assert "--resume" in words
    found = load.load(file, [w for before, w in pairwise(words) if before == "--set"])
    assert RunDirectory.of(found).uri == str(folder)


@pytest.mark.parametrize("kind", ["search", "study"])
def test_a_renamed_run_directory_goes_on_under_its_new_name(tmp_path: Path, kind: str) -> None:
    load: type[SearchConfig] = SearchConfig if kind == "search" else StudyConfig
    folder = Storage(str(tmp_path / "renamed"))
    if kind == "search":
        begin(folder)
    else:
        two_searches(folder)
    (_, go_on), _ = after_watch(folder.uri, resumable=True)
    words = shlex.split(go_on)
    sets = [word for before, word in pairwise(words) if before == "--set"]
    assert RunDirectory.of(load.load(words[words.index(kind) + 1], sets)).uri == folder.uri


def test_a_study_that_prepares_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = Storage(str(tmp_path / "study"))
    with RunLock(storage), RunLock(storage.child("first-search")):
        storage.child("second-search").write("config.yaml", b"")
        assert open_watched(storage) is None
        assert shown_by(["watch", storage.uri, "--once"], monkeypatch) == 0
        assert "is being prepared: no search or study has begun" in capsys.readouterr().out
    with pytest.raises(UserError, match="name one of them"):
        open_watched(storage)


@pytest.mark.parametrize("kind", ["search", "study"])
def test_where_locks_stay_on_their_machine_only_a_long_silence_is_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    storage = Storage(str(tmp_path / "shot"))
    folder = (
        storage if kind == "search" else storage.child(two_searches(storage).searches()[0].name)
    )
    state = begin(folder)
    run(state, rows=3)
    storage.write(".lock", b'{"host": "elsewhere", "boot": "another"}')
    seen = open_watched(storage)
    assert seen is not None
    monkeypatch.setattr("revo_ray.monitor.look.SILENCE", 0.2)
    assert [seen.look().end for _ in range(4)] == [None] * 4
    time.sleep(0.3)
    assert seen.look().end is None, "four times the 2.5 s of an evaluation are waited for"
    monkeypatch.setattr("revo_ray.monitor.look.LONGEST", 0.1)
    time.sleep(0.3)
    assert seen.look().end is None, "it may just start again"
    assert seen.look().end is not None
    run(state, rows=1)
    assert seen.look().end is None, "a new row: it lives"


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
            assert f"{len(state.ledger)}/30 evaluations" in seen.look().view.plain
            seen.look()
        ledger = [path for path in read if path.startswith(Ledger.FOLDER)]
        assert sorted(ledger) == [f"ledger/{n:06d}.json" for n in range(5)]
        finish(state)
        end = seen.look().end
        assert end is not None
        assert end.complete
        assert "finished, validation loss" in look(storage)


@pytest.mark.parametrize("kind", ["search", "study"])
def test_rows_that_are_taken_back_do_not_count(tmp_path: Path, kind: str) -> None:
    storage = folder = Storage(str(tmp_path))
    first, before, after = folder, "6/30 evaluations", "4/30 evaluations"
    if kind == "study":
        one, other = (search.name for search in two_searches(storage).searches())
        run(begin(folder.child(other)), rows=2)
        first, before, after = folder.child(one), "8 evaluations", "6 evaluations"
    state = begin(first)
    run(state, rows=6)
    seen = open_watched(storage)
    assert seen is not None
    assert before in seen.look().view.plain
    state.ledger.remove([4, 5])
    assert seen.look().view == open_and_look(storage)
    Storage(first.uri).write("ledger/000004.json", b"{")  # torn
    assert after in seen.look().view.plain


def test_a_method_that_stops_early_spends_epochs_in_a_study_too(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    config = two_searches(storage)
    state = begin(storage.child(config.searches()[0].name), "search.budget=epochs")
    stopped = {"status": "stopped", "epochs": 1, "started_at": 1.0, "finished_at": 2.0}
    state.ledger.append(Evaluation(evaluation=0, sample={}, **stopped))
    now_text = " ".join(open_and_look(storage).more)
    assert "1/30 evaluations" not in now_text
    assert re.search(r"1/\d+ epochs", now_text)


def test_a_study_is_watched_to_its_end(tmp_path: Path) -> None:
    folder = Storage(str(tmp_path)).child("both")
    config = two_searches(folder)
    console = Console(file=io.StringIO(), width=60)
    first, second = (search.name for search in config.searches())
    with watching(folder.uri, console) as ends, StudyDirectory(folder).lock():
        wait_for(console, "0 of 2 searches finished")
        state = begin(folder.child(first))
        run(state, rows=15)
        wait_for_rows(console, 15, 60)
        assert re.search(r", about [23]m \d\ds left", console.file.getvalue())
        finish(state)
        wait_for(console, "1 of 2 searches finished, 30 evaluations in 1m 58s, about ")
        finish(begin(folder.child(second)))
        wait_for(console, "2 of 2 searches finished")
        assert not ends, "it is held: its process may carry on"
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "study both: 2 searches"
    assert f"{first}: validation loss" in console.file.getvalue()
    assert lines[-1].startswith("2 of 2 searches finished, 60 evaluations in ")
    assert ends == [End("finished", complete=True, resumable=False)]


def test_a_result_that_is_older_than_the_ledger_is_not_the_end(tmp_path: Path) -> None:
    state = begin(Storage(str(tmp_path)))
    state.run.write_outcome(replace(finish(state), evaluations=20))
    seen = open_watched(Storage(str(tmp_path)))
    assert seen is not None
    with state.run.lock():
        assert seen.look().end is None
        assert "testing the result" in look(Storage(str(tmp_path)))


def test_a_search_that_goes_on_after_its_time_has_not_ended(tmp_path: Path) -> None:
    state = begin(Storage(str(tmp_path)))
    run(state, rows=16)
    result = state.run.outcome_so_far(state.config)
    state.run.write_outcome(replace(result, test=TEST, stopped_by="time", test_looks=1))
    seen = open_watched(Storage(str(tmp_path)))
    assert seen is not None
    with state.run.lock():
        assert seen.look().end is None
        run(state, rows=1)
        assert "17/30 evaluations in 1m 06s, best validation loss" in seen.look().view.plain
        finish(state)
        assert seen.look().end is None, "it is held: its process may carry on"
        state.run.record_growth(60)
        assert "30/60 evaluations" in seen.look().view.plain
        assert seen.look().end is None
        state.run.record_growth(30)
    seen = open_watched(Storage(str(tmp_path)))
    assert seen is not None
    end = seen.look().end
    assert end is not None
    assert end.complete


def test_another_objective_is_shown(tmp_path: Path) -> None:
    state = begin(Storage(str(tmp_path)), "search.objective=balanced_accuracy")
    run(state, rows=4)
    shown = look(state.run.storage)
    assert "4/30 evaluations in 14s, best validation balanced accuracy 0." in shown
    finish(state)
    shown = look(state.run.storage)
    assert state.best is not None
    value = state.best.scores.balanced_accuracy
    assert f"finished, validation balanced accuracy {value:.3f}, test balanced" in shown
    assert "test balanced accuracy 0.850 (30 evaluations)" in shown
