"""The weights of the best few evaluations, and of ensemble members that are not among them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from revo_ray.objective import Metric
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.model_file import owner_of, read_weights, weight_file
from revo_ray.storage import Storage

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".safetensors"


class KeptModels:
    """Weight files named by their evaluations: `models/`, or those in `ensemble/`.

    Args:
        storage: the run directory.
        folder: name of the folder.
    """

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage = storage
        self.folder = folder

    def path(self, evaluation: int) -> str:
        """The weight file of an evaluation, in the run directory."""
        return f"{self.folder}/{evaluation:06d}{SUFFIX}"

    def write(self, weights: Mapping[str, Tensor], evaluation: int) -> None:
        """Write the weights of an evaluation.

        Raises:
            OSError: the storage is full or unreachable.
        """
        self._storage.write(self.path(evaluation), weight_file(weights, evaluation))

    def holds(self, evaluation: int) -> bool:
        """Whether there is a readable file of that evaluation's weights."""
        return owner_of(self._storage, self.path(evaluation)) == evaluation

    def weights(self, evaluation: int) -> dict[str, Tensor]:
        """The weights of an evaluation, on the CPU.

        Raises:
            OSError: there is no such file, or it cannot be read.
            safetensors.SafetensorError: it is damaged.
        """
        return read_weights(self._storage, self.path(evaluation))

    def delete(self, evaluation: int) -> None:
        """Delete the file of an evaluation, if there is one."""
        self._storage.delete(self.path(evaluation))

    def delete_others(self, evaluations: Collection[int]) -> None:
        """Delete every weight file that is not of one of these evaluations."""
        kept = {self.path(evaluation) for evaluation in evaluations}
        for name in self._storage.list(self.folder):
            path = f"{self.folder}/{name}"
            if name.endswith(SUFFIX) and path not in kept:
                self._storage.delete(path)


def best_rows(rows: Iterable[Evaluation], objective: Metric, count: int) -> list[Evaluation]:
    """The best rows that have weights of their own, the best first."""
    own = [row for row in rows if objective.has_weights(row)]
    return sorted(own, key=objective.rank_of)[:count]
