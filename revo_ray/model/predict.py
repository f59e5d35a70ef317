"""`revo-ray predict`: label images with a model in any form."""

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
from revo_ray.model.classifier import Classifier, Normalised, TorchClassifier
from revo_ray.model.export.hub_folder import CONFIG, open_folder
from revo_ray.model.export.onnx_file import SUFFIX as ONNX
from revo_ray.model.export.onnx_file import open_onnx
from revo_ray.model.export.program import SUFFIX as PROGRAM
from revo_ray.model.export.program import open_program
from revo_ray.model.load import load_best_model
from revo_ray.rundir.run_directory import RunDirectory

BATCH_PIXELS = 2**21
"""Pixels in a batch: 512 images of 64 × 64 pixels, or 41 of 224 × 224."""


@dataclass(frozen=True)
class Prediction:
    """The most probable labels of an image.

    Attributes:
        path: path of the image.
        top: labels with their probabilities, the most probable first.
    """

    path: str
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Image:
    """An image file, with its path for messages and predictions."""

    path: str
    file: File


def open_model(model: str) -> Classifier:
    """Open a model in any of its forms.

    Args:
        model: a run directory on any storage, or an exported folder, `.onnx` or `.pt2` file.

    Raises:
        UserError: it is none of these, or a file of it is damaged.
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
    if (path / CONFIG).is_file():
        return open_folder(path)
    best = load_best_model(RunDirectory(model))
    network = Normalised(best.network, best.description)
    return TorchClassifier(network, best.description, bf16=best.config.train.precision == "bf16")


def find_images(names: Sequence[str]) -> tuple[list[Image], list[Problem]]:
    """Find image files by name, and those in named folders and zip archives.

    Returns:
        The images, those of a folder sorted by path; and the files that cannot be used, with the
        reason.

    Raises:
        UserError: a name does not exist, or a folder holds no image.
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
        except UserError as error:  # its configuration key says nothing here
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
    """Predict images in batches, in the order given, decoded and cut as in a search.

    Args:
        classifier: the model.
        images: the images.
        top: number of labels for each image; at most all.

    Yields:
        For each image a prediction, or the reason why it cannot be read.
    """
    labels, size = classifier.description.labels, classifier.description.image_size
    length = max(1, BATCH_PIXELS // size**2)

    def decode(image: Image) -> NDArray[np.uint8] | Problem:
        try:
            return square(image.file.open(), size)
        except Exception as error:  # decoders raise anything
            return Problem(image.path, explain(error))

    batch: list[tuple[Image, NDArray[np.uint8] | Problem]] = []
    listed = list(images)
    with warnings.catch_warnings(), closing(in_order(decode, listed)) as decoded:
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata and the like
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
    rows = iter(_probabilities(classifier.logits(np.stack(pixels))) if pixels else ())
    for image, found in batch:
        if isinstance(found, Problem):
            yield found
            continue
        row: NDArray[np.float64] = next(rows)
        best = np.argsort(-row, kind="stable")[:top]
        yield Prediction(image.path, tuple((labels[i], float(row[i])) for i in best))


def _probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Softmax of logits (N, C)."""
    from scipy.special import softmax

    probabilities: NDArray[np.float64] = softmax(logits.astype(np.float64), axis=1)
    return probabilities
