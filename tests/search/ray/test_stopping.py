"""Signals while Ray starts and stops."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from revo_ray.errors import Interrupted
from revo_ray.search.ray.stopping import stop_if_asked, stopping_on_signals

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
DRIVER = """
import sys, time
from revo_ray.errors import Interrupted
from revo_ray.search.ray.cluster import connected
from revo_ray.search.ray.stopping import stopping_on_signals

try:
    with stopping_on_signals(process_ends=True):
        print("starting", flush=True)
        with connected(None):
            print("started", flush=True)
            time.sleep(60)
except Interrupted:
    sys.exit(130)
"""


@pytest.mark.parametrize("moment", ["starting", "started"])
def test_many_signals_end_a_driver_as_one_does(moment: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER],
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
        sent = 0
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            process.send_signal(signal.SIGTERM)
            sent += 1
            time.sleep(0.01)
        assert process.stderr is not None
        assert (process.wait(1), process.stderr.read()) == (130, "")
        assert sent > 10
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
