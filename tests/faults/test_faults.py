"""No finished evaluation is lost or paid for twice, whatever goes wrong; `campaign` does more."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator

import pytest

from revo_ray.storage import Storage
from tests.faults.campaign import disturb, kill_and_resume
from tests.faults.faults import FAULTS, NEEDS_MOUNT
from tests.faults.lab import Lab, Search
from tests.faults.watch import BEGAN, Event, RunDirectory, Verdict, judge

pytestmark = pytest.mark.timeout(600)

PLANS = [
    ["driver-kill-at-tell", "torn-row", "worker-kill-busy", "clock-jump", "driver-terminate"],
    ["worker-kill-idle", "driver-freeze", "out-of-memory", "disk-full", "driver-kill-at-fsync"],
]
"""A search each; the campaign has the rest."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.close()


def check(search: Search, verdict: Verdict, kinds: list[str]) -> None:
    """Every fault fired, and none cost anything."""
    fired = [injection.kind for injection in search.injections if injection.fired]
    assert set(fired) >= set(kinds)
    assert len(fired) == len(search.injections)
    assert verdict == Verdict(completed=True, equal=True, again=verdict.again)


@pytest.mark.parametrize("plan", PLANS, ids=" ".join)
def test_faults_cost_nothing(lab: Lab, plan: list[str]) -> None:
    kinds = [kind for kind in plan if lab.mounted or kind not in NEEDS_MOUNT]
    search, verdict = disturb(lab, kinds, random.Random(0), lookahead="0")
    check(search, verdict, kinds)
    if kinds != plan:
        pytest.skip(f"all but {NEEDS_MOUNT & set(plan)}, which needs a user who may mount (root)")


def test_kills_of_the_driver_cost_nothing(lab: Lab) -> None:
    search, verdict = kill_and_resume(lab, 4, 23, random.Random(0))
    check(search, verdict, ["driver-kill"])
    assert len(search.injections) == 4


def test_a_node_lost_in_a_generation_costs_nothing(lab: Lab) -> None:
    search = Search(lab, {"search.lookahead": "0"})
    search.changing["resources.max_concurrent"] = "2"
    search.ensure_running()
    assert search.wait_for_rows(3)
    assert FAULTS["node-removal"](search, random.Random(0))
    nodes = len(lab.machines.nodes)
    verdict = search.finish()
    check(search, verdict, ["node-removal"])
    assert nodes == 2
    search.close()


@pytest.mark.parametrize("in_store", [False, True], ids=["disk", "object store"])
def test_a_second_driver_is_refused_and_disturbs_nothing(lab: Lab, in_store: bool) -> None:
    search = Search(lab, {"search.lookahead": "0"}, in_store)
    assert FAULTS["second-driver"](search, random.Random(0))  # both at once
    assert search.wait_for_rows(2)
    assert FAULTS["second-driver"](search, random.Random(0))
    verdict = search.finish()
    check(search, verdict, ["second-driver"])
    search.close()


def test_the_harness_finds_what_is_lost_and_paid_for_twice(lab: Lab) -> None:
    undisturbed = lab.undisturbed({"search.lookahead": "0"})
    shutil.copytree(lab.disk / undisturbed.name, lab.disk / "copy")
    outcome = undisturbed.outcome
    run = RunDirectory(Storage(str(lab.disk)), "copy")
    assert judge(run, [], [], outcome) == Verdict(completed=True, equal=True)

    mark = run.mark()
    ledger = lab.disk / "copy" / "ledger"
    (ledger / "000001.json").write_bytes((ledger / "000001.json").read_bytes())  # written anew
    (ledger / "000003.json").unlink()
    (ledger / "000021.json").write_bytes((ledger / "000022.json").read_bytes())
    trained = [Event(time.monotonic(), 1, "copy", number, BEGAN) for number in (7, 7, 23)]
    found = judge(run, trained, [mark], outcome)
    assert (found.lost, found.twice, found.equal, found.again) == (2, 3, False, 1)
