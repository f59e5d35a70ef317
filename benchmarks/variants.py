"""Ways to propose, one change at a time, against the default: searches in this process, paired.

Trains as the cells of `benchmarks.scale` do, at the same budget, without Ray. Prints one JSON line:
for each variant the best validation loss after 20, 50 and 100 evaluations (or as many epochs) and
the test accuracy in percent of the best, means over the seeds; and the mean differences to
`default` with their t intervals (95 %), paired by cell and seed. Finished searches lie in FOLDER,
and are not run again. A search of 100 evaluations takes about a minute of one core in the cells of
digits.

    default     revo-continuous
    no-sweep    begins in the middle of the range
    independent no correlation of the units' rates
    decades-…   initial standard deviation of a rate, in decades
    shared-…, near-…, length-…   parts of the covariance, and the distance it falls with
    finer       five more rates around the best of the sweep, before its best is the mean
    mean-first  the mean of the distribution is the first candidate of each generation from 2 on
    racing      the worse half of each generation ends after three epochs; so there are more of them
    surrogate   a Gaussian process chooses each generation from four times as many candidates
    population-…  evaluations a generation
    second-look five evaluations fewer; then the best five are trained under another seed, and that
                of the lowest mean loss is taken
    cma, relative, relative-rates   other algorithm or scale (without weight decay: `-rates`)

    python -m benchmarks.pretrain build/pretrained
    python -m benchmarks.variants FOLDER [--cells digits] [--seeds 0 1 2 3] [--variants default …]
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from benchmarks.record import SEARCHING, begin
from benchmarks.scale import AFTER, CELLS, WEIGHTS, difference, mean, use_weights
from revo_ray.data.table.image_table import prepare_table
from revo_ray.evolve.algorithms.base import depth_correlation
from revo_ray.evolve.cmamv import CMAMV, Candidate
from revo_ray.evolve.space import Real, Sample, Space
from revo_ray.evolve.told_values import generation_values
from revo_ray.finetune.training.assemble import load_tuner, use_threads
from revo_ray.methods import Evolved, Outcome, make_method
from revo_ray.settings.schema import MethodConfig, SearchConfig

MEASURES = (*SEARCHING, "benchmarks/scale.py")
DEFAULT = "default"
BASE, GENOME = "revo_ray.evolve.algorithms.base", "revo_ray.methods.genome"


@dataclass(frozen=True)
class Row:
    """An evaluation that ended.

    Attributes:
        loss: of the validation images; None: it diverged.
        accuracy: of the test images, in percent.
        cost: the part of its epochs that was trained.
    """

    loss: float | None
    accuracy: float
    cost: float

    @property
    def rank(self) -> float:
        """Its loss, if it was trained to its end."""
        return math.inf if self.loss is None or self.cost < 1 else self.loss


class Default:
    """Generations as revo-continuous proposes them.

    Args:
        method: its options decide.
        space: of its genome.
        population: evaluations a generation.
        seed: of the proposals.
    """

    stages: Sequence[int] = ()
    """Epochs after which the worse half of a generation's running evaluations ends."""

    def __init__(self, method: Evolved, space: Space, population: int, seed: int) -> None:
        self.method, self.space, self.population, self.seed = method, space, population, seed
        self.told: list[tuple[Sample, float]] = []
        """Samples and finite losses so far."""
        self.optimiser = self.begin(None)

    def begin(self, start: Sample | None) -> CMAMV:
        """The optimiser that begins at a sample."""
        options = self.method.options
        return CMAMV(
            self.space if start is None else self.space.starting_at(start),
            algorithm=options.algorithm,
            population_size=self.population,
            covariance=options.covariance,
            seed=self.seed,
        )

    def generation(self, number: int) -> list[Candidate]:
        """The candidates of a generation."""
        if number == 0 and self.method.sweeps:
            swept = self.method.genome_type.opening(self.space, self.population)
            return [Candidate(sample, None) for sample in swept]
        return [self.optimiser.ask() for _ in range(self.population)]

    def raced(
        self, curves: Sequence[list[float | None]], accuracies: Sequence[float], epochs: int
    ) -> list[Row]:
        """Rows of a generation, from the validation losses after each epoch, or the last alone."""
        ends = dict.fromkeys(range(len(curves)), epochs)
        for stage in self.stages:
            running = [n for n in ends if ends[n] == epochs]
            running.sort(key=lambda n: _at(curves[n], stage))
            ends |= dict.fromkeys(running[len(running) // 2 :], stage)
        return [
            Row(
                curve[-1] if ends[n] == epochs else curve[min(ends[n], len(curve)) - 1],
                accuracies[n],
                ends[n] / epochs,
            )
            for n, curve in enumerate(curves)
        ]

    def learn(self, candidates: Sequence[Candidate], losses: Sequence[float | None]) -> None:
        """Learn the losses of a generation; None: it diverged."""
        pairs = zip(candidates, losses, strict=True)
        self.told += [(each.sample, loss) for each, loss in pairs if loss is not None]
        if candidates[0].raw is None:
            if self.told:
                self.optimiser = self.begin(min(self.told, key=lambda pair: pair[1])[0])
        elif (values := generation_values([Outcome(loss) for loss in losses])) is not None:
            self.optimiser.tell([*zip(candidates, values, strict=True)])


class Finer(Default):
    """Its second generation are five more rates for all units, around the best of the sweep."""

    def generation(self, number: int) -> list[Candidate]:
        """The candidates of a generation."""
        if number != 1:
            return super().generation(number)
        best = min(self.told, key=lambda pair: pair[1])[0]
        parts = [place / self.population for place in (-3 / 8, -1 / 4, -1 / 8, 1 / 8, 3 / 8)]
        return [Candidate({n: g + part for n, g in best.items()}, None) for part in parts]


class MeanFirst(Default):
    """The mean of the distribution is the first candidate of each generation from 2 on."""

    def generation(self, number: int) -> list[Candidate]:
        """The candidates of a generation; the draw that the mean replaces is lost."""
        found = super().generation(number)
        if number < 2:
            return found
        mean = self.optimiser.distribution()["variables"]
        raw = found[0].raw
        raw.x[:] = raw._v_raw[:] = [*mean.values()]
        return [Candidate(mean, raw), *found[1:]]


class Racing(Default):
    """Half of each generation ends after three epochs, and is told with its loss there."""

    stages = (3,)


class Surrogate(Default):
    """A Gaussian process chooses each generation from four times as many candidates.

    Its inputs are the genes in the metric of the initial covariance, its outputs the logarithms of
    all losses so far. Those of the lowest expected loss are trained.
    """

    def generation(self, number: int) -> list[Candidate]:
        """The candidates of a generation."""
        if number == 0:
            return super().generation(number)
        drawn = [candidate for _ in range(4) for candidate in super(Surrogate, self).generation(1)]
        best = np.argsort(self._expected([each.sample for each in drawn]), kind="stable")
        return [drawn[index] for index in best[: self.population]]

    def _expected(self, samples: Sequence[Sample]) -> np.ndarray:
        depths = [each.depth or 0.0 for each in self.space.values() if isinstance(each, Real)]
        whiten = np.linalg.inv(np.linalg.cholesky(depth_correlation(np.array(depths)))).T
        known = np.array([[*sample.values()] for sample, _ in self.told]) @ whiten
        values = np.log(np.array([loss for _, loss in self.told]))
        kernel = ConstantKernel() * RBF(1.0, (0.05, 20)) + WhiteKernel(0.01, (1e-4, 1))
        process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
        # The worse half says little of where the best is.
        process.fit(known, np.minimum(values, np.median(values)))
        asked = np.array([[*sample.values()] for sample in samples]) @ whiten
        return np.asarray(process.predict(asked))


VARIANTS: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "no-sweep": {"method": {"sweep": False}},
    "independent": {"method": {"covariance": "independent"}},
    **{f"decades-{d}": {"set": {f"{GENOME}.DECADES": d}} for d in (0.25, 0.35, 0.7)},
    **{f"shared-{s}": {"set": {f"{BASE}.SHARED": s}} for s in (0.05, 0.3)},
    **{f"near-{n}": {"set": {f"{BASE}.NEAR": n}} for n in (0.25, 0.75)},
    **{f"length-{n}": {"set": {f"{BASE}.LENGTH": n}} for n in (0.08, 0.3)},
    "finer": {"kind": Finer},
    "mean-first": {"kind": MeanFirst},
    "racing": {"kind": Racing},
    "surrogate": {"kind": Surrogate},
    "second-look": {"looks": 5},
    **{f"population-{n}": {"population": n} for n in (6, 14)},
    "cma": {"method": {"algorithm": "cma"}},
    "relative": {"method": {"scale": "relative"}},
    "relative-rates": {"method": {"scale": "relative", "weight_decay": None}},
}
"""Options of the method, constants of the program, evaluations a generation, the class, and the
number of second looks."""


def search(cell: str, seed: int, variant: str, evaluations: int, folder: Path) -> dict[str, Any]:
    """Run a search: its rows, in order."""
    file = folder / f"{cell}-{variant}-{seed}.json"
    if file.exists():
        found: dict[str, Any] = json.loads(file.read_text())
        return found
    seeded = {"data": {"seed": seed}, "train": {"seed": seed}}
    values = {
        key: {**CELLS[cell].get(key, {}), **seeded.get(key, {})} for key in ("model", *seeded)
    }
    config = SearchConfig.model_validate(values)
    table = prepare_table(config.data, folder / "tables")
    tuner = load_tuner(config.model, config.data, config.train, table.path)
    change = VARIANTS[variant]
    looks = change.get("looks", 0)
    rows: list[Row] = []
    plans = []
    with ExitStack() as stack:
        for name, value in change.get("set", {}).items():
            stack.enter_context(patch(name, value))
        named = MethodConfig(**{"name": "revo-continuous"} | change.get("method", {}))
        method = make_method(named, train=config.train)
        assert isinstance(method, Evolved)
        kind: Callable[..., Default] = change.get("kind", Default)
        proposals = kind(method, method.space(tuner.units), change.get("population", 10), seed)
        number = 0
        while (left := evaluations - looks - sum(row.cost for row in rows)) > 0:
            candidates = proposals.generation(number)[: math.ceil(left) if looks else None]
            curves, accuracies = [], []
            for candidate in candidates:
                plan = method.plan(candidate.sample, tuner.units)
                plans.append(plan)
                epochs = [*tuner.run(plan, validate="every" if proposals.stages else "last")]
                curves.append([epoch.validation.loss for epoch in epochs])
                accuracies.append(100 * (tuner.evaluate("test").accuracy or 0.0))
            rows += (ended := proposals.raced(curves, accuracies, config.train.epochs))
            if not looks or len(candidates) == proposals.population:
                proposals.learn(candidates, [row.loss for row in ended])
            number += 1
    found = {"rows": [asdict(row) for row in rows]}
    if looks:
        train = config.train.model_copy(update={"seed": config.train.seed + 1000})
        tuner = load_tuner(config.model, config.data, train, table.path)
        best = sorted(range(len(rows)), key=lambda n: rows[n].rank)[:looks]
        losses = {n: _at([[*tuner.run(plans[n])][-1].validation.loss], 1) for n in best}
        found["chosen"] = min(best, key=lambda n: rows[n].rank + losses[n])
    file.write_text(json.dumps(found))
    return found


def _at(curve: Sequence[float | None], epoch: int) -> float:
    """The loss after an epoch; infinity behind the end of one that diverged."""
    loss = curve[epoch - 1] if epoch <= len(curve) else None
    return math.inf if loss is None else loss


def figures(found: dict[tuple[str, str, int], dict[str, Any]]) -> dict[str, Any]:
    """Means of each variant, and its differences to the default.

    Args:
        found: searches by variant, cell and seed.
    """
    scores: dict[str, dict[tuple[str, int], dict[str, float]]] = {}
    for (variant, cell, seed), each in found.items():
        rows = [Row(**row) for row in each["rows"]]
        spent = np.cumsum([row.cost for row in rows])
        own: dict[str, float] = {}
        for count in AFTER:
            within = [row for row, cost in zip(rows, spent, strict=True) if cost <= count + 1e-6]
            best = min(within, key=lambda row: row.rank)
            own |= {f"loss_{count}": best.rank, "accuracy": best.accuracy}
        if "chosen" in each:
            own["accuracy"] = rows[each["chosen"]].accuracy
        scores.setdefault(variant, {})[cell, seed] = own
    line: dict[str, Any] = {}
    for variant, pairs in scores.items():
        line[variant] = {}
        for name in next(iter(pairs.values())):
            line[variant][name] = mean([each[name] for each in pairs.values()])
            if variant != DEFAULT and DEFAULT in scores:
                gains = [pairs[pair][name] - scores[DEFAULT][pair][name] for pair in pairs]
                line[variant][f"{name}_difference"] = difference(gains, digits=4)
    return line


def main() -> None:
    """Run what is not finished, compare, print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=["digits"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--weights", default=str(WEIGHTS), help="of the digits' network")
    arguments, record = begin(parser, "variants", MEASURES)
    use_weights(arguments.weights)
    use_threads(1)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    found = {
        (variant, cell, seed): search(cell, seed, variant, arguments.evaluations, arguments.folder)
        for cell in arguments.cells
        for seed in arguments.seeds
        for variant in arguments.variants
    }
    record.finish(figures(found), arguments.seeds)


if __name__ == "__main__":
    main()
