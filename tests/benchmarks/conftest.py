"""Runs a benchmark's `main` in this process, and undoes what it sets for a process of its own."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
import torch

from benchmarks.record import ROOT


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Threads, cores, logging, kernels and the environment are the next test's as they were."""
    monkeypatch.chdir(tmp_path)
    threads, cores, quiet = (
        torch.get_num_threads(),
        os.sched_getaffinity(0),
        logging.root.manager.disable,
    )
    repeatable, tuned = (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
    )
    environment = dict(os.environ)
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        yield
    torch.set_num_threads(threads)
    os.sched_setaffinity(0, cores)
    logging.disable(quiet)
    torch.use_deterministic_algorithms(repeatable)
    torch.backends.cudnn.benchmark = tuned
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture
def printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Call a program's `main` with arguments; gives what it printed."""
    inherited = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]

    def call(program: str, *arguments: str) -> str:
        module = importlib.import_module(f"benchmarks.{program}")
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *inherited]))
        capsys.readouterr()
        try:
            module.main()
        finally:
            ray.shutdown()
        return capsys.readouterr().out

    return call
