"""Standard streams that are closed, full, or lose their reader: no command ends otherwise."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.end_to_end.cli import PATH, SMALL
from tests.forks.client import without_forks

PRINTS = """
import logging, os, subprocess, sys
from revo_ray.cli.streams import keep_open, lost, unread
keep_open()
from rich.console import Console
opened = os.open(sys.executable, os.O_RDONLY)
assert opened > 2, "a file took the place of a stream"
for _ in range(200):
    print("x" * 999)
    Console().print("[bold]rich[/]")
    Console(stderr=True).print("rich")
    logging.warning("logged")
    print("y" * 999, file=sys.stderr, flush=True)
subprocess.run("echo from a child; echo and to stderr >&2", shell=True)
sys.stdin.read(1)
open(sys.argv[1], "w").write(f"{lost(sys.stdout) is not None} {unread(sys.stdout)}")
os._exit(7)
"""

CLOSINGS = {
    "": "False False",
    "| head -1": "True True",
    ">&-": "False False",
    "2>&-": "False False",
    ">&- 2>&-": "False False",
    "<&- >&- 2>&-": "False False",
    "< /dev/null": "False False",
    "> /dev/full": "True False",
    "> /dev/full 2> /dev/full": "True False",
    "2>&1 | true": "True True",
}
"""Ways to close streams; for each, whether stdout lost something and whether nobody reads it."""


@pytest.mark.parametrize("closing", CLOSINGS)
def test_a_program_that_prints_goes_on_to_its_end(closing: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PRINTS)
    command = f"{sys.executable} program.py done {closing}; echo ${{PIPESTATUS[0]}} > status"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(PATH)}
    ran = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
    )
    assert (tmp_path / "status").read_text() == "7\n", ran.stderr[-2000:]
    assert (tmp_path / "done").read_text() == CLOSINGS[closing]
    assert "Traceback" not in ran.stdout + ran.stderr
    assert "Exception ignored" not in ran.stdout + ran.stderr


@pytest.mark.slow
def test_a_pipe_that_does_not_block_gets_every_line(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PRINTS)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    process = subprocess.Popen(
        [sys.executable, "program.py", "done"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(PATH)},
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    time.sleep(1)  # the pipe is full by then
    with os.fdopen(reading) as output:
        lines = output.read().splitlines()
    assert process.wait(30) == 7
    assert lines.count("x" * 999) == lines.count("rich") == 200


def search(storage: Path, name: str) -> list[str]:
    sets = [*SMALL, f"storage={storage}", f"name={name}", "resources.max_concurrent=1"]
    sets += ["train.epochs=1", "search.evaluations=4", "search.population=4"]
    options = [word for override in sets for word in ("--set", override)]
    return [sys.executable, "-m", "revo_ray", "search", *options]


@pytest.mark.nightly
@pytest.mark.parametrize("closing", ["| head -1", ">&- 2>&-", "> /dev/full 2> /dev/full"])
def test_a_search_that_nobody_reads_has_its_result(closing: str, tmp_path: Path) -> None:
    command = " ".join(search(tmp_path, "closed"))
    done = subprocess.run(
        ["bash", "-c", f"{command} {closing}; exit ${{PIPESTATUS[0]}}"],
        cwd=tmp_path,
        env=without_forks() | {"PYTHONPATH": os.pathsep.join(PATH)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "closed/result.json").exists()
    assert (tmp_path / "closed/best/model.safetensors").exists()
    assert "Traceback" not in done.stderr


@pytest.mark.nightly
@pytest.mark.parametrize(("nohup", "status"), [(False, 130), (True, 0)])
def test_a_terminal_hangs_up(nohup: bool, status: int, tmp_path: Path) -> None:
    """A search stops resumable as at SIGTERM; under nohup it goes on to its end."""
    assert shutil.which("setsid")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", *search(tmp_path, "hung"), "--set", "search.evaluations=8"],
        cwd=tmp_path,
        env=without_forks() | {"PYTHONPATH": os.pathsep.join(PATH), "TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        preexec_fn=(lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) if nohup else None,
    )
    os.close(slave)
    rows = tmp_path / "hung/ledger"
    deadline = time.monotonic() + 200
    while not (rows.is_dir() and any(rows.iterdir())):
        assert time.monotonic() < deadline
        assert process.poll() is None
        os.read(master, 10_000)
    os.close(master)
    assert process.wait(200) == status
    assert (tmp_path / "hung/result.json").exists() == (status == 0)
