"""Signals while Ray starts and stops."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from revo_ray.errors import Interrupted
from revo_ray.search.ray import internals
from revo_ray.search.ray.stopping import stop_if_asked, stopping_on_signals

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
DRIVER = """
import contextlib, sys, time
from revo_ray.errors import Interrupted
from revo_ray.search.ray import cluster
from revo_ray.search.ray.cluster import connected
from revo_ray.search.ray import internals
from revo_ray.search.ray.stopping import stopping_on_signals

if "without the flag" in sys.argv:  # a Ray that handles signals itself
    cluster.no_signal_handlers = contextlib.nullcontext
try:
    with stopping_on_signals(process_ends=True):
        print("starting", flush=True)
        with connected(None):
            print("started", flush=True)
            time.sleep(60)
except Interrupted:
    sys.exit(130)
"""


@pytest.mark.sample(1)
@pytest.mark.parametrize("moment", ["starting", "started"])
def test_many_signals_end_a_driver_as_one_does(moment: str) -> None:
    with driver(moment) as process:
        sent = 0
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            process.send_signal(signal.SIGTERM)
            sent += 1
            time.sleep(0.01)
        ended = process.wait(1), process.stderr.read()
        if internals.signal_flag() is None:  # Ray handles SIGTERM itself while it starts and ends
            assert ended[0] in (130, -signal.SIGTERM)
        else:
            assert ended == (130, "")
            assert sent > 10


def test_one_signal_ends_a_driver_of_a_ray_that_handles_signals_itself() -> None:
    with driver("started", "without the flag") as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130


@contextmanager
def driver(moment: str, *words: str) -> Iterator[Any]:
    """A driver that has come to a moment."""
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        while (line := process.stdout.readline().strip()) != moment:
            assert line, process.communicate()
        yield process
    finally:
        process.kill()
        process.communicate()


def test_logging_may_let_go_of_its_lock() -> None:
    """Around a fork it is taken and let go where Python ignores exceptions."""
    done: list[str] = []

    def called() -> None:
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)

    def fork() -> None:
        code = "import signal; signal.raise_signal(signal.SIGTERM); called(); done.append('let go')"
        exec(code, {"__name__": "logging", "called": called, "done": done})
        time.sleep(20)
        done.append("went on")

    with pytest.raises(Interrupted, match="SIGTERM"), stopping_on_signals():
        fork()
    assert done == ["let go"]


def test_what_was_lost_is_raised_at_the_next_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finalised:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    lost: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lost.append)

    def work() -> None:
        Finalised()
        assert len(lost) == 1
        stop_if_asked()

    with pytest.raises(Interrupted, match="SIGTERM"), stopping_on_signals():
        work()
