"""What every test shares."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.forks.client import forking

TESTS = Path(__file__).parent
SLOW = [TESTS / folder for folder in ("benchmarks", "cluster", "end_to_end", "faults")]
"""Every test below these is slow."""
CI = os.environ.get("REVO_RAY_CI") == "1"
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
MAY_SKIP = "needs a CUDA device"
"""The only reason for which a test may skip in CI."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(folder in item.path.parents for folder in SLOW):
            item.add_marker(pytest.mark.slow)


def pytest_runtest_teardown(item: pytest.Item) -> None:
    ray = sys.modules.get("ray")
    if ray is not None and not item.get_closest_marker("slow"):
        assert not ray.is_initialized(), "a test that needs Ray is marked slow"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    return _without_skip(report) if CI else report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    return _without_skip(report) if CI else report


def _without_skip(report: Report) -> Report:
    """Turn a skip into a failure, unless its reason is the one that CI allows."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        if MAY_SKIP not in str(reason):
            report.outcome = "failed"
            report.longrepr = f"REVO_RAY_CI=1 allows no skip but '{MAY_SKIP}'. {reason}"
    return report


@pytest.fixture(scope="session", autouse=True)
def ray_folder() -> Iterator[None]:
    """Ray's sessions go to a folder of their own, with a short path, and away with the tests."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` leaves it ignored
    folder = tempfile.mkdtemp(prefix="rt", dir="/tmp")
    os.environ["RAY_TMPDIR"] = folder
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # a busy machine takes long
    yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def forks() -> Iterator[None]:
    """Ray's workers and `python -m revo_ray` are forks, of one server for all xdist processes."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    with forking(Path(tempfile.gettempdir(), f"forks-{run}")):
        yield
