"""Searches of a fixed function of their samples, to be run under one kernel of BLAS and NumPy.

`python -m tests.evolve.kernels` reads `Task` as JSON and writes `Done`. It makes whole searches, or
resumes recorded ones after each of so many evaluations.
"""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import dataclass
from typing import Any, TypedDict

import scipy.linalg  # noqa: F401  (it brings a BLAS of its own)
from threadpoolctl import threadpool_info

from revo_ray.evolve.proposals import Outcome, Proposals
from revo_ray.evolve.space import Categorical, Sample, Space
from revo_ray.search.core.prepare import resolve
from revo_ray.settings.schema import SearchConfig

EVALUATIONS = 100


@dataclass(frozen=True)
class Unit:
    """A unit of a network that nobody needs to build."""

    name: str
    head: bool = False


UNITS = [*(Unit(f"unit{i}") for i in range(23)), Unit("head", head=True)]

Rows = dict[str, tuple[Sample, float]]
"""Sample and value by the evaluation's number, as JSON keeps them."""


class Task(TypedDict):
    """Searches by their methods; those that stand in `recorded` are resumed at each cut."""

    methods: list[str]
    recorded: dict[str, Rows]
    cuts: list[int]


class Done(TypedDict):
    """The kernels, and the rows of each method, by the number of rows that were recorded."""

    kernels: list[str]
    rows: dict[str, dict[str, Rows]]


def make_search(method: str) -> tuple[Proposals[Any], Space]:
    """The proposals of a method, such as `revo-mixed algorithm=sop`, and their space."""
    name, *options = method.split()
    settings = [f"method.name={name}", *(f"method.{option}" for option in options)]
    config, made = resolve(
        SearchConfig.load(None, [*settings, f"search.evaluations={EVALUATIONS}"])
    )
    space = made.space(UNITS)
    return made.searcher(space, config.search), space


def value_of(sample: Sample, space: Space) -> float:
    """A curved valley that bends from gene to gene, whose middle differs between them."""
    places = []
    for name, variable in space.items():
        if isinstance(variable, Categorical):
            places.append(variable.index(sample[name]) / (variable.size - 1))
        else:
            places.append(variable.to_unit(sample[name]))
    middles = [0.3 + 0.4 * (i * 7 % 11) / 11 for i in range(len(places))]
    away = [place - middle for place, middle in zip(places, middles, strict=True)]
    together = (a + 2 * b for a, b in itertools.pairwise(away))
    return sum((1 + i % 3) * a * a for i, a in enumerate(away)) + sum(c * c for c in together)


def complete(method: str, recorded: Rows) -> Rows:
    """Resume a search from its rows, and give all rows that it has in the end."""
    proposals, space = make_search(method)
    proposals.replay({int(n): (sample, Outcome(value)) for n, (sample, value) in recorded.items()})
    rows = dict(recorded)
    while not proposals.finished:
        asked = proposals.ask()
        for each in [*([asked] if asked else []), *proposals.take_answered()]:
            value = value_of(each.sample, space)
            rows[str(each.evaluation)] = (each.sample, value)
            proposals.tell(each.evaluation, Outcome(value))
    return rows


def work(task: Task) -> Done:
    """Make or resume all searches of a task."""
    rows: dict[str, dict[str, Rows]] = {}
    for method in task["methods"]:
        recorded = task["recorded"].get(method, {})
        kept = [{str(n): recorded[str(n)] for n in range(cut)} for cut in task["cuts"]]
        rows[method] = {str(len(each)): complete(method, each) for each in kept}
    blas = [each for each in threadpool_info() if each["user_api"] == "blas"]
    return Done(kernels=[str(each.get("architecture")) for each in blas], rows=rows)


if __name__ == "__main__":
    json.dump(work(json.load(sys.stdin)), sys.stdout)
