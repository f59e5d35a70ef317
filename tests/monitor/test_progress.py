"""Progress of searches and studies, recorded from consoles."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from revo_ray.monitor import live, progress
from revo_ray.monitor.live import gpu_text
from revo_ray.monitor.progress import Progress, StudyProgress, outcome_text
from revo_ray.monitor.status import Pace, SearchStatus
from revo_ray.objective import METRICS
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.outcome import SearchResult
from revo_ray.settings.schema import SearchConfig

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


class Clock:
    """Stands in for the module `time` in progress."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def row(number: int, loss: float | None = None, status: str = "ok", epochs: int = 2) -> Evaluation:
    return Evaluation(
        evaluation=number, generation=number // 10, sample={}, status=status, val_loss=loss,
        val_accuracy=loss and 1 / (1 + loss), unit_lrs=[0.0, 1e-4, 0.03, 0.01], epochs=epochs,
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
    shown.begin([row(0, 0.5)], "headline")
    for number in range(1, 40):
        clock.now += 10
        shown.tick(1, 2)
        shown(row(number, None if number == 7 else 1.0, "diverged" if number == 7 else "ok"))
    shown.close()
    assert not CONTROL.search(text(console))
    lines = text(console).splitlines()
    plan = "1 of 4 units frozen, rates 1e-4…3e-2, head 1e-2"
    assert lines[1] == (
        f"resumed with 1 evaluations done, best validation loss 0.5000, accuracy 0.667 (#0: {plan})"
    )
    assert len(lines) == 2 + 39 // 2
    assert lines[-1].startswith("39/40 evaluations, best validation loss 0.5000")
    assert lines[-1].endswith("(#0: " + plan + "), 1 failed, 10s left")


def test_a_terminal_shows_generation_workers_plan_and_memory(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = terminal()
    shown = Progress(status(), console)
    shown.begin([], "headline")
    monkeypatch.setattr(shown, "_gpu", lambda: "GPU memory 3.1 of 79.6 GiB")
    for number in (0, 1, 2, 3, 12, 4, 5, 6, 7, 8, 9):
        clock.now += 3
        shown(row(number, 1 / (1 + number)))
    clock.now += 1
    shown.tick(2, 2)
    console.print(shown._live._render())
    last = text(console).split("starting workers")[-1]
    for part in (
        "11/40 evaluations · generation 2 of 4 · 2 of 2 workers busy · 1m 26s left",
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
    with console.capture() as captured:
        console.print(shown._live._render())
    shown.close()
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", captured.get()).splitlines()
    assert lines[1].startswith("  best validation loss 0.5000")
    assert lines[1].endswith("…")
    assert all(len(line.rstrip()) <= 60 for line in lines)


def test_the_time_left_counts_what_is_stopped_and_cached() -> None:
    whole, early = Pace(), Pace()
    for number in range(20):
        whole.add(10.0 * number, 1)
        early.add(10.0 * number, 10 if number % 4 == 0 else 1)  # epochs; one in four goes on
    assert whole.seconds_left(30) == pytest.approx(300)
    # 4 of the last 19 took ten epochs: 19 rows of 10 seconds each for 55 epochs.
    assert early.seconds_left(110) == pytest.approx(110 * 190 / 55)
    half = Pace()
    for number in range(20):  # every second one is answered from the ledger, at once
        half.add(10.0 * (number // 2), 1)
    assert half.seconds_left(38) == pytest.approx(38 * 90 / 19)


def test_the_time_left_knows_interruptions_and_what_runs() -> None:
    pace = Pace()
    for number in range(11):
        pace.add(10.0 * number + (7200 if number > 5 else 0), 1)
    assert pace.seconds_left(4) == pytest.approx(40)
    last = 7300.0
    assert pace.seconds_left(4, now=last + 6) == pytest.approx(34)
    assert pace.seconds_left(4, now=last + 60) == pytest.approx(30)  # it hangs: three follow
    fresh = Pace()
    assert fresh.seconds_left(4) is None
    fresh.add(0.0, 1)
    assert fresh.seconds_left(4) is None


def test_a_budget_of_epochs_is_counted_in_epochs() -> None:
    config = SearchConfig.load(None, ["search.evaluations=10", "train.epochs=5"])
    halved = SearchStatus(config, "epochs")
    for number in range(20):
        halved.add(row(number, 0.5, "stopped", epochs=2), at=4.0 * number)
    assert (halved.done, halved.total, halved.left) == (40, 50, 10)
    assert halved.amount_text == "40/50 epochs"
    assert halved.counts_text == "20 stopped early"
    assert halved.left_text() == "20s left"
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
        assert shown.add(first)
        shown.add(second)
        shown.add(third)
        assert shown.best_text == best
        assert shown.counts_text == ""
    undefined = status(20, "search.objective=auc")
    assert not undefined.add(first)
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
        listeners[0](row(number, 0.5))
    study.finish(result("a"))
    clock.now += 5
    listeners[1](row(0, 0.25))
    study.tick(2, 2)
    if seen:
        console.print(study._live._render())
    study.close()
    found = text(console)
    assert "study both: 3 searches, 1 finished before" in found
    assert "a: validation loss 0.2500, test accuracy 0.875 (20 evaluations)" in found
    if seen:
        first = "2 of 3 searches finished, 21 evaluations · 2 of 2 workers busy · 1m 35s left"
        assert first in found
        assert "b: 1/20 evaluations, best validation loss 0.2500" in found
    else:
        assert not CONTROL.search(found)
        assert "1 of 3 searches finished, 10 evaluations, 2m 30s left" in found
