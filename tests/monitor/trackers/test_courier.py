"""Whatever a tracker does, the search goes on, and everything reaches the tracker that can."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.monitor.trackers import (
    Held,
    TrackedEvaluation,
    TrackedOutcome,
    TrackedSearch,
    Tracker,
    Trackers,
)
from revo_ray.objective import LOSS
from revo_ray.rundir import Evaluation

CALLS = ("__init__", "begin", "add", "end", "close")


class Service:
    """A tracking service in memory; the runs outlive its trackers."""

    def __init__(self) -> None:
        self.evaluations: dict[int, str] = {}
        self.order: list[int] = []
        self.outcome: str | None = None
        self.fails: Callable[[str], None] = lambda call: None
        self.closed = 0

    @property
    def tracker(self) -> type[Tracker]:
        """A class of trackers that use this service."""
        service = self

        class Memory(Tracker):
            def __init__(self, search: TrackedSearch, warn: Callable[[str], None]) -> None:
                super().__init__(search, warn)
                service.fails("__init__")

            def begin(self) -> Held:
                service.fails("begin")
                return Held(dict(service.evaluations), service.outcome)

            def add(self, evaluation: TrackedEvaluation) -> None:
                service.fails("add")
                service.evaluations[evaluation.number] = evaluation.digest
                service.order.append(evaluation.number)

            def end(self, outcome: TrackedOutcome) -> None:
                service.fails("end")
                service.outcome = outcome.digest

            def close(self) -> None:
                service.closed += 1
                service.fails("close")

        return Memory


SEARCH = TrackedSearch("1", "shot", None, "/runs/shot", None, {}, {}, None, (), LOSS)


def row(number: int) -> Evaluation:
    return Evaluation(
        evaluation=number, sample={"x": number}, status="ok", val_loss=1 / (number + 1)
    )


OUTCOME = TrackedOutcome({"name": "shot"}, "best", {}, None, None)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are tried again at once."""
    monkeypatch.setattr("revo_ray.monitor.trackers.courier.AGAIN_SECONDS", 0.0)
    monkeypatch.setattr("revo_ray.monitor.trackers.courier.RETRY_SECONDS", 0.0)


def command(service: Service, rows: int, said: list[str], *, known: int = 0) -> Trackers:
    """A command that makes some rows."""
    trackers = Trackers({"memory": service.tracker}, said.append)
    listen = trackers.follow(SEARCH, map(row, range(known)))
    for number in range(known, known + rows):
        listen(row(number))
    return trackers


def finish(trackers: Trackers) -> None:
    trackers.catch_up()
    if trackers.want_outcome("shot", dict(OUTCOME.result)):
        trackers.end("shot", OUTCOME)
    trackers.finish()


@pytest.mark.parametrize("error", [OSError, ValueError, KeyboardInterrupt, SystemExit, MemoryError])
@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_raises_ends_nothing_and_is_told_once(
    call: str, error: type[BaseException]
) -> None:
    service, said = Service(), []

    def fail(name: str) -> None:
        if name == call:
            raise error("no\nway")

    service.fails = fail
    finish(command(service, 5, said))
    assert len(said) == 1
    assert said[0].startswith("trackers: memory does not take the search (no); the search goes on")
    service.fails = lambda name: None
    finish(command(service, 0, said, known=5))
    assert len(said) == 1
    assert service.evaluations.keys() == set(range(5))
    assert service.outcome == OUTCOME.digest


def test_all_that_raises_everywhere_ends_nothing() -> None:
    service, said = Service(), []

    def fail(name: str) -> None:
        raise RuntimeError(name)

    service.fails = fail
    finish(command(service, 5, said))
    assert len(said) == 1


@given(plan=st.lists(st.booleans(), max_size=60))
def test_each_row_comes_once_and_in_order_whatever_fails(plan: list[bool]) -> None:
    """A failure hits any calls, before or after they took effect."""
    service, said = Service(), []
    steps = iter(plan)

    def fail(name: str) -> None:
        if next(steps, False):
            raise OSError(name)

    service.fails = fail
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("revo_ray.monitor.trackers.courier.AGAIN_SECONDS", 0.0)
        patched.setattr("revo_ray.monitor.trackers.courier.RETRY_SECONDS", 0.0)
        finish(command(service, 8, said))
        service.fails = lambda name: None
        finish(command(service, 2, said, known=8))
    assert service.order == list(range(10))
    assert service.outcome == OUTCOME.digest
    assert len(said) <= 1


def test_a_row_that_was_made_again_is_sent_again() -> None:
    service = Service()
    finish(command(service, 3, []))
    service.evaluations[1] = "of an error"
    finish(command(service, 0, [], known=3))
    assert service.order == [0, 1, 2, 1]


def test_what_is_held_is_not_sent_again() -> None:
    service = Service()
    finish(command(service, 3, []))
    ended = service.outcome
    service.fails = lambda name: pytest.fail(name) if name in ("add", "end") else None
    said: list[str] = []
    finish(command(service, 0, said, known=3))
    assert (service.outcome, said) == (ended, [])


def test_the_best_so_far_and_the_curve_follow_the_rows() -> None:
    seen: list[TrackedEvaluation] = []

    class Seeing(Service.tracker.fget(Service())):  # type: ignore[misc]
        def add(self, evaluation: TrackedEvaluation) -> None:
            seen.append(evaluation)

    trackers = Trackers({"seeing": Seeing}, None)
    listen = trackers.follow(SEARCH, [])
    for number, loss in enumerate((0.5, 0.9, None, 0.2)):
        status: Any = "ok" if loss else "diverged"
        listen(Evaluation(evaluation=number, sample={}, status=status, val_loss=loss, epochs=3))
    finish(trackers)
    assert [evaluation.best["best_val_loss"] for evaluation in seen] == [0.5, 0.5, 0.5, 0.2]
    assert [evaluation.rows for evaluation in seen] == [1, 2, 3, 4]
    assert [[(p.epoch, dict(p.scores)) for p in e.curve] for e in seen] == [
        [(3, {"val_loss": 0.5})],
        [(3, {"val_loss": 0.9})],
        [],
        [(3, {"val_loss": 0.2})],
    ]


class Hanging(Tracker):
    """Never comes back from `begin`."""

    released: ClassVar[threading.Event] = threading.Event()

    def begin(self) -> Held:
        self.released.wait()
        return Held()

    def add(self, evaluation: TrackedEvaluation) -> None:
        pass

    def end(self, outcome: TrackedOutcome) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def hanging() -> Iterator[type[Tracker]]:
    Hanging.released.clear()
    yield Hanging
    Hanging.released.set()


def test_a_tracker_that_hangs_delays_a_stop_by_moments(
    hanging: type[Tracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("revo_ray.monitor.trackers.trackers.STOP_SECONDS", 0.2)
    trackers = Trackers({"hanging": hanging}, None)
    trackers.follow(SEARCH, [])(row(0))
    began = time.monotonic()
    trackers.close()
    assert time.monotonic() - began < 1


def test_a_tracker_that_hangs_is_given_up_at_the_end_and_named(
    hanging: type[Tracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PATIENCE_SECONDS", "UPLOAD_SECONDS"):
        monkeypatch.setattr(f"revo_ray.monitor.trackers.trackers.{name}", 0.2)
    said: list[str] = []
    service = Service()
    trackers = Trackers({"hanging": hanging, "memory": service.tracker}, said.append)
    trackers.follow(SEARCH, [])(row(0))
    finish(trackers)
    assert said == ["trackers: hanging does not answer; --resume sends what is missing"]
    assert service.outcome == OUTCOME.digest


def test_a_signal_ends_the_wait(hanging: type[Tracker]) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    trackers = Trackers({"hanging": hanging}, None, stop)
    trackers.follow(SEARCH, [])
    with pytest.raises(KeyboardInterrupt):
        trackers.catch_up()


def test_without_a_console_it_warns_as_python_does() -> None:
    service = Service()

    def fail(name: str) -> None:
        raise OSError("no route to http://me:secret@host:5000/x")

    service.fails = fail
    caught: list[str] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("warnings.warn", lambda text, **options: caught.append(text))
        trackers = Trackers({"memory": service.tracker}, None)
        trackers.follow(SEARCH, [])
        finish(trackers)
    assert len(caught) == 1
    assert "secret" not in caught[0]
    assert "@host:5000/x" in caught[0]
