"""What happens to the process of a search costs nothing: kills, signals, a second driver.

These searches start a Ray of their own, as on a laptop.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from pathlib import Path

import psutil
import pytest
import ray

from tests.end_to_end.cli import ONE_WORKER, Cli, Undisturbed


def test_sigkill_of_the_driver_loses_nothing(cli: Cli, undisturbed: Undisturbed) -> None:
    rng = random.Random(20)
    for rows in sorted(rng.sample(range(3, 14), 2)):
        process = cli.start("search", "--resume", name="killed")
        cli.wait_for_rows("killed", rows, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    written = {
        path: path.stat().st_mtime_ns for path in (cli.folder / "killed" / "ledger").glob("*.json")
    }
    assert len(written) < 23
    done = cli.run("search", "--resume", name="killed", **ONE_WORKER)
    assert done.returncode == 0, done.stderr
    assert f"resumed with {len(written)} evaluations done" in done.stdout
    assert cli.facts("killed") == undisturbed(0).facts("undisturbed")
    assert {path: path.stat().st_mtime_ns for path in written} == written  # none was made twice
    ours, theirs = (
        json.loads((folder / "result.json").read_text())
        for folder in (cli.folder / "killed", undisturbed(0).folder / "undisturbed")
    )
    assert (ours["best"], ours["test"]) == (theirs["best"], theirs["test"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_stops_at_once_and_can_go_on(
    cli: Cli, undisturbed: Undisturbed, number: signal.Signals
) -> None:
    process = cli.start("search", name="stopped")
    cli.wait_for_rows("stopped", 3, process)
    asked = time.monotonic()
    process.send_signal(number)
    if number == signal.SIGINT:
        time.sleep(0.3)
        process.send_signal(number)  # an impatient one must not stop the stop
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - asked < 10
    assert "every finished evaluation is kept. Go on with: " in out
    assert "--resume" in out
    assert "Traceback" not in err
    done = cli.run("search", "--resume", name="stopped", **ONE_WORKER)
    assert done.returncode == 0, done.stderr
    assert cli.facts("stopped") == undisturbed(0).facts("undisturbed")


def test_asked_to_stop_before_it_began_it_can_go_on(cli: Cli) -> None:
    process = cli.start("search", name="early")
    maps = Path(f"/proc/{process.pid}/maps")
    while "libtorch" not in maps.read_text():  # torch is being imported
        time.sleep(0.02)
    process.terminate()
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, out + err
    assert "Go on with: " in out


def test_a_killed_worker_costs_an_attempt_and_changes_no_number(
    cli: Cli, undisturbed: Undisturbed
) -> None:
    process = cli.start("search", name="worker", resources__max_concurrent="2")
    cli.wait_for_rows("worker", 3, process)
    victims = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "EvaluationTrial" in " ".join(child.cmdline())
    ]
    assert victims
    victims[0].kill()
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out + err)  # this is no terminal
    assert cli.facts("worker") == undisturbed(0).facts("undisturbed")
    assert sum(row.attempts for row in cli.ledger("worker")) == 24


def test_two_drivers_and_changed_settings_are_refused(cli: Cli) -> None:
    process = cli.start("search", name="mine", search__evaluations="400")
    cli.wait_for_rows("mine", 2, process)
    second = cli.run("search", "--resume", name="mine", search__evaluations="400")
    assert second.returncode == 2
    assert "another search is running in" in second.stderr
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    changed = cli.run("search", "--resume", name="mine", train__epochs="3")
    assert changed.returncode == 2
    assert "search.evaluations (400, now 23), train.epochs (2, now 3)" in changed.stderr


def test_a_search_that_is_refused_leaves_no_ray_behind(cli: Cli) -> None:
    """It is refused when Ray has started and says how large the machine is."""
    refused = cli.run("search", name="wrong", resources__cpus_per_trial="999")
    assert refused.returncode == 2
    assert "is 999, but no machine" in refused.stderr
    assert not ray.is_initialized()
    assert "gcs_server" not in [child.name() for child in psutil.Process().children()]
