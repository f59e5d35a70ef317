"""Labels for images, from a model in any form: `revo-ray predict`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from revo_ray.data.files.decode import explain, square
from revo_ray.data.files.image_files import File, ImageFiles
from revo_ray.data.files.stored_file import StoredFile
from revo_ray.data.image_records import Problem
from revo_ray.data.table.threads import in_order
from revo_ray.errors import UserError
from revo_ray.model.export import hub_folder as exported
from revo_ray.model.export.classifier import Classifier, Normalised, TorchClassifier
from revo_ray.model.export.onnx_file import SUFFIX as ONNX
from revo_ray.model.export.onnx_file import open_onnx
from revo_ray.model.export.program import SUFFIX as PROGRAM
from revo_ray.model.export.program import open_program
from revo_ray.model.export.searched import read_searched
from revo_ray.storage import Storage

BATCH_PIXELS = 2**21
"""Of one side's square: 512 images of 64 pixels, 41 of 224."""


@dataclass(frozen=True)
class Prediction:
    """What a model says of an image.

    Attributes:
        path: of the image.
        top: labels with their probabilities, the most probable first.
    """

    path: str
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Image:
    """An image file, by the path that messages and predictions call it."""

    path: str
    file: File


def open_model(model: str) -> Classifier:
    """Open a model in any of its forms.

    Args:
        model: a run directory on any storage, or what `revo-ray export` wrote: a folder, a
            `.onnx` or a `.pt2` file.

    Raises:
        UserError: it is none of these, or damaged.
        OSError: the storage is unreachable.
    """
    path = Path(model).expanduser()
    if path.is_file():
        if path.suffix not in (ONNX, PROGRAM):
            raise UserError(
                f"cannot tell what {model!r} is: name a run directory, an exported folder, or a "
                f"{ONNX} or {PROGRAM} file"
            )
        return open_onnx(path) if path.suffix == ONNX else open_program(path)
    if (path / exported.CONFIG).is_file():
        return exported.open_folder(path)
    searched = read_searched(Storage(model))
    network = Normalised(searched.network, searched.description)
    bf16 = searched.config.train.precision == "bf16"
    return TorchClassifier(network, searched.description, bf16=bf16)


def find_images(names: Sequence[str]) -> tuple[list[Image], list[Problem]]:
    """The image files that are named, and those below the folders and zip archives that are.

    Returns:
        The images, those of a folder by path; and files that are no use, with the reason.

    Raises:
        UserError: there is nothing of a name, or a folder has no image.
    """
    images: list[Image] = []
    problems: list[Problem] = []
    for name in names:
        path = os.path.abspath(os.path.expanduser(name))
        if "://" not in name and os.path.isfile(path) and not path.lower().endswith(".zip"):
            status = os.stat(path)
            images.append(Image(name, File(name, status.st_size, StoredFile.on_disk(path, status))))
            continue
        try:
            tree = ImageFiles.open(name)
        except UserError as error:  # without the configuration key that it would name
            raise UserError(str(error.args[0])) from None
        found = tree.images()
        if not found and not tree.problems:
            raise UserError(f"{name!r} holds no image")
        images += [Image(os.path.join(name, file.path), file) for file in found]
        problems += [Problem(os.path.join(name, p.name), p.cause) for p in tree.problems]
    return images, problems


def predict(
    classifier: Classifier, images: Iterable[Image], top: int = 1
) -> Iterator[Prediction | Problem]:
    """Predict images in their order, decoded and cut as a search does, in batches.

    Args:
        top: how many labels of each image, at most as many as there are.

    Yields:
        A prediction for each image, or why it cannot be read.
    """
    labels, size = classifier.description.labels, classifier.description.image_size
    length = max(1, BATCH_PIXELS // size**2)

    def decode(image: Image) -> NDArray[np.uint8] | Problem:
        try:
            return square(image.file.open(), size)
        except Exception as error:  # whatever a decoder raises
            return Problem(image.path, explain(error))

    batch: list[tuple[Image, NDArray[np.uint8] | Problem]] = []
    listed = list(images)
    with warnings.catch_warnings(), closing(in_order(decode, listed)) as decoded:
        warnings.simplefilter("ignore")  # Pillow's, of odd metadata and the like
        for image, pixels in zip(listed, decoded, strict=True):
            batch.append((image, pixels))
            if len(batch) == length:
                yield from _answer(classifier, labels, batch, top)
                batch = []
        yield from _answer(classifier, labels, batch, top)


def _answer(
    classifier: Classifier,
    labels: Sequence[str],
    batch: Sequence[tuple[Image, NDArray[np.uint8] | Problem]],
    top: int,
) -> Iterator[Prediction | Problem]:
    pixels = [found for _, found in batch if not isinstance(found, Problem)]
    answers = _probabilities(classifier.logits(np.stack(pixels))) if pixels else np.empty((0, 0))
    rows = iter(answers)
    for image, found in batch:
        if isinstance(found, Problem):
            yield found
            continue
        row: NDArray[np.float64] = next(rows)
        best = np.argsort(-row, kind="stable")[:top]
        yield Prediction(image.path, tuple((labels[i], float(row[i])) for i in best))


def _probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """The softmax of logits (N, C)."""
    from scipy.special import softmax

    probabilities: NDArray[np.float64] = softmax(logits.astype(np.float64), axis=1)
    return probabilities
