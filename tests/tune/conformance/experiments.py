"""Checks in a real experiment: a `Tuner` on a Ray of its own."""

from __future__ import annotations

import copy
import logging
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray import tune

from tests.tune.conformance.kit import MIXED, Maker, check, fault

GROUP = "whole experiments"
TRIALS = 24


@contextmanager
def a_ray() -> Iterator[None]:
    """A Ray of four CPUs, unless there is one."""
    mine = not ray.is_initialized()
    if mine:
        quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False}
        ray.init(address="local", num_cpus=4, logging_level=logging.ERROR, **quiet)
    try:
        yield
    finally:
        if mine:
            ray.shutdown()


@check(GROUP, own=True)
def an_experiment_with_failures_comes_to_its_end(make: Maker) -> None:
    """Four trials at once, some with errors or NaN: all of them run, with right configurations."""

    def train(config: dict[str, Any]) -> None:
        if config["depth"] == 3:
            raise RuntimeError("no such network")
        value = abs(math.log10(config["lr"]) + 2) + config["depth"]
        tune.report({"loss": math.nan if config["kind"] == "c" else value})

    with a_ray(), tempfile.TemporaryDirectory() as folder:
        results = tune.Tuner(
            train,
            param_space=copy.deepcopy(MIXED),
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                num_samples=TRIALS,
                search_alg=make(seed=3),
                max_concurrent_trials=4,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
    assert len(results) == TRIALS, f"it has {len(results)} trials"
    for result in results:  # type: ignore[attr-defined]  # Ray's has `__getitem__` alone
        wrong = fault(MIXED, result.config)
        assert not wrong, wrong
