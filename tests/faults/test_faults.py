"""No finished evaluation is lost or paid for twice, whatever goes wrong; `campaign` does more."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator

import pytest

from revo_ray.storage import Storage
from tests.faults.campaign import disturb, kill_and_resume, run_campaign
from tests.faults.faults import FAULTS
from tests.faults.lab import Lab, Search
from tests.faults.watch import BEGAN, Event, RunDirectory, Verdict, judge

pytestmark = pytest.mark.timeout(600)

PLANS = [
    ["worker-kill-idle", "driver-kill-at-fsync"],
    ["driver-freeze", "out-of-memory", "disk-full"],
    ["driver-kill-at-tell", "torn-row", "worker-kill-busy", "clock-jump", "driver-terminate"],
]
"""A search each, all but the first nightly; `make nightly-faults` has all kinds."""


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


@pytest.mark.parametrize(
    "plan",
    [PLANS[0], *(pytest.param(plan, marks=pytest.mark.nightly) for plan in PLANS[1:])],
    ids=" ".join,
)
def test_faults_cost_nothing(lab: Lab, plan: list[str]) -> None:
    search, verdict = disturb(lab, plan, random.Random(0), lookahead="0")
    check(search, verdict, plan)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("in_store", "kinds"),
    [(False, ["node-removal", "driver-kill"]), (True, ["store-unreachable"])],
    ids=["disk", "object store"],
)
def test_a_second_driver_is_refused_and_disturbs_nothing(
    lab: Lab, in_store: bool, kinds: list[str]
) -> None:
    """Nor do other faults, later in the same search."""
    search = Search(lab, {"search.lookahead": "0"}, in_store)
    search.changing["resources.max_concurrent"] = "2"
    rng = random.Random(0)
    assert FAULTS["second-driver"](search, rng)  # both at once
    for rows, kind in zip((2, 4, 8), ["second-driver", *kinds], strict=False):
        assert search.wait_for_rows(rows)
        assert FAULTS[kind](search, rng)
    verdict = search.finish()
    check(search, verdict, ["second-driver", *kinds])
    assert len(lab.machines.nodes) == 2
    search.close()


@pytest.mark.nightly
@pytest.mark.timeout(3000)
def test_kills_of_the_driver_cost_nothing(lab: Lab) -> None:
    """In trainings, and while it starts."""
    search, verdict = kill_and_resume(lab, 12, 23, random.Random(0))
    check(search, verdict, ["driver-kill"])
    assert len(search.injections) == 12


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_a_hundred_faults_of_all_kinds_cost_nothing(lab: Lab) -> None:
    report = run_campaign(lab, list(FAULTS), 100, seed=0)
    assert report.good, report.markdown()
    if report.skipped:
        pytest.skip(f"{report.skipped}")


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
    trained = [Event(time.monotonic(), 1, 1, "copy", number, BEGAN) for number in (7, 7, 23)]
    found = judge(run, trained, [mark], outcome)
    assert (found.lost, found.twice, found.equal, found.again) == (2, 3, False, 1)
