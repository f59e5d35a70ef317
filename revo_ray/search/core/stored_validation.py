"""Choices by the stored validation predictions of a search, and their scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from revo_ray.combine.cross_fitting import Positions, cross_fitted, make_folds
from revo_ray.combine.ensemble import choose_ensemble, mean_logits
from revo_ray.objective import LOSS, Metric, Scores
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.forms import Members
from revo_ray.rundir.predictions import ScoredImages
from revo_ray.rundir.run_directory import RunDirectory

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class StoredValidation:
    """The validation predictions of all rows that have some.

    Attributes:
        images: the validation images; None in a search of an older version.
        logits: (n, C) by evaluation.
    """

    images: ScoredImages | None = None
    logits: dict[int, Logits] = field(default_factory=dict)

    @classmethod
    def read(cls, run: RunDirectory, rows: Iterable[Evaluation]) -> StoredValidation:
        """Read them from a run directory.

        Raises:
            UserError: a file is missing or damaged.
            OSError: the storage is unreachable.
        """
        images = run.predictions.images("validation")
        if images is None:
            return cls()
        own = (row for row in rows if row.status == "ok")
        found = ((row.evaluation, run.predictions.of(row)) for row in own)
        return cls(images, {number: logits for number, logits in found if logits is not None})

    def ensemble(self) -> Members | None:
        """The members of the ensemble; None if no predictions are stored."""
        if self.images is None or not self.logits:
            return None
        return choose_ensemble(self.logits, self.images.labels) or None

    def scores(self, members: Members) -> Scores:
        """Scores of an ensemble on the validation images."""
        from revo_ray.finetune.training.metrics import classification_scores  # imports torch

        assert self.images is not None
        return classification_scores(mean_logits(self.logits, members), self.images.labels)

    def cross_fitted_ensemble(self, seed: int) -> Scores | None:
        """Scores of ensembles on images that did not choose them."""

        def choose(positions: Positions) -> Logits:
            assert self.images is not None
            members = choose_ensemble(self.logits, self.images.labels, positions)
            return mean_logits(self.logits, members)

        return self._cross_fitted(choose, seed)

    def cross_fitted_best(
        self, evaluations: Iterable[int], objective: Metric, seed: int
    ) -> Scores | None:
        """Scores of the best of some evaluations on images that did not choose it."""
        stored = [number for number in evaluations if number in self.logits]
        if not stored:
            return None

        def choose(positions: Positions) -> Logits:
            assert self.images is not None
            labels = self.images.labels[positions]
            ranks = [
                objective.rank(_scores(self.logits[e][positions], labels, objective), e)
                for e in stored
            ]
            return self.logits[min(ranks)[2]]

        return self._cross_fitted(choose, seed)

    def _cross_fitted(self, choose: Callable[[Positions], Logits], seed: int) -> Scores | None:
        if self.images is None or not self.logits:
            return None
        folds = make_folds(self.images.labels, self.images.groups, seed)
        return cross_fitted(self.images.labels, folds, choose)


def _scores(logits: Logits, labels: NDArray[np.int64], objective: Metric) -> Scores:
    """The scores that rank a result: the loss alone if that is the objective, which is quick."""
    from torch import as_tensor
    from torch.nn.functional import cross_entropy

    from revo_ray.finetune.training.metrics import classification_scores

    if objective != LOSS:
        return classification_scores(logits, labels)
    return Scores(loss=float(cross_entropy(as_tensor(logits).double(), as_tensor(labels))))
