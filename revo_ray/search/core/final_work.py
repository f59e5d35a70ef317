"""Work at the end of a search: train lost weights again, make the soup, test a form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from revo_ray.combine.cross_fitting import Positions, cross_fitted, make_folds, ranking_scores
from revo_ray.combine.ensemble import mean_logits
from revo_ray.combine.explanation import worst_errors
from revo_ray.combine.soup import choose_soup, mean_weights
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.metrics import classification_scores
from revo_ray.objective import LOSS, METRICS, Metric, Rank, Scores
from revo_ray.rundir.predictions import TestPredictions
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.worker_plugins import policy_here

if TYPE_CHECKING:
    from revo_ray.finetune.training.tuner import FineTuner

SOUP_BYTES = 2 * 2**30
"""Weights that are held in memory while a soup is made; more are read again from the storage."""


def make(config: dict[str, Any], tuner: FineTuner) -> dict[str, Any]:
    """Do one work of `FinalForms`.

    Args:
        config: `task`, `make`, and the work's own arguments.
        tuner: for the search's network and images.

    Returns:
        The answer, in plain values.
    """
    run = RunDirectory(config["task"]["run"])
    works = {"train": _train, "soup": _soup, "test": _test}
    return works[config["make"]](run, config, tuner)


def _train(run: RunDirectory, config: dict[str, Any], tuner: FineTuner) -> dict[str, Any]:
    """Train an evaluation again, as it was, and store its weights."""
    plan = Plan.from_json(config["plan"])
    list(tuner.run(plan, policy_here(plan, config["task"])))
    run.write_weights(config["folder"], tuner.state_dict(), config["evaluation"])
    return {}


def _test(run: RunDirectory, config: dict[str, Any], tuner: FineTuner) -> dict[str, Any]:
    """Write what a form answers on the test images."""
    form = run.form(config["form"])
    if form is None:
        raise FileNotFoundError(f"{run.uri} has no {config['form']}")
    logits = {}
    for number, (_, weights) in enumerate(form.weights()):
        tuner.load_state_dict(weights)
        logits[number] = tuner.predict("test").cpu().numpy()
    shares = [*form.members.values()] if len(logits) > 1 else [1.0]
    found = logits[0] if len(logits) == 1 else mean_logits(logits, dict(enumerate(shares)))
    feed = tuner.feeds["test"]
    worst = worst_errors(found, feed.labels.cpu().numpy())
    pixels = feed.pixels(feed.in_order[worst]).permute(0, 2, 3, 1).cpu().numpy()
    run.predictions.write_test(
        config["form"], TestPredictions(form.members, found, config["looks"], worst, pixels)
    )
    return {}


def _soup(run: RunDirectory, config: dict[str, Any], tuner: FineTuner) -> dict[str, Any]:
    """Average the weights of the best few, greedily by validation loss, and store the mean.

    Norms that any member trained get statistics of the training images under the mean weights.
    """
    rates = {each["evaluation"]: each["unit_lrs"] for each in config["candidates"]}
    candidates, objective = list(rates), METRICS[config["objective"]]
    labels = tuner.feeds["validation"].labels.cpu().numpy()
    size = sum(tensor.nbytes for tensor in tuner.state_dict().values())
    read = lru_cache(max(1, SOUP_BYTES // size))(run.models.weights)

    def cook(members: Sequence[int]) -> None:
        """Give the tuner the mean weights of these members."""
        tuner.begin([max(each) for each in zip(*(rates[m] for m in members), strict=True)])
        tuner.load_state_dict(mean_weights(map(read, members)))
        if len(members) > 1:
            tuner.update_norms(always=True)

    @cache
    def logits_of(members: tuple[int, ...]) -> NDArray[np.float32]:
        cook(members)
        logits: NDArray[np.float32] = tuner.predict("validation").cpu().numpy()
        return logits

    def scores_of(members: tuple[int, ...], positions: Positions, metric: Metric) -> Scores:
        return ranking_scores(logits_of(members)[positions], labels[positions], metric)

    def choose(ranked: Sequence[int], positions: Positions) -> tuple[int, ...]:
        """Choose by the loss of some of the images."""
        return choose_soup(ranked, lambda tried: LOSS.rank(scores_of(tried, positions, LOSS), 0)[0])

    def answers(positions: Positions) -> NDArray[np.float32]:
        """Answers of a soup of which some of the images decide all, the ranks too."""

        def rank(candidate: int) -> Rank:
            return objective.rank(scores_of((candidate,), positions, objective), candidate)

        return logits_of(choose(sorted(candidates, key=rank), positions))

    fitted = None
    if config["cross_fit"]:
        images = run.predictions.images("validation")
        groups = images.groups if images is not None else [None] * len(labels)
        folds = make_folds(labels, groups, config["task"]["data"]["seed"])
        fitted = cross_fitted(labels, folds, answers)
    members = choose(candidates, np.arange(len(labels)))
    cook(members)
    run.soup.write(tuner.state_dict(), *members)
    return {
        "members": dict.fromkeys(members, 1 / len(members)),
        "validation": asdict(classification_scores(logits_of(members), labels).finite),
        "cross_fitted": None if fitted is None else asdict(fitted.finite),
    }
