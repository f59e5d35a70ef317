"""Searches whose evaluations train together: the numbers of one that nobody disturbs."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack

import pytest
import ray

from revo_ray.search.core.prepare import Preparation
from revo_ray.search.ray.cluster import connected
from revo_ray.search.ray.fuse import measure_on_worker
from revo_ray.search.ray.resources import Footprint
from revo_ray.settings.schema import SearchConfig
from tests.end_to_end.cli import ONE_WORKER, SMALL, Cli

pytestmark = pytest.mark.usefixtures("one_ray")

LOW = {"method__high": "-2", "search__evaluations": "13"}
"""Rates at which training is stable, so that rounding stays rounding."""


def test_a_fused_search_is_the_same_whatever_disturbs_it(cli: Cli) -> None:
    fused = {**LOW, "resources__fuse": "3"}
    done = cli.run("search", name="whole", **fused, **ONE_WORKER)
    assert done.returncode == 0, done.stderr

    process = cli.start("search", name="killed", resources__max_concurrent="2", **fused)
    cli.wait_for_rows("killed", 5, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    rows = {row.evaluation: row for row in cli.ledger("killed")}
    assert len(rows) < 13
    lost = next(row for row in rows.values() if row.evaluation % 10 < 9)
    (cli.folder / "killed" / "ledger" / f"{lost.evaluation:06d}.json").unlink()  # of a window
    changed = cli.run("search", "--resume", name="killed", **fused | {"resources__fuse": "2"})
    assert changed.returncode == 2
    assert "resources.fuse (3, now 2)" in changed.stderr
    done = cli.run("search", "--resume", name="killed", **fused)
    assert done.returncode == 0, done.stderr
    assert cli.facts("killed") == cli.facts("whole")
    again = {row.evaluation: row for row in cli.ledger("killed")}
    assert [n for n, row in rows.items() if again[n] != row] == [lost.evaluation]
    path = cli.folder / "whole" / "best" / "model.safetensors"
    written = path.read_bytes()
    assert (cli.folder / "killed" / "best" / "model.safetensors").read_bytes() == written
    path.unlink()
    done = cli.run("search", "--resume", name="whole", **fused, **ONE_WORKER)
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == written  # trained again with those that it had trained with

    whole = cli.ledger("whole")
    trials = [row.trial_id for row in whole]
    assert [trials.index(trial) for trial in trials] == [0, 0, 0, 3, 3, 3, 6, 6, 6, 9, 10, 10, 10]
    (moments,) = {(row.started_at, row.finished_at, row.node, row.device) for row in whole[:3]}
    assert 0 < sum(row.seconds for row in whole[:3]) < moments[1] - moments[0]

    done = cli.run("search", name="alone", **LOW | {"search__evaluations": "10"}, **ONE_WORKER)
    assert done.returncode == 0, done.stderr
    for together, alone in zip(whole, cli.ledger("alone"), strict=False):
        assert together.sample == alone.sample
        assert together.val_loss == pytest.approx(alone.val_loss, abs=1e-4)
        assert (together.status, together.epochs, together.images) == ("ok", 2, alone.images)
        assert len(together.curve) == len(alone.curve)


def test_a_worker_measures_what_training_together_gives(cli: Cli) -> None:
    config = SearchConfig.load(None, [*SMALL, f"storage={cli.folder}", "resources.fuse=auto"])
    with ExitStack() as stack:
        state = Preparation(config.storage, False, None, stack).state(config)
        stack.enter_context(connected(None))
        state.task["node"] = ray.get_runtime_context().get_node_id()
        rates = measure_on_worker(state.task, [1, 2], Footprint(1, 0.0))
    assert len(rates) == 2
    assert all(rate > 0 for rate in rates)
