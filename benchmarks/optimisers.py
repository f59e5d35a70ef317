"""Solution quality at 100 evaluations: CMAMVSearch, HyperOptSearch and random, each under Tune.

A mixed space of 20 variables (real, logarithmic, quantised, integer, binary, categorical), a
function whose optimum is known and off-centre, and a plain `tune.Tuner` for each searcher and
seed. Then, without Ray (`benchmarks.quality`, key `proposals`), every algorithm of CMAMV, a genetic
algorithm, TPE and random search on three problems, with lookahead 0, 2, 5 and 10 of a population of
10: `catcmawm_5` is CatCMAwM with a lookahead of 5, and `lookahead_costs` has the ratio to its
lookahead 0, with Wilcoxon's p over the seeds. Prints one JSON line: the mean of the best value
found, lower is better, 0 is perfect.

    python -m benchmarks.optimisers [--seeds 10] [--evaluations 100] [--concurrent 2]
        [--proposals-seeds 30] [--skip tune proposals tpe]
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import ray
from ray import tune
from ray.tune.search import Searcher
from ray.tune.search.hyperopt import HyperOptSearch

from benchmarks.quality import compare
from benchmarks.record import begin
from revo_ray import CMAMVSearch
from revo_ray.evolve.space import Space
from revo_ray.tune.domains import to_variable

MEASURES = (
    *("revo_ray/evolve", "revo_ray/tune", "baselines/genetic.py", "baselines/random.py"),
    "benchmarks/quality.py",
)
SPACE: dict[str, Any] = {
    **{f"real{i}": tune.uniform(-3.0, 3.0) for i in range(4)},
    **{f"rate{i}": tune.loguniform(1e-5, 1.0) for i in range(3)},
    "quantised": tune.quniform(0.0, 1.0, 0.05),
    **{f"integer{i}": tune.randint(1, 11) for i in range(3)},
    "power": tune.lograndint(8, 513),
    **{f"bit{i}": tune.choice([0, 1]) for i in range(4)},
    **{f"kind{i}": tune.choice(["a", "b", "c"]) for i in range(2)},
    **{f"shade{i}": tune.choice(["red", "green", "blue", "grey", "black"]) for i in range(2)},
}


def quality(config: dict[str, Any], seed: int) -> float:
    """Distance from a seeded optimum, each variable on its own scale and with its own weight."""
    rng = random.Random(seed)

    def near(x: float, low: float, high: float) -> float:
        """Squared distance, as a fraction of the range."""
        return ((x - (low + (high - low) * rng.uniform(0.15, 0.85))) / (high - low)) ** 2

    total = 0.0
    for name in sorted(config):
        value, weight = config[name], rng.uniform(0.5, 1.5)
        if name.startswith("real"):
            total += weight * near(value, -3, 3)
        elif name.startswith("rate"):
            total += weight * near(math.log10(value), -5, 0)
        elif name == "quantised":
            total += weight * near(value, 0, 1)
        elif name.startswith("integer"):
            total += weight * ((value - rng.randint(1, 10)) / 9) ** 2
        elif name == "power":
            total += weight * near(math.log2(value), 3, 9)
        else:
            choices = SPACE[name].categories
            total += weight * 0.1 * (value != rng.choice(choices))
    return total


class Trial(tune.Trainable):
    """One call of `quality`; the worker is reused."""

    def step(self) -> dict[str, Any]:
        """The value, at once."""
        point = {name: value for name, value in self.config.items() if name != "seed"}
        return {"loss": quality(point, self.config["seed"]), "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Nothing to reset."""
        return True


def search(searcher: Searcher | None, seed: int, evaluations: int, concurrent: int) -> float:
    """The best value that a searcher finds, through an ordinary `Tuner`."""
    with tempfile.TemporaryDirectory(prefix="revo-") as folder:
        results = tune.Tuner(
            tune.with_resources(Trial, {"cpu": 1}),
            param_space=SPACE | {"seed": seed},
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                num_samples=evaluations,
                search_alg=searcher,
                max_concurrent_trials=concurrent,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
        metrics = results.get_best_result().metrics or {}
    return float(metrics["loss"])


def main() -> None:
    """Run every searcher on the same seeds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--concurrent", type=int, default=2)
    parser.add_argument("--proposals-seeds", type=int, default=30, help="of the part without Ray")
    parser.add_argument("--skip", nargs="+", default=[], choices=("tune", "proposals", "tpe"))
    arguments, record = begin(parser, "optimisers", MEASURES)
    line: dict[str, Any] = {**vars(arguments), "variables": len(SPACE)}
    if "tune" not in arguments.skip:
        line |= under_tune(arguments.seeds, arguments.evaluations, arguments.concurrent)
    if "proposals" not in arguments.skip:
        logging.getLogger("ray.tune").setLevel(logging.ERROR)
        mixed = Space({name: to_variable((name,), domain) for name, domain in SPACE.items()})
        line["proposals"] = compare(
            mixed, quality, arguments.proposals_seeds, arguments.evaluations, tuple(arguments.skip)
        )
    record.finish(line, range(max(arguments.seeds, arguments.proposals_seeds)))


def under_tune(seeds: int, evaluations: int, concurrent: int) -> dict[str, Any]:
    """CMAMVSearch, HyperOptSearch and random search, each in a `Tuner` for each seed."""
    os.environ |= {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0"}
    ray.init(address="local", num_cpus=concurrent, include_dashboard=False,
             log_to_driver=False, logging_level=logging.ERROR)  # fmt: skip
    logging.getLogger("ray.tune").setLevel(logging.ERROR)

    searchers: dict[str, Callable[[int], Searcher | None]] = {
        "cmamv": lambda seed: CMAMVSearch(seed=seed),
        "hyperopt": lambda seed: HyperOptSearch(random_state_seed=seed),
        "random": lambda seed: None,
    }
    line: dict[str, Any] = {}
    for name, make in searchers.items():
        started = time.perf_counter()
        values = []
        for seed in range(seeds):
            np.random.seed(seed)  # Tune's random search draws from the global state
            values.append(search(make(seed), seed, evaluations, concurrent))
        line[name] = {
            "mean": round(statistics.mean(values), 4),
            "stdev": round(statistics.stdev(values), 4) if len(values) > 1 else None,
            "seconds": round(time.perf_counter() - started, 1),
        }
    line["cmamv_over_hyperopt"] = round(line["cmamv"]["mean"] / line["hyperopt"]["mean"], 3)
    line["cmamv_over_random"] = round(line["cmamv"]["mean"] / line["random"]["mean"], 3)
    ray.shutdown()
    return line


if __name__ == "__main__":
    main()
