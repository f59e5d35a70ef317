"""Runs of pytest in forked processes, which have the libraries and import the product afresh."""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import hypothesis
import pytest

LIBRARIES = (
    *("numpy", "scipy.stats", "scipy.special", "PIL.Image", "imagehash", "cmaes", "pydantic"),
    *("yaml", "pyarrow.parquet", "pyarrow.fs", "sklearn.datasets", "sklearn.metrics"),
    *("sklearn.model_selection", "torch", "torchvision", "timm", "safetensors.torch", "ray.tune"),
)
OWN = ("revo_ray", "baselines", "tests")
"""Packages that a forked process imports from its own tree."""


@dataclass(frozen=True)
class Selection:
    """Tests to run.

    Attributes:
        paths: files and folders, the first ones first.
        slow: whether slow tests are among them.
        done: paths among them whose tests ran already, slow ones aside.
    """

    paths: tuple[str, ...]
    slow: bool = False
    done: tuple[str, ...] = ()

    def has(self, item: pytest.Item) -> bool:
        if item.get_closest_marker("slow"):
            return self.slow
        return not any(Path(_file(item.nodeid)).is_relative_to(path) for path in self.done)


@dataclass(frozen=True)
class Run:
    """A run of tests that has ended.

    Attributes:
        status: exit status of pytest, negative for a signal; None if it took too long.
        failed: the first test that failed, or how the process ended.
        cpu: seconds of CPU time, with all processes that were waited for.
        wall: seconds.
        files: seconds of each test file.
        output: the end of its output.
    """

    status: int | None
    failed: str
    cpu: float
    wall: float
    files: dict[str, float]
    output: str

    @property
    def passed(self) -> bool:
        return self.status in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


def import_libraries() -> None:
    """Import what every run needs, before any is forked."""
    for name in LIBRARIES:
        importlib.import_module(name)


def run_tests(
    tree: Path, selection: Selection, cpu: float = 3600, wall: float = 3600, *, keep: bool = False
) -> Run:
    """Run tests until all pass or one has failed twice: on a busy machine some fail now and then.

    Hypothesis takes the same examples each time.

    Args:
        tree: root of the product and of its tests.
        selection: the tests.
        cpu: seconds of CPU time after which a process is killed.
        wall: seconds after which all of it is killed.
        keep: whether compiled modules are kept for later runs.
    """
    failures: Counter[str] = Counter()
    total = 0.0
    while True:
        run = _fork(tree, selection, cpu, wall, keep)
        total += run.cpu
        failures[run.failed] += 1
        if run.passed or run.status is None or failures[run.failed] == 2:
            return replace(run, cpu=total)
        again = _file(run.failed)
        paths = sorted(selection.paths, key=lambda path: path != again)
        selection = replace(selection, paths=tuple(paths))


def _fork(tree: Path, selection: Selection, cpu: float, wall: float, keep: bool) -> Run:
    folder = tree.with_name(f"{tree.name}-run")
    folder.mkdir(exist_ok=True)
    for name in ("answer.json", "output.txt"):
        (folder / name).write_text("")
    began = time.monotonic()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _child(tree, folder, selection, int(cpu), keep)
    try:
        while not (ended := os.wait4(pid, os.WNOHANG))[0] and time.monotonic() - began < wall:
            time.sleep(0.02)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # with whatever it started
    status: int | None = None
    if ended[0]:
        status = os.waitstatus_to_exitcode(ended[1])
    else:
        ended = os.wait4(pid, 0)
    if status == -signal.SIGXCPU:
        status = None
    answer = json.loads((folder / "answer.json").read_text() or "{}")
    output = (folder / "output.txt").read_text(errors="replace")
    return Run(
        status,
        answer.get("failed") or f"exit status {status}",
        ended[2].ru_utime + ended[2].ru_stime,
        time.monotonic() - began,
        answer.get("files", {}),
        output[-2000:],
    )


def _child(tree: Path, folder: Path, selection: Selection, cpu: int, keep: bool) -> None:
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 5))
        output = os.open(folder / "output.txt", os.O_WRONLY)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(tree)
        os.environ |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "" if keep else "1"}
        sys.dont_write_bytecode = not keep
        sys.path.insert(0, str(tree))
        for name in [name for name in sys.modules if name.partition(".")[0] in OWN]:
            del sys.modules[name]
        _same_examples()
        plugin = _Plugin(selection)
        options = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--basetemp")
        status = pytest.main([*options, str(folder / "tmp"), *selection.paths], [plugin])
        answer = {"failed": plugin.failed, "files": plugin.files}
        (folder / "answer.json").write_text(json.dumps(answer))
        sys.stdout.flush()
        os._exit(status)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(pytest.ExitCode.INTERNAL_ERROR)


def _same_examples() -> None:
    """Hypothesis takes the same examples each time, and does not simplify one that fails."""
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate, hypothesis.Phase.target)
    options = {"derandomize": True, "database": None, "deadline": None, "phases": phases}
    hypothesis.settings.register_profile("forked", **options)
    hypothesis.settings.load_profile("forked")


class _Plugin:
    """Selects tests, and notes the first failure and the seconds of each file."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self.failed: str | None = None
        self.files: Counter[str] = Counter()

    @pytest.hookimpl(trylast=True)  # after conftest.py, which marks tests as slow
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = filter(self._selection.has, items)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed = self.failed or report.nodeid

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.files[_file(report.nodeid)] += report.duration
        if report.failed:
            self.failed = self.failed or report.nodeid


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]
