"""`Model`: a loaded model that labels images, whatever file it came from."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor, nn

from revo_ray.data.image_records import Problem
from revo_ray.data.table.threads import in_order, squares_ahead
from revo_ray.errors import UserError
from revo_ray.model.classifier import Classifier
from revo_ray.model.description import Description
from revo_ray.model.pictures import Picture, pictures_of, pixels_of

BATCH_PIXELS = 2**21
"""Pixels in a batch: 512 images of 64 × 64 pixels, or 41 of 224 × 224."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer for one image.

    Attributes:
        name: path of the image, or its place in a sequence: `image 3`.
        classes: (C,) names.
        probabilities: (C,) float64, which sum to 1; NaN if the image cannot be read.
        error: the reason why it cannot be read; None if it was.
    """

    name: str
    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]
    error: str | None = None

    def top(self, count: int = 1) -> list[tuple[str, float]]:
        """The most probable labels with their probabilities; none of an image with an error."""
        if self.error is not None:
            return []
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.classes[i], float(self.probabilities[i])) for i in order]

    @property
    def label(self) -> str | None:
        """The most probable label; None of an image with an error."""
        return next((label for label, _ in self.top()), None)


@dataclass(frozen=True)
class Predictions(Sequence[Prediction]):
    """The answers for some images, in their order.

    Attributes:
        classes: (C,) names.
        each: the answers.
    """

    classes: tuple[str, ...]
    each: tuple[Prediction, ...]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(N, C) float64; rows of NaN for images that cannot be read."""
        rows = [prediction.probabilities for prediction in self.each]
        return np.stack(rows) if rows else np.empty((0, len(self.classes)))

    @property
    def labels(self) -> tuple[str | None, ...]:
        """(N,) most probable labels; None for images that cannot be read."""
        return tuple(prediction.label for prediction in self.each)

    @property
    def errors(self) -> dict[str, str]:
        """Reasons why images cannot be read, by the names of these images."""
        return {p.name: p.error for p in self.each if p.error is not None}

    def __len__(self) -> int:
        return len(self.each)

    @overload
    def __getitem__(self, place: int) -> Prediction: ...
    @overload
    def __getitem__(self, place: slice) -> Predictions: ...
    def __getitem__(self, place: int | slice) -> Prediction | Predictions:
        if isinstance(place, slice):
            return Predictions(self.classes, self.each[place])
        return self.each[place]


class Model:
    """A model that labels images; `revo_ray.load` makes it.

    Example:
        >>> model = revo_ray.load("revo_results/quickstart")     # doctest: +SKIP
        >>> model.predict("photos/").labels                      # doctest: +SKIP

    Args:
        classifier: the model itself.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    @property
    def description(self) -> Description:
        """Input and output: classes, image size, normalisation."""
        return self._classifier.description

    @property
    def classes(self) -> tuple[str, ...]:
        """(C,) names of the classes, in the order of the probabilities."""
        return self.description.labels

    @property
    def module(self) -> nn.Module | None:
        """Torch module from images (N, 3, S, S), uint8 RGB, to logits (N, C), float32.

        It normalises by itself, and computes in fp32 even if the search did not. An ensemble's
        logits are the logarithm of its probabilities. None for an ONNX file, which ONNX Runtime
        runs.
        """
        return self._classifier.module

    def transform(self, image: Any) -> Tensor:
        """The pixels (3, S, S), uint8 RGB, that the model sees of an image: a row of its input.

        Args:
            image: a path, an image of Pillow's, or an array; see `predict`.

        Raises:
            UserError: it cannot be read, or is not one image.
        """
        found = list(islice(self._pictures(image), 2))
        if len(found) != 1:
            raise UserError("transform takes one image")
        pixels = found[0] if isinstance(found[0], Problem) else self._pixels(found[0])
        if isinstance(pixels, Problem):
            raise UserError(f"{pixels.name}: {pixels.cause}")
        return torch.from_numpy(pixels.copy())

    def predict(self, images: Any) -> Predictions:
        """Label images, which are turned upright, cut and scaled exactly as in training.

        Args:
            images: one or any number of these: a path of an image file, or of a folder or archive
                of images; an image of Pillow's, in any mode; an array (H, W), (H, W, 1), (H, W, 3)
                or (H, W, 4) of uint8, uint16 or float from 0 to 1. An array (N, H, W, 3) holds N
                images. If the search had images of more than 8 bits, grey floats and integers
                are values in its range of intensities.

        Returns:
            A prediction for each image. One that cannot be read has an error, and NaN for
            probabilities.

        Raises:
            UserError: there is nothing at a path, or something is no image at all.
        """
        return Predictions(self.classes, tuple(self.stream(self._pictures(images))))

    def stream(self, pictures: Iterable[Picture | Problem]) -> Iterator[Prediction]:
        """Predict images in batches, in the order given; yields each as soon as it is there."""
        side = self.description.image_size
        length = max(1, BATCH_PIXELS // side**2)
        # Pillow warns of odd metadata and the like.
        with (
            warnings.catch_warnings(action="ignore"),
            closing(in_order(self._named_pixels, pictures, squares_ahead(side))) as decoded,
        ):
            while batch := list(islice(decoded, length)):
                yield from self._answer(batch)

    def _pictures(self, images: Any) -> Iterator[Picture | Problem]:
        return pictures_of(images, ranged=self.description.intensity is not None)

    def _pixels(self, picture: Picture | Problem) -> NDArray[np.uint8] | Problem:
        return picture if isinstance(picture, Problem) else pixels_of(picture, self.description)

    def _named_pixels(self, picture: Picture | Problem) -> tuple[str, NDArray[np.uint8] | Problem]:
        return picture.name, self._pixels(picture)

    def _answer(
        self, batch: Sequence[tuple[str, NDArray[np.uint8] | Problem]]
    ) -> Iterator[Prediction]:
        pixels = [found for _, found in batch if not isinstance(found, Problem)]
        rows = iter(self._probabilities(np.stack(pixels)) if pixels else ())
        for name, found in batch:
            if isinstance(found, Problem):
                nothing = np.full(len(self.classes), np.nan)
                yield Prediction(name, self.classes, nothing, found.cause)
            else:
                yield Prediction(name, self.classes, next(rows))

    def _probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        logits = self._classifier.logits(images)
        if logits.shape != (len(images), len(self.classes)):
            raise UserError(
                f"the model gives {logits.shape[1:]} values for an image and names "
                f"{len(self.classes)} classes: its description is not its own"
            )
        probabilities: NDArray[np.float64] = softmax(logits.astype(np.float64), axis=1)
        return probabilities
