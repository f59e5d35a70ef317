"""The best model of a search on disk: one weight file, whatever is interrupted."""

from __future__ import annotations

import json
import posixpath
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from revo_ray.errors import UserError
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.storage import Storage

if TYPE_CHECKING:
    from torch import Tensor

CANDIDATES = "candidates"
MODEL = "best/model.safetensors"
CARD = "best/config.json"
PLAN = "best/plan.json"

_CARD_KEYS = ("classes", "image_size", "mean", "std", "units", "evaluation")
_OPTIONAL_KEYS = ("intensity",)  # older cards lack these


class BestModel:
    """Moves the weights of record-breaking evaluations to `best/`, and deletes all others.

    A worker writes its weights to `candidates/` before it reports its result; only when the row is
    in the ledger does `accept` move them over the old best. The header of a weight file names its
    evaluation, so that after a crash between any two steps it is known whose weights are where.

    Args:
        storage: the run directory.
    """

    FOLDER = posixpath.dirname(MODEL)

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @property
    def uri(self) -> str:
        """The place of the weight file."""
        return self._storage.child(MODEL).uri

    @property
    def plan_uri(self) -> str:
        """The place of the plan."""
        return self._storage.child(PLAN).uri

    @property
    def exists(self) -> bool:
        """Whether there are weights, with their description."""
        return self._storage.exists(MODEL) and self._storage.exists(CARD)

    @property
    def owner(self) -> int | None:
        """The evaluation whose weights are stored; None without a readable weight file."""
        try:
            (size,) = struct.unpack("<Q", self._storage.read_head(MODEL, 8))
            header = json.loads(self._storage.read_head(MODEL, min(size, 1 << 26), offset=8))
            return int(header["__metadata__"]["evaluation"])
        except (OSError, struct.error, ValueError, LookupError, TypeError):
            return None
        except (OverflowError, RecursionError):  # a number or a nest without end
            return None

    def write(self, weights: Mapping[str, Tensor], evaluation: int) -> None:
        """Write weights that were trained again in place of a lost file.

        Raises:
            OSError: the storage is full or unreachable.
        """
        self._storage.write(MODEL, _weight_file(weights, evaluation))

    def write_candidate(self, weights: Mapping[str, Tensor], evaluation: int) -> None:
        """Write the weights of an evaluation that may be the best; `accept` or `reject` follows.

        Raises:
            OSError: the storage is full or unreachable.
        """
        self._storage.write(candidate_path(evaluation), _weight_file(weights, evaluation))

    def weights(self) -> dict[str, Tensor]:
        """The weights, on the CPU.

        Raises:
            OSError: there is no weight file, or it cannot be read.
            safetensors.SafetensorError: it is damaged.
        """
        from safetensors.torch import load

        return dict(load(self._storage.read(MODEL)))

    def accept(self, row: Evaluation, card: Mapping[str, Any]) -> None:
        """Make a row's candidate the best model, if there is one, and describe it.

        Args:
            row: the best evaluation.
            card: what is needed to load a model of this search.
        """
        candidate = candidate_path(row.evaluation)
        if self._storage.exists(candidate):
            self._storage.move(candidate, MODEL)
        described = dict(card) | {"evaluation": row.evaluation} | row.scores.columns
        self._storage.write(CARD, _pretty(described))
        self._storage.write(PLAN, _pretty(row.whole_plan))

    def reject(self, evaluation: int) -> None:
        """Delete the candidate of an evaluation that is not the best."""
        self._storage.delete(candidate_path(evaluation))

    def repair(self, best: Evaluation | None, card: Mapping[str, Any]) -> None:
        """Finish what an interrupted search began, and delete all candidates.

        Raises:
            UserError: a folder is a link, which leads to files that are not this search's.
        """
        if best is not None:
            self.accept(best, card)  # also where only the description was missing
        self.delete_candidates()

    def delete_candidates(self) -> None:
        """Delete every candidate; no evaluation may be running."""
        for name in self._storage.list(CANDIDATES):
            self._storage.delete(f"{CANDIDATES}/{name}")

    def card(self) -> dict[str, Any]:
        """The description: classes, image size, mean, std, units, evaluation and intensity.

        Raises:
            UserError: it is missing or damaged.
        """
        try:
            card = json.loads(self._storage.read(CARD))
            known = {key: card[key] for key in _CARD_KEYS}
            return known | {key: card[key] for key in _OPTIONAL_KEYS if key in card}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            raise self.damaged() from None

    def plan(self) -> dict[str, Any]:
        """The plan, as `Plan.from_json` reads it.

        Raises:
            UserError: it is missing or damaged.
        """
        try:
            plan = json.loads(self._storage.read(PLAN))
        except (FileNotFoundError, ValueError):
            raise self.damaged() from None
        if not isinstance(plan, dict):
            raise self.damaged()
        return plan

    def damaged(self) -> UserError:
        """The error to raise where the files do not fit together."""
        return UserError(
            f"{self._storage.uri}/{self.FOLDER} is damaged; delete result.json and go "
            "on with --resume"
        )

    def of_another(self, evaluation: int) -> UserError:
        """The error to raise where the weights are not of the evaluation that is described."""
        return UserError(
            f"{self.uri} is not of evaluation {evaluation}, which {CARD} describes: the search was "
            "killed as it wrote, or still writes; go on with --resume"
        )


def candidate_path(evaluation: int) -> str:
    """The file in which a worker writes the weights of an evaluation."""
    return f"{CANDIDATES}/{evaluation:06d}.safetensors"


def _weight_file(weights: Mapping[str, Tensor], evaluation: int) -> bytes:
    """A safetensors file that names its evaluation; equal weights make equal bytes.

    The library writes the metadata in another order each time.
    """
    from safetensors.torch import save

    content = save(dict(weights), {"evaluation": str(evaluation), "format": "pt"})
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return content[:8] + text.ljust(size) + content[8 + size :]


def _pretty(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=2, allow_nan=False) + "\n").encode()
