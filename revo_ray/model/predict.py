"""`revo-ray predict`: label images with a model in any form."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from revo_ray.credentials import refuse_credentials
from revo_ray.data.files.archive import is_archive
from revo_ray.data.files.decode import explain, square
from revo_ray.data.files.image_files import File, ImageFiles
from revo_ray.data.files.intensity import shown
from revo_ray.data.files.stored_file import StoredFile
from revo_ray.data.image_records import Problem
from revo_ray.data.table.threads import in_order
from revo_ray.errors import UserError
from revo_ray.model.classifier import Classifier, Normalised, torch_classifier
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
    return torch_classifier(network, best.description, bf16=best.config.train.precision == "bf16")


def find_images(names: Sequence[str]) -> tuple[list[File], list[Problem]]:
    """Find image files by name, and those in named folders and archives.

    Returns:
        The images, those of a folder sorted by path, and the files that cannot be used. All have
        paths that begin with the name under which they were found.

    Raises:
        UserError: a name does not exist, or a folder holds no image.
    """
    images: list[File] = []
    problems: list[Problem] = []
    for name in names:
        refuse_credentials(name, "IMAGES")
        path = os.path.abspath(os.path.expanduser(name))
        if "://" not in name and os.path.isfile(path) and not is_archive(path):
            status = os.stat(path)
            images.append(File(name, status.st_size, StoredFile.on_disk(path, status)))
            continue
        try:
            files = ImageFiles.open(name)
        except UserError as error:  # its configuration key says nothing here
            raise UserError(str(error.args[0])) from None
        if not files.images() and not files.problems:
            raise UserError(f"{name!r} holds no image")
        images += [replace(file, path=os.path.join(name, file.path)) for file in files.images()]
        problems += [Problem(os.path.join(name, p.name), p.cause) for p in files.problems]
    return images, problems


def predict(
    classifier: Classifier, images: Sequence[File], top: int = 1
) -> Iterator[Prediction | Problem]:
    """Predict images in batches, in the order given, decoded and cut as in a search.

    Args:
        classifier: the model.
        images: the images.
        top: number of labels for each image; at most all.

    Yields:
        For each image a prediction, or the reason why it cannot be read.
    """
    description = classifier.description
    size = description.image_size
    length = max(1, BATCH_PIXELS // size**2)

    def decode(image: File) -> NDArray[np.uint8] | Problem:
        try:
            return shown(square(image.open(), size, description.fit), description.intensity)
        except Exception as error:  # decoders raise anything
            return Problem(image.path, explain(error))

    # Pillow warns of odd metadata and the like.
    with warnings.catch_warnings(action="ignore"), closing(in_order(decode, images)) as decoded:
        pairs = zip(images, decoded, strict=True)
        while batch := list(islice(pairs, length)):
            yield from _answer(classifier, batch, top)


def _answer(
    classifier: Classifier, batch: Sequence[tuple[File, NDArray[np.uint8] | Problem]], top: int
) -> Iterator[Prediction | Problem]:
    labels = classifier.description.labels
    pixels = [found for _, found in batch if not isinstance(found, Problem)]
    logits = classifier.logits(np.stack(pixels)) if pixels else np.empty((0, len(labels)))
    rows = iter(softmax(logits.astype(np.float64), axis=1))
    for image, found in batch:
        if isinstance(found, Problem):
            yield found
            continue
        row: NDArray[np.float64] = next(rows)
        best = np.argsort(-row, kind="stable")[:top]
        yield Prediction(image.path, tuple((labels[i], float(row[i])) for i in best))
