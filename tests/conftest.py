"""Settings and fixtures that all tests share."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from tests.forks.client import forking
from tests.typed import typed as typed  # a fixture of all tests

TESTS = Path(__file__).parent
SLOW = [TESTS / folder for folder in ("faults", "end_to_end", "cluster", "benchmarks")]
"""Every test below these is slow; the first take longest, and so begin first."""
CI = os.environ.get("REVO_RAY_CI") == "1"
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
CONNECTED = pytest.StashKey[bool]()
"""Whether Ray was connected before a test."""
MAY_SKIP = "needs a CUDA device"
"""The only reason for which a test may skip in CI."""

for profile, options in {
    "test": {"derandomize": True},
    "nightly": {"max_examples": 2000, "print_blob": True},
}.items():
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    settings.register_profile(profile, deadline=None, suppress_health_check=checks, **options)
settings.load_profile("test")


def pytest_configure(config: pytest.Config) -> None:
    """Let examples depend on their test alone, unless they are drawn at random."""
    if config.getoption("--hypothesis-profile") != "nightly":
        # Hypothesis mixes in constants of all modules that happen to be imported by now.
        providers.is_local_module_file = lambda path: False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> int:
        found = [turn for turn, folder in enumerate(SLOW) if folder in item.path.parents]
        return found[0] if found else len(SLOW)

    items.sort(key=turn)
    for item in items:
        if turn(item) < len(SLOW):
            item.add_marker(pytest.mark.slow)
    _leave_the_rest_to_nightly(items)


def _leave_the_rest_to_nightly(items: list[pytest.Item]) -> None:
    """Keep n cases, always the same, of a test that is marked `sample(n)`; the rest are nightly."""
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("sample") and not item.get_closest_marker("nightly"):
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for name, found in cases.items():
        mark = found[0].get_closest_marker("sample")
        assert mark is not None
        kept = random.Random(name).sample(found, min(mark.args[0], len(found)))
        for item in found:
            if item not in kept:
                item.add_marker(pytest.mark.nightly)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[CONNECTED] = _ray_is_connected()


def pytest_runtest_teardown(item: pytest.Item) -> None:
    if not item.stash[CONNECTED] and not item.get_closest_marker("slow"):
        assert not _ray_is_connected(), "a test that needs Ray is marked slow"


def _ray_is_connected() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


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
    os.environ.setdefault("RAY_agent_register_timeout_ms", "120000")
    yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def quick_disk() -> Iterator[None]:
    """Do not wait for the disk: no test cuts the power of its own process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda file: None)
        yield


@pytest.fixture(autouse=True)
def forgotten_modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leave no module of a temporary folder to the next test, which may have one of that name."""
    before, base = set(sys.modules), os.path.join(tmp_path_factory.getbasetemp(), "")
    yield
    for name in sys.modules.keys() - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(base):
            del sys.modules[name]


@pytest.fixture(scope="session", autouse=True)
def forks() -> Iterator[None]:
    """Ray's workers and `python -m revo_ray` are forks, of one server for all xdist processes."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    with forking(Path(tempfile.gettempdir(), f"forks-{run}")):
        yield
