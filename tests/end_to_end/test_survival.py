"""A search that starts a Ray of its own, as on a laptop: signals, a lost worker, a second driver.

`tests/faults` has what goes wrong on a cluster, and what the search comes to that goes on after it.
"""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import psutil
import pytest
import ray

from tests.end_to_end.cli import Cli


def test_it_outlives_its_worker_and_a_second_driver_and_stops_when_it_is_asked(cli: Cli) -> None:
    """All its processes start as they do elsewhere."""
    many = {"search__evaluations": "400", "resources__max_concurrent": "2"}
    process = cli.start("search", name="mine", forks=False, **many)
    cli.wait_for_rows("mine", 3, process)
    victims = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "EvaluationTrial" in " ".join(child.cmdline())
    ]
    assert victims
    victims[0].kill()
    second = cli.run("search", "--resume", name="mine", **many)
    assert second.returncode == 2
    assert "another search is running in" in second.stderr
    cli.wait_for(lambda: any(row.attempts == 2 for row in cli.ledger("mine")), process)

    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)  # an impatient one must not stop the stop
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "every finished evaluation is kept. Go on with: " in out
    assert "--resume" in out
    assert "Traceback" not in err
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out + err)  # this is no terminal
    assert len(cli.ledger("mine")) < 400  # it did not go on to its end
    changed = cli.run("search", "--resume", name="mine", train__epochs="3")
    assert changed.returncode == 2
    shrunk = "search.evaluations (400, now 23; it may only grow)"
    assert f"{shrunk}, train.epochs (2, now 3)" in changed.stderr


@pytest.mark.nightly
def test_asked_to_stop_before_it_began_it_can_go_on(cli: Cli) -> None:
    process = cli.start("search", name="early", forks=False)
    maps = Path(f"/proc/{process.pid}/maps")
    while "libtorch" not in maps.read_text():  # torch is being imported
        time.sleep(0.02)
    process.terminate()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, out + err
    assert "Go on with: " in out


def test_a_search_that_is_refused_leaves_no_ray_behind(cli: Cli) -> None:
    """It is refused when Ray has started and says how large the machine is."""
    refused = cli.run("search", name="wrong", resources__cpus_per_trial="999")
    assert refused.returncode == 2
    assert "is 999, but no machine" in refused.stderr
    assert not ray.is_initialized()
    assert "gcs_server" not in [child.name() for child in psutil.Process().children()]
