"""Errors of a search's result on the test images, read from `result.json` and `predictions/`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter
from scipy.special import softmax

from revo_ray.errors import UserError
from revo_ray.report.outcomes import SearchOutcome
from revo_ray.rundir.forms import FORMS


class Confusion(NamedTuple):
    """Number of test images of one class that were labelled as another one."""

    true: str
    predicted: str
    images: int


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class; None where one is not defined. Support counts its test images."""

    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class Bin:
    """Test images whose confidence lies in one part of 0 … 1; empty ones have no means."""

    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """The expected calibration error, and the bins that it is the mean of."""

    error: float
    bins: list[Bin]


@dataclass(frozen=True)
class Explained:
    """The result on the test images, see `combine.explanation`.

    Attributes:
        confusions: positions of the true and of the predicted class, and number of images.
        classes: scores by name.
        calibration: None where a logit was not finite.
    """

    confusions: list[tuple[int, int, int]]
    classes: dict[str, ClassScores]
    calibration: Calibration | None = None

    @cached_property
    def names(self) -> list[str]:
        """The classes, in their order."""
        return list(self.classes)

    @cached_property
    def matrix(self) -> NDArray[np.int64]:
        """(C, C) number of images by true class (row) and predicted class."""
        made = np.zeros((len(self.classes), len(self.classes)), np.int64)
        for true, predicted, count in self.confusions:
            made[true, predicted] = count
        return made

    @property
    def images(self) -> int:
        """Number of test images."""
        return int(self.matrix.sum())

    @property
    def wrong(self) -> int:
        """Number of test images with a wrong label."""
        return self.images - int(np.trace(self.matrix))

    @property
    def errors(self) -> list[Confusion]:
        """Pairs of classes that were taken for each other, the most frequent first."""
        found = [
            Confusion(self.names[true], self.names[predicted], count)
            for true, predicted, count in self.confusions
            if true != predicted
        ]
        return sorted(found, key=lambda confusion: -confusion.images)


@dataclass(frozen=True)
class WrongImage:
    """A test image that got a wrong label, as the network saw it.

    Attributes:
        name: name in the data set.
        true, predicted: classes.
        confidence: probability of the predicted class.
        pixels: (S, S, 3) uint8.
    """

    name: str
    true: str
    predicted: str
    confidence: float
    pixels: NDArray[np.uint8] = field(repr=False)


_EXPLAINED = TypeAdapter(Explained)


def read_explained(outcome: SearchOutcome) -> Explained | None:
    """The errors of a search's result; None if it was not tested, or by an older version.

    Raises:
        UserError: they are damaged.
    """
    if outcome.result.explained is None:
        return None
    try:
        found = _EXPLAINED.validate_python(outcome.result.explained)
        if min((number for row in found.confusions for number in row), default=0) < 0:
            raise ValueError("a position or a number of images is negative")
        _ = found.matrix
    except (ValueError, IndexError, OverflowError):  # pydantic's too is a ValueError
        raise UserError(
            f"{outcome.directory.uri}: its result is damaged; restore it, or delete it and go on "
            "with --resume"
        ) from None
    return found


def read_wrong_images(outcome: SearchOutcome) -> list[WrongImage]:
    """The test images that the result got wrong with the highest confidence, the surest first.

    Raises:
        UserError: the stored predictions are damaged.
        OSError: the storage is unreachable.
    """
    stored = outcome.directory.predictions
    form = next((form for form in FORMS if form == outcome.result.form), None)
    images, answers = stored.images("test"), form and stored.test(form)
    if images is None or answers is None:
        return []
    if answers.logits.shape != (len(images.names), len(images.classes)):
        raise UserError(f"{outcome.directory.uri}/predictions: test-{form}.npz is of other images")
    names = images.classes
    found = []
    for position, pixels in zip(answers.worst.tolist(), answers.thumbnails, strict=True):
        probabilities = softmax(answers.logits[position].astype(np.float64))
        predicted = int(answers.logits[position].argmax())
        found.append(
            WrongImage(
                images.names[position],
                names[images.labels[position]],
                names[predicted],
                float(probabilities[predicted]),
                pixels,
            )
        )
    return found


def worst_first(explained: Explained) -> Sequence[tuple[str, ClassScores]]:
    """The classes with test images by F1, the worst first; then those without."""
    return sorted(
        explained.classes.items(),
        key=lambda item: (item[1].support == 0, item[1].f1 or 0.0),
    )
