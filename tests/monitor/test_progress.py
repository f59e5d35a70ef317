"""Progress of searches and studies, recorded from consoles."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from revo_ray.monitor import live, progress
from revo_ray.monitor.live import gpu_text
from revo_ray.monitor.pace import Pace
from revo_ray.monitor.progress import Progress, StudyProgress
from revo_ray.monitor.status import SearchStatus
from revo_ray.monitor.view import outcome_text
from revo_ray.objective import METRICS
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.outcome import SearchResult
from revo_ray.rundir.working_time import PAUSE_SECONDS, machines, working_seconds
from revo_ray.settings.schema import SearchConfig

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


class Clock:
    """Stands in for the module `time` in progress."""

    now = 1_700_000_000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def row(
    number: int,
    loss: float | None = None,
    status: str = "ok",
    epochs: int = 2,
    *,
    ended: float = 0.0,
    seconds: float = 0.0,
    generation: int | None = -1,
) -> Evaluation:
    return Evaluation(
        evaluation=number, generation=number // 10 if generation == -1 else generation, sample={},
        status=status, val_loss=loss, val_accuracy=loss and 1 / (1 + loss), epochs=epochs,
        unit_lrs=[0.0, 1e-4, 0.03, 0.01], started_at=ended - seconds, finished_at=ended,
    )  # fmt: skip


def status(evaluations: int = 40, *sets: str) -> SearchStatus:
    return SearchStatus(SearchConfig.load(None, [f"search.evaluations={evaluations}", *sets]))


def terminal(width: int = 160) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, _environ={})


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(("method", "named"), [("method.sweep=true", " (sweep)"), ("name=x", "")])
def test_the_first_generation_is_called_a_sweep_if_it_is_one(method: str, named: str) -> None:
    shown, texts = status(40, method), []
    for number in range(12):
        shown.add(row(number, 0.5))
        texts.append(shown.generation_text)
    assert texts == [f"generation 1 of 4{named}"] * 9 + ["generation 2 of 4"] * 3


def test_a_log_has_plain_lines(clock: Clock) -> None:
    console = Console(file=io.StringIO(), width=60)
    shown = Progress(status(), console)
    shown.begin([row(0, 0.5, ended=clock.now, seconds=10)], "headline")
    clock.now += 7200  # it was interrupted for so long
    for number in range(1, 40):
        clock.now += 10
        shown.tick(1, 2)
        failed = number == 7
        loss, state = (None, "diverged") if failed else (1.0, "ok")
        shown(row(number, loss, state, ended=clock.now, seconds=10))
    shown.close()
    assert not CONTROL.search(text(console))
    lines = text(console).splitlines()
    plan = "1 of 4 units frozen, rates 1e-4…3e-2, head 1e-2"
    best = f"best validation loss 0.5000, accuracy 0.667 (#0: {plan})"
    assert lines[1] == f"resumed with 1 evaluations done in 10s, {best}"
    assert len(lines) == 2 + 39 // 2
    assert lines[2] == f"3/40 evaluations in 30s, {best}, time left known after generation 1"
    assert lines[-1] == f"39/40 evaluations in 6m 30s, {best}, 1 failed, about 10s left"


def test_a_terminal_shows_generation_workers_plan_and_memory(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = terminal()
    shown = Progress(status(), console)
    shown.begin([], "headline")
    monkeypatch.setattr(shown, "_gpu", lambda: "GPU memory 3.1 of 79.6 GiB")
    for number in (0, 1, 2, 3, 12, 4, 5, 6, 7, 8, 9):
        clock.now += 3
        shown(row(number, 1 / (1 + number), ended=clock.now, seconds=3))
    clock.now += 1
    shown.tick(2, 2)
    assert shown._screen is not None
    console.print(shown._screen._live.picture())
    last = text(console).split("starting workers")[-1]
    for part in (
        "11/40 evaluations · generation 2 of 4",
        "33s so far · about 1m 30s left · 2 of 2 workers busy",
        "best validation loss 0.0769, accuracy 0.929 (#12: 1 of 4 units frozen, rates 1e-4…3e-2,",
        "GPU memory 3.1 of 79.6 GiB",
    ):
        assert part in last
    monkeypatch.undo()
    shown.close()


def test_a_narrow_terminal_keeps_its_lines(clock: Clock) -> None:
    console = terminal(width=60)
    shown = Progress(status(), console)
    shown.begin([row(0, 0.5)], "headline")
    assert shown._screen is not None
    with console.capture() as captured:
        console.print(shown._screen._live.picture())
    shown.close()
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", captured.get()).splitlines()
    assert lines[0].rstrip().endswith("1/40 evaluations · generation 1 of 4")
    assert "━" in lines[0], "the bar has room"
    assert lines[2].startswith("  best validation loss 0.5000")
    assert lines[2].endswith("…")
    assert all(len(line.rstrip()) <= 60 for line in lines)


def test_the_time_left_counts_what_is_stopped_and_cached() -> None:
    def middle(budget: float, costs: Callable[[int], tuple[float, float]]) -> float:
        pace = Pace(40)
        for number in range(20):
            pace.add(*costs(number))
        found = pace.left(budget)
        assert found is not None
        assert found.low <= found.median <= found.high
        return found.median

    assert middle(30, lambda n: (10, 1)) == pytest.approx(300)
    # Epochs; one in four goes on.
    early = middle(110, lambda n: (10, 10 if n % 4 == 0 else 1))
    assert early == pytest.approx(110 * 200 / 65, rel=0.15)
    # Every second one is answered from the ledger, at once.
    assert middle(38, lambda n: (10 * (n % 2), 1)) == pytest.approx(190, rel=0.1)


@pytest.mark.parametrize("workers", [1, 4])
def test_four_estimates_in_five_hold_and_none_comes_before_the_first_generation(
    workers: int,
) -> None:
    """Evaluations take log-normal times on several workers; the truth is the whole run."""
    held = []
    for seed in range(12):
        draw = np.random.default_rng(seed)
        free, rows = [0.0] * workers, []
        for number in range(60):
            begins, seconds = min(free), float(draw.lognormal(1, 0.7))
            free[free.index(begins)] = begins + seconds
            rows.append(row(number, 1.0, ended=1e9 + begins + seconds, seconds=seconds))
        rows.sort(key=lambda made: made.finished_at)
        shown, whole = status(60), working_seconds(rows)
        for made in rows[:50]:
            shown.add(made)
            assert ("about" in shown.left_text()) == shown.is_measured
            if shown.rows in (15, 30, 45):
                found = shown._pace.left(shown.left)
                assert found is not None
                held.append(found.low <= whole - shown.clock.seconds <= found.high)
    assert 0.65 <= sum(held) / len(held) <= 1


@given(
    spans=st.lists(
        st.tuples(st.integers(0, 500), st.integers(0, 40)).map(lambda s: (s[0], s[0] + s[1])),
        min_size=1,
        max_size=12,
    ),
    order=st.randoms(use_true_random=False),
)
def test_working_time_is_the_union_without_pauses_in_any_order(
    spans: list[tuple[int, int]], order: random.Random
) -> None:
    rows = [row(n, 1.0, ended=1e6 + e, seconds=e - b) for n, (b, e) in enumerate(spans)]
    edges = sorted(spans)
    expected, (start, end) = 0, edges[0]
    for begins, ends in edges[1:]:
        if begins - end > PAUSE_SECONDS:
            expected, start, end = expected + end - start, begins, ends
        end = max(end, ends)
    order.shuffle(rows)
    assert working_seconds(rows) == expected + end - start


def test_the_time_left_runs_down_between_rows_and_stops_where_a_row_is_late() -> None:
    pace = Pace(20)
    for _ in range(10):
        pace.add(10.0, 1)
    lefts = [pace.left(4, since=since) for since in (0.0, 6.0, 60.0)]
    assert [found and found.median for found in lefts] == pytest.approx([40, 34, 30])
    assert Pace(20).left(4) is None


def test_a_machine_that_was_restarted_is_one_machine() -> None:
    rows = [
        row(n).model_copy(update={"node": node})
        for n, node in enumerate(["node-ab12:1", "node-ab12:2", "node-ff00:3", ""])
    ]
    assert machines(rows) == 2


def test_a_method_without_generations_waits_for_as_many_evaluations() -> None:
    shown = status(40)
    for number in range(10):
        text = shown.left_text()
        assert text == f"time left known after {'generation 1' if not number else '10 evaluations'}"
        shown.add(row(number, 0.5, ended=1e9 + number, seconds=1, generation=None))
    assert shown.left_text() == "about 30s left"


def test_a_budget_of_epochs_is_counted_in_epochs() -> None:
    config = SearchConfig.load(None, ["search.evaluations=10", "train.epochs=5"])
    halved = SearchStatus(config, "epochs")
    for number in range(20):
        halved.add(row(number, 0.5, "stopped", epochs=2, ended=1e9 + 4 * number, seconds=4))
    assert (halved.done, halved.total, halved.left) == (40, 50, 10)
    assert halved.amount_text == "40/50 epochs"
    assert halved.counts_text == "20 stopped early"
    assert halved.left_text() == "about 20s left"
    assert halved.best is None


def test_the_best_follows_the_objective() -> None:
    scores = {"val_loss": 0.4, "val_accuracy": 0.75, "val_balanced_accuracy": 0.871}
    first = Evaluation(evaluation=0, sample={}, status="ok", **scores)
    second = first.model_copy(update={"evaluation": 1, "val_loss": 0.3, "val_accuracy": 0.7})
    third = first.model_copy(update={"evaluation": 2, "val_loss": 0.2, "val_balanced_accuracy": 0})
    texts = {
        "loss": "best validation loss 0.2000, accuracy 0.750 (#2)",
        "accuracy": "best validation accuracy 0.750, loss 0.2000 (#2)",
        "balanced_accuracy": "best validation balanced accuracy 0.871, loss 0.3000 (#1)",
    }
    for objective, best in texts.items():
        shown = status(20, f"search.objective={objective}")
        for each in (first, second, third):
            shown.add(each)
        assert shown.best_text == best
        assert shown.counts_text == ""
    undefined = status(20, "search.objective=auc")
    undefined.add(first)
    assert (undefined.best_text, undefined.counts_text) == ("no result yet", "1 failed")


def test_an_outcome_is_told_by_the_objective() -> None:
    found = result("a")
    assert outcome_text(found, METRICS["loss"]) == (
        "validation loss 0.2500, test accuracy 0.875 (20 evaluations)"
    )
    assert outcome_text(found, METRICS["macro_f1"]) == (
        "validation macro F1 0.800, test macro F1 0.700 (20 evaluations)"
    )
    assert outcome_text(found, METRICS["auc"]) == "validation AUC – (20 evaluations)"
    nothing = replace(found, best=None, test=None)
    assert outcome_text(nothing, METRICS["auc"]) == "no evaluation succeeded (20 evaluations)"


def test_memory_of_gpus() -> None:
    assert gpu_text("3170, 81559\n") == "GPU memory 3.1 of 79.6 GiB"
    assert gpu_text("1024, 2048\n0, 2048\n") == "GPU memory 1.0 of 2.0, 0.0 of 2.0 GiB"
    eight = "".join(f"{1024 * used}, 8192\n" for used in range(8))
    assert gpu_text(eight) == "GPU memory at most 7.0 of 8.0 GiB"
    assert gpu_text("") == gpu_text("[N/A], [N/A]\n") == gpu_text("No devices were found\n") == ""


def test_a_machine_without_nvidia_smi_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.shutil, "which", lambda name: None)
    memory = live.GpuMemory()
    assert memory() == memory() == ""
    memory.close()


def result(name: str) -> SearchResult:
    best = {"evaluation": 3, "val_loss": 0.25, "val_accuracy": 0.9, "val_macro_f1": 0.8}
    test = {"loss": 0.3, "accuracy": 0.875, "auc": None, "macro_f1": 0.7}
    return SearchResult(name, "/there", best, test, 20, {"ok": 20}, 40, 80, 1.0, 1.0, 0)


@pytest.mark.parametrize("seen", [False, True], ids=["log", "terminal"])
def test_a_study_says_how_far_it_is(clock: Clock, seen: bool) -> None:
    console = terminal() if seen else Console(file=io.StringIO(), width=60)
    study = StudyProgress("both", 3, console)
    listeners = [study.follow(name, status(20), []) for name in ("a", "b")]
    study.begin()
    for number in range(20):
        clock.now += 5
        listeners[0](row(number, 0.5, ended=clock.now, seconds=5))
    study.finish(result("a"))
    clock.now += 5
    listeners[1](row(0, 0.25, ended=clock.now, seconds=5))
    study.tick(2, 2)
    if seen:
        assert study._screen is not None
        console.print(study._screen._live.picture())
    study.close()
    found = text(console)
    assert "study both: 3 searches, 1 finished before" in found
    assert "a: validation loss 0.2500, test accuracy 0.875 (20 evaluations)" in found
    if seen:
        assert "2 of 3 searches finished, 21 evaluations" in found
        assert "1m 45s so far · about 1m 30s left · 2 of 2 workers busy" in found
        assert "b: 1/20 evaluations, best validation loss 0.2500" in found
    else:
        assert not CONTROL.search(found)
        assert (
            "1 of 3 searches finished, 6 evaluations in 30s, time left known after generation 1"
            in found
        )
        assert "1 of 3 searches finished, 12 evaluations in 1m 00s, about 2m 15s left" in found
