"""The ten best of a search together: their weights averaged, or their answers.

Each finished search of studies has its best evaluations trained again, as they were, and puts them
together in two ways. `soup` is the greedy one of Wortsman et al. (2022, arXiv 2203.05482), by loss:
the best model's weights, and those of each further one that lowers the validation loss of the mean,
with BatchNorm statistics of its own. `ensemble` is the mean of all their probabilities; it takes
so many forward passes an image. Neither is what a search hands over, which is `best`. Prints one
JSON line: for each cell and method the means over its searches, accuracies in percent; `in_soup`
is the mean number of models in the soup.

    python -m benchmarks.soup STUDY_DIRECTORY… [--models 10] [--methods full revo-continuous …]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.record import SEARCHING, begin
from benchmarks.runs import loss_of, percent
from benchmarks.wins import Search, load
from revo_ray.data.table.image_table import prepare_table
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.assemble import load_tuner
from revo_ray.finetune.training.metrics import classification_scores
from revo_ray.finetune.training.tuner import FineTuner, SplitName
from revo_ray.methods import find_policy
from revo_ray.objective import Scores

State = Mapping[str, Tensor]

MEASURES = (*SEARCHING, "benchmarks/wins.py")
SPLITS: tuple[SplitName, ...] = ("validation", "test")


def together(study: Path, search: Search, models: int) -> dict[str, float]:
    """Scores of a search's best evaluations, alone and together."""
    config = search.outcome.config
    table = prepare_table(config.data, study.parent / ".tables")
    tuner = load_tuner(config.model, config.data, config.train, table.path)
    ended = (row for row in search.rows if row.status == "ok")
    rows = sorted(ended, key=search.outcome.objective.rank_of)
    plans = [Plan.from_json(row.whole_plan) for row in rows[:models]]
    states: list[State] = []
    answers: dict[SplitName, list[Tensor]] = {split: [] for split in SPLITS}
    for plan in plans:
        for _ in tuner.run(plan, find_policy(plan, config.plugins)):
            pass
        states.append(tuner.state_dict())
        for split, logits in answers.items():
            logits.append(tuner.predict(split).cpu())
    found: dict[str, float] = {}
    for split, logits in answers.items():
        alone = classification_scores(logits[0], tuner.feeds[split].labels)
        mean = torch.stack([each.double().softmax(1) for each in logits]).mean(0).log()
        found |= scores(f"best_{split}", alone)
        found |= scores(f"ensemble_{split}", classification_scores(mean, tuner.feeds[split].labels))
    members, soup = greedy(tuner, plans, states)
    tuner.load_state_dict(soup)
    for split in SPLITS:
        found |= scores(f"soup_{split}", tuner.evaluate(split))
    return found | {"in_soup": float(len(members))}


def greedy(
    tuner: FineTuner, plans: Sequence[Plan], states: Sequence[State]
) -> tuple[list[int], State]:
    """The places of the models in the soup, and its weights."""
    members, best = [0], states[0]
    tuner.load_state_dict(best)
    least = loss_of(tuner.evaluate("validation"))
    for place in range(1, len(states)):
        tried = [*members, place]
        soup = mean_of([states[each] for each in tried])
        # Norms that any of them trained get statistics of their own.
        rates = torch.tensor([plans[each].unit_lrs for each in tried]).amax(0).tolist()
        tuner.begin(rates)
        tuner.load_state_dict(soup)
        tuner.update_norms()
        loss = loss_of(tuner.evaluate("validation"))
        if loss < least:
            members, best, least = tried, tuner.state_dict(), loss
    return members, best


def mean_of(states: Sequence[State]) -> State:
    """The mean of weights and buffers, in their types."""
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(tensor.dtype)
        for name, tensor in states[0].items()
    }


def scores(prefix: str, metrics: Scores) -> dict[str, float]:
    """Loss, and accuracy and AUC in percent."""
    return {
        f"{prefix}_loss": loss_of(metrics),
        f"{prefix}_accuracy": percent(metrics.accuracy),
        f"{prefix}_auc": percent(metrics.auc or 0.0),
    }


def averaged(found: Iterable[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure, and how many searches it is of."""
    rows = list(found)
    means = {key: round(statistics.mean(row[key] for row in rows), 4) for key in rows[0]}
    return {"searches": len(rows)} | means


def main() -> None:
    """Train the best again, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("studies", type=Path, nargs="+")
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--methods", nargs="*", help="labels; all where none is named")
    arguments, record = begin(parser, "soup", MEASURES)
    torch.set_num_threads(1)
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    searches: list[Search] = []
    for study in arguments.studies:
        for search in load(study):
            if not arguments.methods or search.method in arguments.methods:
                rows = found.setdefault(search.cell, {}).setdefault(search.method, [])
                rows.append(together(study, search, arguments.models))
                searches.append(search)
    line: dict[str, Any] = {"models": arguments.models, "cells": {}}
    for cell, methods in found.items():
        line["cells"][cell] = {label: averaged(each) for label, each in methods.items()}
    seeds = [search.outcome.config.search.seed for search in searches]
    record.finish(line, seeds, [search.revision for search in searches])


if __name__ == "__main__":
    main()
