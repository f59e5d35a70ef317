"""Forks stand for processes: what they print, how they end, and with whom."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forks.client import without_forks

pytestmark = pytest.mark.slow

MODULE = [sys.executable, "-m", "revo_ray"]


@pytest.mark.parametrize("words", [["methods"], ["sarch"], ["data", "inspect", "--set", "a=b"]])
def test_a_fork_prints_and_ends_as_the_process_does(words: list[str], tmp_path: Path) -> None:
    fork, process = (
        subprocess.run(
            [*MODULE, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        for environment in (dict(os.environ), without_forks())
    )
    assert fork.stdout + fork.stderr
    assert (fork.returncode, fork.stdout) == (process.returncode, process.stdout)
    assert fork.stderr == process.stderr


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_who_stands_for_a_fork_takes_it_along(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    """It holds the output of both until it has ended."""
    process = subprocess.Popen(
        [*MODULE, "search", "--set", f"storage={tmp_path}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(number)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == status, out
