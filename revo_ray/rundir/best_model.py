"""The best model of a search on disk: one file at a time, whatever is interrupted."""

from __future__ import annotations

import json
import posixpath
import struct
from typing import Any

from revo_ray.errors import UserError
from revo_ray.rundir.ledger import Evaluation
from revo_ray.storage import Storage

CANDIDATES = "candidates"
MODEL = "best/model.safetensors"


class BestModel:
    """Moves the weights of record-breaking evaluations to `best/`, and deletes all others.

    A worker writes its weights to `candidates/` before its result leaves it; only when the row is
    in the ledger does `accept` move them over the old best. A weight file names its evaluation in
    its own header, so that a crash between any two steps leaves no doubt whose weights are where.

    Args:
        storage: the run directory.
        card: what is needed to load the model, for `best/config.json`.
    """

    def __init__(self, storage: Storage, card: dict[str, Any]) -> None:
        self._storage = storage
        self._card = card

    def accept(self, row: Evaluation) -> None:
        """Make a row's weights the best model, where they were written, and describe it."""
        candidate = candidate_path(row.evaluation)
        if self._storage.exists(candidate):
            self._storage.move(candidate, MODEL)
        self._describe(row)

    def reject(self, evaluation: int) -> None:
        """Delete the weights that an evaluation wrote before a better one was known."""
        self._storage.delete(candidate_path(evaluation))

    def reconcile(self, best: Evaluation | None) -> None:
        """After an interruption: finish what was begun and delete what nobody will ask for.

        Raises:
            UserError: a folder is a link, which leads to files that are not this search's.
        """
        for name in (CANDIDATES, posixpath.dirname(MODEL)):
            if self._storage.local is not None and (self._storage.local / name).is_symlink():
                raise UserError(
                    f"{self._storage.uri}/{name} is a link, and what is in it would be deleted or "
                    "replaced; put a folder there"
                )
        if best is not None:
            self.accept(best)  # also where only the description was missing
        self.sweep()

    def sweep(self) -> None:
        """Delete every candidate: nobody is left who would ask for one."""
        for name in self._storage.list(CANDIDATES):
            self._storage.delete(f"{CANDIDATES}/{name}")

    def holds(self, row: Evaluation) -> bool:
        """Whether `best/model.safetensors` has this row's weights."""
        return weights_owner(self._storage, MODEL) == row.evaluation

    def _describe(self, row: Evaluation) -> None:
        card = (
            self._card
            | {
                "evaluation": row.evaluation,
            }
            | row.scores.columns
        )
        self._storage.write("best/config.json", _pretty(card))
        self._storage.write("best/plan.json", _pretty(row.whole_plan))


def candidate_path(evaluation: int) -> str:
    """Where a worker writes the weights of an evaluation."""
    return f"{CANDIDATES}/{evaluation:06d}.safetensors"


def weights_owner(storage: Storage, path: str) -> int | None:
    """The evaluation that a weight file's header names; None without a readable file."""
    try:
        (size,) = struct.unpack("<Q", storage.read_head(path, 8))
        header = json.loads(storage.read_head(path, min(size, 1 << 26), offset=8))
        return int(header["__metadata__"]["evaluation"])
    except (OSError, struct.error, ValueError, LookupError, TypeError):
        return None
    except (OverflowError, RecursionError):  # a number or a nest without end
        return None


def _pretty(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2, allow_nan=False) + "\n").encode()
