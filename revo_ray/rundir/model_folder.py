"""Folders that hold one model: its weights, what is needed to load it, and its plan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, model_validator

from revo_ray.errors import UserError
from revo_ray.rundir.evaluation import MOST_UNITS, Evaluation
from revo_ray.rundir.model_file import owner_of, owners_of, read_weights, weight_file
from revo_ray.settings.limits import LARGEST_SIDE
from revo_ray.settings.safe_json import read_json
from revo_ray.storage import Storage

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "model.safetensors"
CARD = "config.json"
PLAN = "plan.json"

MOST_CLASSES = 1_000_000
MOST_MEMBERS = 1000


class _Card(BaseModel):
    """The keys of a description that are read; older ones and other forms lack some."""

    model_config = ConfigDict(allow_inf_nan=False)

    classes: list[str] = Field(max_length=MOST_CLASSES)
    image_size: StrictInt = Field(ge=1, le=LARGEST_SIDE)
    mean: list[float] = Field(max_length=3)
    std: list[float] = Field(max_length=3)
    units: list[str] = Field(max_length=MOST_UNITS)
    intensity: tuple[float, float] | None = None
    evaluation: StrictInt = Field(0, ge=0, le=999_999_999)
    members: dict[int, float] = Field({}, max_length=MOST_MEMBERS)
    candidates: list[int] = Field([], max_length=1_000_000)
    validation: dict[str, float | None] = {}
    cross_fitted: dict[str, float | None] | None = None

    @model_validator(mode="after")
    def _members_have_shares(self) -> _Card:
        shares = self.members.values()
        if shares and not (
            min(shares) > 0 and abs(sum(shares) - 1) < 1e-6 and min(self.members) >= 0
        ):
            raise ValueError("the shares of the members do not sum to 1")
        return self


class ModelFolder:
    """A folder of one model: `best/`, `plain/` or `soup/` of a run directory.

    The weights are replaced first, then the description: a process that dies in between leaves
    weights whose header names another evaluation than the description, which readers notice.

    Args:
        storage: the run directory.
        folder: name of the folder.
    """

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage = storage
        self.folder = folder

    def _path(self, name: str) -> str:
        return f"{self.folder}/{name}"

    @property
    def uri(self) -> str:
        """The place of the weight file."""
        return self._storage.child(self._path(WEIGHTS)).uri

    @property
    def plan_uri(self) -> str:
        """The place of the plan."""
        return self._storage.child(self._path(PLAN)).uri

    @property
    def exists(self) -> bool:
        """Whether there are weights, with their description."""
        return all(self._storage.exists(self._path(name)) for name in (WEIGHTS, CARD))

    @property
    def owner(self) -> int | None:
        """The evaluation whose weights are stored; None without a readable weight file."""
        return owner_of(self._storage, self._path(WEIGHTS))

    @property
    def owners(self) -> tuple[int, ...]:
        """The evaluation whose weights are stored, or those whose mean; none without a file."""
        return owners_of(self._storage, self._path(WEIGHTS))

    @property
    def sources(self) -> set[int]:
        """The evaluations that the weights are of, or that members were chosen among."""
        try:
            card = self.card()
        except UserError:  # it is written again
            card = {}
        return {*self.owners, *card.get("members", ()), *card.get("candidates", ())}

    def delete(self) -> None:
        """Delete the description, the plan and the weights.

        The weights go last, for they name the evaluation: a process that dies in between leaves
        what the next one deletes.
        """
        for name in (CARD, PLAN, WEIGHTS):
            self._storage.delete(self._path(name))

    def weights(self) -> dict[str, Tensor]:
        """The weights, on the CPU.

        Raises:
            OSError: there is no weight file, or it cannot be read.
            safetensors.SafetensorError: it is damaged.
        """
        return read_weights(self._storage, self._path(WEIGHTS))

    def write(self, weights: Mapping[str, Tensor], *evaluations: int) -> None:
        """Write the weights of an evaluation, or the mean of those of several.

        Raises:
            OSError: the storage is full or unreachable.
        """
        self._storage.write(self._path(WEIGHTS), weight_file(weights, *evaluations))

    def take(self, row: Evaluation, source: str, card: Mapping[str, Any]) -> None:
        """Copy the weights of an evaluation from a file, if they are there, and describe them.

        Args:
            row: the evaluation.
            source: its weight file in the run directory.
            card: what is needed to load a model of this search.
        """
        if self.owner != row.evaluation and self._storage.exists(source):
            self._storage.copy(source, self._path(WEIGHTS))
        self.describe(dict(card) | {"evaluation": row.evaluation} | row.scores.columns)
        self._write_if_new(PLAN, row.whole_plan)

    def describe(self, card: Mapping[str, Any]) -> None:
        """Write the description."""
        self._write_if_new(CARD, card)

    def _write_if_new(self, name: str, values: Mapping[str, Any]) -> None:
        content = (json.dumps(values, indent=2, allow_nan=False) + "\n").encode()
        try:
            if self._storage.read(self._path(name)) == content:
                return
        except FileNotFoundError:
            pass
        self._storage.write(self._path(name), content)

    def card(self) -> dict[str, Any]:
        """The description: classes, image size, mean, std, units; evaluation, members, intensity.

        Raises:
            UserError: it is missing or damaged.
        """
        try:
            card = _Card.model_validate(read_json(self._storage.read(self._path(CARD))))
        except (FileNotFoundError, ValueError):
            raise self.damaged() from None
        return card.model_dump(exclude_unset=True)

    def plan(self) -> dict[str, Any]:
        """The plan, as `Plan.from_json` reads it.

        Raises:
            UserError: it is missing or damaged.
        """
        try:
            plan = read_json(self._storage.read(self._path(PLAN)))
        except (FileNotFoundError, ValueError):
            raise self.damaged() from None
        if not isinstance(plan, dict):
            raise self.damaged()
        return plan

    def damaged(self) -> UserError:
        """The error to raise where the files do not fit together."""
        return UserError(
            f"{self._storage.uri}/{self.folder} is damaged; delete result.json and go "
            "on with --resume"
        )

    def of_another(self, evaluation: int) -> UserError:
        """The error to raise where the weights are not of the evaluation that is described."""
        return UserError(
            f"{self.uri} is not of evaluation {evaluation}, which {self._path(CARD)} describes: "
            "the search was killed as it wrote, or still writes; go on with --resume"
        )
