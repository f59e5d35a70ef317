"""Solution quality without Ray: every algorithm, random search, TPE and a GA, by lookahead.

Three problems of known optimum, drawn anew for each seed: `rates`, a rotated ellipsoid over 21 real
genes, as many as ResNet-18 has layers; `bits`, weighted matching of 21 freeze bits, where a pair of
neighbours counts only together half of the time; and `mixed`, the 20 variables of
`benchmarks.optimisers`. All proposals go through `Proposals`, as in a search.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from baselines.genetic import Genetic
from baselines.random import Draws
from revo_ray.evolve.cmamv import CMAMV
from revo_ray.evolve.proposals import Outcome, Proposals
from revo_ray.evolve.space import Categorical, Integer, Real, Space

GENES = 21
POPULATION = 10
LOOKAHEADS = (0, 2, 5, 10)

Objective = Callable[[Mapping[str, Any]], float]


def ellipsoid(seed: int) -> Objective:
    """A rotated ellipsoid of condition 100 whose optimum is off the centre; 0 is perfect."""
    rng = np.random.default_rng([seed, 1])  # not what the searchers draw from
    rotation, _ = np.linalg.qr(rng.normal(size=(GENES, GENES)))
    optimum, scales = rng.uniform(0.15, 0.85, GENES), 10 ** np.linspace(-1, 1, GENES)

    def value(sample: Mapping[str, Any]) -> float:
        return float(scales @ (rotation @ (np.array([*sample.values()]) - optimum)) ** 2)

    return value


def matching(seed: int) -> Objective:
    """The weight of the bits, and of the pairs of neighbours, that are wrong; 0 is perfect."""
    rng = np.random.default_rng([seed, 1])  # not what the searchers draw from
    target, weights = rng.integers(0, 2, GENES), rng.uniform(0.5, 1.5, GENES)
    pairs = rng.random(GENES - 1) < 0.5

    def value(sample: Mapping[str, Any]) -> float:
        wrong = np.array([*sample.values()]) != target
        either = (wrong[:-1] | wrong[1:]) & pairs
        return float((weights @ wrong + either.sum()) / (weights.sum() + pairs.sum()))

    return value


def tpe(space: Space, seed: int) -> Any:
    """Ray's HyperOptSearch as `benchmarks.optimisers` has it, with this space's variables."""
    from ray import tune
    from ray.tune.search.hyperopt import HyperOptSearch

    def domain(variable: Real | Integer | Categorical) -> Any:
        if isinstance(variable, Categorical):
            return tune.choice(list(variable.choices))
        if isinstance(variable, Integer):
            kind = tune.lograndint if variable.log else tune.randint
            return kind(variable.low, variable.high + 1)
        if variable.step is not None:
            return tune.quniform(variable.low, variable.high, variable.step)
        kind = tune.loguniform if variable.log else tune.uniform
        return kind(variable.low, variable.high)

    domains = {name: domain(variable) for name, variable in space.items()}
    return HyperOptSearch(domains, metric="loss", mode="min", random_state_seed=seed)


def best_of(proposals: Proposals[Any], value: Objective) -> float:
    """The best value of a whole search."""
    values: dict[int, float] = {}
    while not proposals.finished:
        proposal = proposals.ask()
        for answered in proposals.take_answered():
            assert answered.source is not None
            values[answered.evaluation] = values[answered.source]
            proposals.tell(answered.evaluation, Outcome(values[answered.evaluation]))
        if proposal is not None:
            values[proposal.evaluation] = value(proposal.sample)
            proposals.tell(proposal.evaluation, Outcome(values[proposal.evaluation]))
    return min(values.values())


def best_of_tpe(searcher: Any, value: Objective, evaluations: int) -> float:
    """The best value that it finds, one trial after the other."""
    best = float("inf")
    for number in range(evaluations):
        found = value(searcher.suggest(str(number)))
        searcher.on_trial_complete(str(number), {"loss": found})
        best = min(best, found)
    return best


def problems(mixed: Space, mixed_value: Callable[[dict[str, Any], int], float]) -> Any:
    """Name to space, to what a seed makes of it, and to who can search it."""
    cmas = ("catcmawm", "cmawm", "sop")
    names = [f"gene{number:02}" for number in range(GENES)]
    return {
        "rates": (Space({name: Real(0.0, 1.0) for name in names}), ellipsoid, (*cmas, "cma")),
        "bits": (Space({name: Categorical((0, 1)) for name in names}), matching, (*cmas, "ga")),
        "mixed": (mixed, lambda seed: lambda sample: mixed_value(dict(sample), seed), cmas),
    }


def make_optimiser(name: str, space: Space, seed: int) -> Any:
    """An optimiser with generations."""
    if name == "ga":  # with the settings of set encoding
        return Genetic(
            space, population_size=POPULATION, parents=0.3, crossover=1.0, mutation=None,
            elitism=1.0, seed=seed,
        )  # fmt: skip
    return CMAMV(space, algorithm=name, population_size=POPULATION, seed=seed)


def compare(
    mixed: Space,
    mixed_value: Callable[[dict[str, Any], int], float],
    seeds: int,
    evaluations: int,
    skip: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Mean and standard deviation of the best value, by problem, searcher and lookahead."""
    table: dict[str, Any] = {}
    for problem, (space, objective, generational) in problems(mixed, mixed_value).items():
        columns: dict[str, list[float]] = {}
        began = time.perf_counter()
        for seed in range(seeds):
            value = objective(seed)
            for name in generational:
                for lookahead in LOOKAHEADS:
                    proposals = Proposals(
                        make_optimiser(name, space, seed),
                        space,
                        budget=evaluations,
                        lookahead=lookahead,
                        reuse=True,
                    )
                    columns.setdefault(f"{name}_{lookahead}", []).append(best_of(proposals, value))
            draws = Proposals(Draws(space, seed), space, budget=evaluations)
            columns.setdefault("random", []).append(best_of(draws, value))
            if "tpe" not in skip:
                found = best_of_tpe(tpe(space, seed), value, evaluations)
                columns.setdefault("tpe", []).append(found)
        table[problem] = {
            name: {
                "mean": round(statistics.mean(values), 4),
                "stdev": round(statistics.stdev(values), 4) if len(values) > 1 else None,
            }
            for name, values in columns.items()
        }
        table[problem]["lookahead_costs"] = {
            name: {
                str(lookahead): against(columns[f"{name}_{lookahead}"], columns[f"{name}_0"])
                for lookahead in LOOKAHEADS[1:]
            }
            for name in generational
        }
        table[problem]["seconds"] = round(time.perf_counter() - began, 1)
    return table


def against(values: list[float], base: list[float]) -> dict[str, float | None]:
    """The ratio of means, and Wilcoxon's two-sided p for values paired by seed."""
    from scipy.stats import wilcoxon

    differ = any(a != b for a, b in zip(values, base, strict=True))
    p = float(wilcoxon(values, base).pvalue) if differ and len(values) > 1 else None
    mean = statistics.mean(base)
    return {
        "ratio": round(statistics.mean(values) / mean, 3) if mean else None,
        "p": None if p is None else round(p, 4),
    }
