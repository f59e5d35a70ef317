"""Cures for luck: several seeds an evaluation, a second look at the best, averaged weights.

On the network and the images of `studies/small-quickstart.yaml`. Prints one JSON line:

    searches  `revo-continuous` with 100 trainings in all, spent in four ways: each proposal trained
              under 1, 2 or 4 seeds of the new head and the data order, and judged by the mean; or
              90 under one, and then the ten best under another one. `selected` is the validation
              loss of the winner's best model, `test_loss` and `test_accuracy` are that model's,
              `again` is the winner's validation loss under five other seeds. Means over the seeds.
    weights   some 40 plans, as many of each seed's first generation, under a cosine and at constant
              rates: the validation loss after the last epoch, and of the mean of the weights after
              the last two or three, with BatchNorm statistics of its own; `better` counts plans.

    python -m benchmarks.pretrain build/pretrained
    python -m benchmarks.luck [--seeds 100 101 102] [--trainings 100] [--plans 40] [--set …]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import SEARCHING, begin
from benchmarks.runs import loss_of, percent
from revo_ray.combine.soup import mean_weights
from revo_ray.data.table.image_table import Table, prepare_table
from revo_ray.evolve.proposals import Outcome
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.assemble import load_tuner
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.methods import make_method
from revo_ray.settings.study import StudyConfig

STUDY = Path(__file__).parent / "studies" / "small-quickstart.yaml"
MEASURES = (*SEARCHING, "benchmarks/studies/small-quickstart.yaml")
METHOD = '[{"name": "revo-continuous", "high": -1}]'
WAYS = {"1 seed": (1, 0), "2 seeds": (2, 0), "4 seeds": (4, 0), "second look": (1, 10)}
"""Trainings of each proposal, and of how many of the best there is another one at the end."""
AGAIN = 5
FIRST_OTHER = 2000
"""Seeds that no search here has."""


@dataclass(frozen=True)
class Trained:
    """A model: its validation loss, or infinity, and its weights."""

    loss: float
    state: dict[str, torch.Tensor]


class Bench:
    """One seed's split of the images, and tuners for it under any seed of the training."""

    def __init__(self, seed: int, overrides: Sequence[str] = ()) -> None:
        settings = [f"study.seeds=[{seed}]", f"study.methods={METHOD}", "study.fractions=[0.05]"]
        settings += overrides
        (self.config,) = StudyConfig.load(str(STUDY), settings).searches()
        self._table: Table = prepare_table(self.config.data, Path("revo_results/.tables"))
        self._tuners: dict[int, FineTuner] = {}
        self.method = make_method(self.config.method)

    def tuner(self, seed: int) -> FineTuner:
        """The tuner of a seed of head and data order."""
        if seed not in self._tuners:
            train = self.config.train.model_copy(update={"seed": seed})
            config = self.config
            self._tuners[seed] = load_tuner(config.model, config.data, train, self._table.path)
        return self._tuners[seed]

    def train(self, plan: Plan, seed: int) -> Trained:
        """A plan's model."""
        *_, last = self.tuner(seed).run(plan)
        return Trained(loss_of(last.validation), self.tuner(seed).state_dict())

    def search(self, trainings: int, seeds: int, looks: int) -> dict[str, float]:
        """A search that spends its trainings in one of the ways."""
        own = self.config.train.seed
        units = self.tuner(own).units
        options = self.config.search.model_copy(
            update={"evaluations": (trainings - looks) // seeds}
        )
        proposals = self.method.searcher(self.method.space(units), options)
        found: list[tuple[Plan, list[Trained]]] = []
        while (proposal := proposals.ask()) is not None:
            plan = self.method.plan(proposal.sample, units)
            models = [self.train(plan, own + 1000 * n) for n in range(seeds)]
            found.append((plan, models))
            proposals.tell(proposal.evaluation, Outcome(mean_loss(models)))
        found.sort(key=lambda each: mean_loss(each[1]))
        if looks:
            found = [(plan, [*m, self.train(plan, own + 1000)]) for plan, m in found[:looks]]
        plan, models = min(found, key=lambda each: mean_loss(each[1]))
        again = [self.train(plan, FIRST_OTHER + n).loss for n in range(AGAIN)]
        best = min(models, key=lambda model: model.loss)
        tuner = self.tuner(own)
        tuner.load_state_dict(best.state)
        test = tuner.evaluate("test")
        return {
            "selected": best.loss,
            "test_loss": loss_of(test),
            "test_accuracy": percent(test.accuracy),
            "again": statistics.mean(again),
        }

    def averaged(self, plan: Plan) -> dict[str, float]:
        """Validation losses of the last weights, and of means over the last epochs' weights."""
        tuner = self.tuner(self.config.train.seed)
        states, losses = [], {"last": float("inf")}
        for epoch in tuner.run(plan):
            states.append(tuner.state_dict())
            losses["last"] = loss_of(epoch.validation)
        for count in (2, 3):
            tuner.load_state_dict(mean_weights(states[-count:]))
            tuner.update_norms()
            losses[f"mean of {count}"] = loss_of(tuner.evaluate("validation"))
        return losses

    def drawn(self, count: int) -> list[Plan]:
        """Plans of the search's first distribution."""
        units = self.tuner(self.config.train.seed).units
        options = self.config.search.model_copy(update={"population": count, "evaluations": count})
        proposals = self.method.searcher(self.method.space(units), options)
        asked = iter(proposals.ask, None)
        return [self.method.plan(each.sample, units) for each in islice(asked, count)]


def mean_loss(models: Sequence[Trained]) -> float:
    """Over the seeds of one proposal."""
    return statistics.mean(model.loss for model in models)


def averaged_weights(seeds: Sequence[int], plans: int, settings: Sequence[str]) -> dict[str, Any]:
    """Mean losses over the plans of all seeds that did not diverge, and who is better."""
    found = []
    for seed in seeds:
        bench = Bench(seed, settings)
        found += [bench.averaged(plan) for plan in bench.drawn(plans)]
    found = [each for each in found if max(each.values()) < float("inf")]
    means = {key: round(statistics.mean(each[key] for each in found), 4) for key in found[0]}
    least = {key: round(min(each[key] for each in found), 4) for key in found[0]}
    better = {key: sum(each[key] < each["last"] for each in found) for key in found[0]}
    return {"plans": len(found), "mean": means, "least": least, "better": better}


def main() -> None:
    """Train, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102])
    parser.add_argument("--trainings", type=int, default=100)
    parser.add_argument("--plans", type=int, default=40)
    parser.add_argument("--set", nargs="*", default=[], dest="settings", help="KEY=VALUE, of all")
    arguments, record = begin(parser, "luck", MEASURES)
    torch.set_num_threads(1)
    line: dict[str, Any] = {**vars(arguments), "searches": {}, "weights": {}}
    for way, (seeds, looks) in WAYS.items():
        found = [
            Bench(seed, arguments.settings).search(arguments.trainings, seeds, looks)
            for seed in arguments.seeds
        ]
        line["searches"][way] = {
            key: round(statistics.mean(each[key] for each in found), 4) for key in found[0]
        }
    for schedule in ("cosine", "constant"):
        line["weights"][schedule] = averaged_weights(
            arguments.seeds,
            max(4, arguments.plans // len(arguments.seeds)),
            [*arguments.settings, f"train.schedule={schedule}"],
        )
    again = range(FIRST_OTHER, FIRST_OTHER + AGAIN)
    record.finish(line, [*arguments.seeds, *again])


if __name__ == "__main__":
    main()
