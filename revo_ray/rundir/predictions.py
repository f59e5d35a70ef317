"""Stored predictions: logits of the validation images by evaluation, of the test images by form."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from revo_ray.errors import UserError
from revo_ray.rundir.bounded import read_arrays, read_table
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.forms import FORMS, Form, Members
from revo_ray.settings.safe_json import read_json
from revo_ray.storage import Storage

FOLDER = "predictions"
IMAGES = f"{FOLDER}/images.parquet"
DELETE_ROW = "delete the ledger's row of that number"
LEAST = 60_000
"""Logits so far below the largest are stored as this, where precision is float16."""


@dataclass(frozen=True)
class ScoredImages:
    """The images of one split, in the order of their logits.

    Attributes:
        names: (n,) names in the data set.
        labels: (n,) positions in `classes`.
        groups: (n,) groups, None for an image without one.
        classes: (C,) names of the classes.
    """

    names: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: tuple[str | None, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class TestPredictions:
    """The answers of a form on the test images.

    Attributes:
        members: of the form.
        logits: (n, C) float32; of an ensemble the logarithm of its probabilities.
        looks: number of times that this form was tested.
        worst: (m,) positions of the images that it got wrong with the highest confidence, the
            surest first.
        thumbnails: (m, S, S, 3) uint8, these images as the network saw them.
    """

    members: Members
    logits: NDArray[np.float32]
    looks: int
    worst: NDArray[np.int64]
    thumbnails: NDArray[np.uint8]

    __test__ = False  # pytest takes it for a test


class Predictions:
    """The folder `predictions/` of a run directory.

    Args:
        storage: the run directory.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def write_images(self, validation: ScoredImages, test: ScoredImages) -> None:
        """Write names, labels, groups and splits of the images that are scored.

        Raises:
            OSError: the storage is full or unreachable.
        """
        splits = {"validation": validation, "test": test}
        table = pa.table(
            {
                "name": [name for images in splits.values() for name in images.names],
                "label": np.concatenate([images.labels for images in splits.values()]),
                "group": pa.array(
                    [group for images in splits.values() for group in images.groups], pa.string()
                ),
                "split": [name for name, images in splits.items() for _ in images.names],
            },
            metadata={"classes": json.dumps(validation.classes)},
        )
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        self._storage.write(IMAGES, buffer.getvalue())

    def images(self, split: str) -> ScoredImages | None:
        """The images of `validation` or `test`; None in a search of an older version.

        Raises:
            UserError: the file is damaged.
            OSError: the storage is unreachable.
        """
        try:
            table = read_table(self._storage.read(IMAGES))
            classes = [str(name) for name in read_json(table.schema.metadata[b"classes"])]
            rows = [row for row in table.to_pylist() if row["split"] == split]
            labels = np.array([int(row["label"]) for row in rows], np.int64)
            names = tuple(row["name"] for row in rows)
            groups = tuple(row["group"] for row in rows)
            if not set(labels.tolist()) <= set(range(len(classes))):
                raise ValueError("labels of other classes")
            if not all(isinstance(name, str) for name in names):
                raise ValueError("names that are no text")
        except FileNotFoundError:
            return None
        except (ValueError, LookupError, TypeError, OverflowError) as error:
            raise self._damaged(IMAGES, "delete it") from error
        return ScoredImages(names, labels, groups, tuple(classes))

    def write(self, evaluation: int, logits: NDArray[Any], precision: str) -> str:
        """Write the validation logits (n, C) of an evaluation; the SHA-256 of the file.

        Args:
            precision: `float32` or `float16`.

        Raises:
            OSError: the storage is full or unreachable.
        """
        logits = np.asarray(logits, np.float32)
        if precision == "float16":  # its range is small: the largest logit becomes 0
            logits = (logits - logits.max(1, keepdims=True)).clip(-LEAST).astype(np.float16)
        content = _packed(logits=logits)
        self._storage.write(_path(evaluation), content)
        return hashlib.sha256(content).hexdigest()

    def of(self, row: Evaluation) -> NDArray[np.float32] | None:
        """The validation logits (n, C) of a row; None if it has none.

        Raises:
            UserError: the file is missing, or is not the one that the row names.
            OSError: the storage is unreachable.
        """
        if row.predictions is None:
            return None
        path = _path(row.evaluation if row.source is None else row.source)
        try:
            content = self._storage.read(path)
        except FileNotFoundError:
            raise self._damaged(path, DELETE_ROW) from None
        if hashlib.sha256(content).hexdigest() != row.predictions:
            raise self._damaged(path, DELETE_ROW)
        try:
            return np.asarray(read_arrays(content)["logits"], np.float32)
        except (ValueError, LookupError):
            raise self._damaged(path, DELETE_ROW) from None

    def delete_others(self, evaluations: Collection[int]) -> None:
        """Delete the files of evaluations that are not among these."""
        kept = {_path(evaluation) for evaluation in evaluations}
        for name in self._storage.list(FOLDER):
            path = f"{FOLDER}/{name}"
            if name.removesuffix(".npz").isdigit() and path not in kept:
                self._storage.delete(path)

    def delete_tests_of_others(self, evaluations: Collection[int]) -> None:
        """Delete the answers of forms with a member that is not one of these evaluations."""
        for form in FORMS:
            with suppress(UserError):  # a damaged file is made again
                found = self.test(form)
                if found is not None and not found.members.keys() <= set(evaluations):
                    self._storage.delete(_test_path(form))

    def write_test(self, form: Form, found: TestPredictions) -> None:
        """Write what a form answers on the test images.

        Raises:
            OSError: the storage is full or unreachable.
        """
        content = _packed(
            members=np.array([*found.members], np.int64),
            shares=np.array([*found.members.values()], np.float64),
            logits=found.logits,
            looks=np.array(found.looks),
            worst=found.worst,
            thumbnails=found.thumbnails,
        )
        self._storage.write(_test_path(form), content)

    def test(self, form: Form) -> TestPredictions | None:
        """The answers of a form on the test images; None if it has not been tested.

        Raises:
            UserError: the file is damaged.
            OSError: the storage is unreachable.
        """
        path = _test_path(form)
        try:
            found = read_arrays(self._storage.read(path))
            logits, worst, shown = (found[name] for name in ("logits", "worst", "thumbnails"))
            if logits.ndim != 2 or worst.ndim != 1 or worst.dtype.kind not in "iu":
                raise ValueError("logits or positions of other shapes and types")
            if len(shown) != len(worst) or not set(worst.tolist()) <= set(range(len(logits))):
                raise ValueError("pictures of other images")
            square = shown.ndim == 4 and shown.shape[1] == shown.shape[2] > 0
            if not square or shown.shape[3] != 3 or shown.dtype != np.uint8:
                raise ValueError("thumbnails that are no squares of RGB")
            return TestPredictions(
                members=dict(zip(found["members"].tolist(), found["shares"].tolist(), strict=True)),
                logits=np.asarray(logits, np.float32),
                looks=int(found["looks"]),
                worst=worst.astype(np.int64),
                thumbnails=shown,
            )
        except FileNotFoundError:
            return None
        except (ValueError, LookupError, TypeError, OverflowError) as error:
            raise self._damaged(path, "delete it and result.json") from error

    def _damaged(self, path: str, way_out: str) -> UserError:
        return UserError(
            f"{self._storage.uri}/{path} is missing, or not as it was written; restore it, or "
            f"{way_out} and go on with --resume"
        )


def _path(evaluation: int) -> str:
    return f"{FOLDER}/{evaluation:06d}.npz"


def _test_path(form: Form) -> str:
    return f"{FOLDER}/test-{form}.npz"


def _packed(**arrays: NDArray[Any]) -> bytes:
    """Arrays as an `.npz` file; equal arrays make equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
