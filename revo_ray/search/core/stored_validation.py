"""Choices by the stored validation predictions of a search, and their scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from revo_ray.combine.cross_fitting import Positions, cross_fitted, make_folds, ranking_scores
from revo_ray.combine.ensemble import choose_ensemble, mean_logits
from revo_ray.errors import UserError
from revo_ray.objective import Metric, Scores
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.forms import Members
from revo_ray.rundir.predictions import ScoredImages
from revo_ray.rundir.run_directory import RunDirectory

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class StoredValidation:
    """The validation predictions of all rows that ended well, or of none.

    A choice among some of the rows alone would not be that of the search.

    Attributes:
        images: the validation images; None in a search of an older version.
        logits: (n, C) by evaluation.
        missing: the reason why there are none, though the search has kept some.
    """

    images: ScoredImages | None = None
    logits: dict[int, Logits] = field(default_factory=dict)
    missing: str | None = None

    @classmethod
    def read(cls, run: RunDirectory, rows: Iterable[Evaluation]) -> StoredValidation:
        """Read them from a run directory.

        Raises:
            OSError: the storage is unreachable.
        """
        own = [row for row in rows if row.status == "ok"]
        without = [row.evaluation for row in own if row.predictions is None]
        if len(without) == len(own):
            return cls()
        if without:
            part = f"{len(without)} of {len(own)} evaluations"
            return cls(missing=f"{part} have no stored predictions, which an older version made")
        try:
            images = run.predictions.images("validation")
            found = {row.evaluation: run.predictions.of(row) for row in own}
        except UserError as error:
            return cls(missing=str(error))
        if images is None:
            return cls(missing=f"{run.uri} has no list of its validation images")
        shape = (len(images.labels), len(images.classes))
        logits = {number: each for number, each in found.items() if each is not None}
        if any(each.shape != shape for each in logits.values()):
            return cls(missing=f"the predictions in {run.uri} are not of its validation images")
        return cls(images, logits)

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
                objective.rank(ranking_scores(self.logits[e][positions], labels, objective), e)
                for e in stored
            ]
            return self.logits[min(ranks)[2]]

        return self._cross_fitted(choose, seed)

    def _cross_fitted(self, choose: Callable[[Positions], Logits], seed: int) -> Scores | None:
        if self.images is None or not self.logits:
            return None
        folds = make_folds(self.images.labels, self.images.groups, seed)
        return cross_fitted(self.images.labels, folds, choose)
