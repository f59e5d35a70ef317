"""The forms of a search's result, and where their weights lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from revo_ray.rundir.kept_models import KeptModels
from revo_ray.rundir.model_folder import CARD, ModelFolder
from revo_ray.storage import Storage

if TYPE_CHECKING:
    from torch import Tensor

Form = Literal["best", "ensemble", "soup", "plain"]
"""`best`: the best evaluation; `ensemble`: the weighted mean of the probabilities of several;
`soup`: the mean of the weights of several; `plain`: the best evaluation that had one rate for all
layers."""

FORMS: tuple[Form, ...] = ("best", "ensemble", "soup", "plain")

Members = dict[int, float]
"""Evaluations with their weights, which sum to 1."""


@dataclass(frozen=True)
class StoredForm:
    """A form in a run directory, from which a model can be loaded.

    Attributes:
        name: of the form.
        members: of the form. A soup's members have become one model.
        card: what is needed to load it: classes, image_size, mean, std, units.
    """

    name: Form
    members: Members
    card: dict[str, Any]
    _storage: Storage

    def weights(self) -> Iterator[tuple[float, dict[str, Tensor]]]:
        """The models whose probabilities are averaged: their shares, and their weights.

        Raises:
            OSError: a weight file is missing, or cannot be read.
            safetensors.SafetensorError: one is damaged.
        """
        if self.name != "ensemble":
            yield 1.0, ModelFolder(self._storage, self.name).weights()
            return
        for evaluation, share in self.members.items():
            yield share, self._holder(evaluation).weights(evaluation)

    @property
    def complete(self) -> bool:
        """Whether all weight files are there, and of the evaluations that they should be of."""
        if self.name == "ensemble":
            return all(self._holder(number).holds(number) for number in self.members)
        return ModelFolder(self._storage, self.name).owners == tuple(self.members)

    @property
    def files(self) -> list[str]:
        """Paths of its files in the run directory."""
        folder = ModelFolder(self._storage, self.name).folder
        own = [f"{folder}/{name}" for name in self._storage.list(folder)]
        if self.name != "ensemble":
            return own
        members = [self._holder(number).path(number) for number in self.members]
        return [path for path in own if path.endswith(CARD)] + members

    def _holder(self, evaluation: int) -> KeptModels:
        """The folder of a member's weights: the search's best few, or the ensemble's own."""
        kept = KeptModels(self._storage, "models")
        return kept if kept.holds(evaluation) else KeptModels(self._storage, "ensemble")


def read_form(storage: Storage, name: Form) -> StoredForm | None:
    """Find a form in a run directory; None if it has not been made.

    Raises:
        UserError: its description is damaged.
        OSError: the storage is unreachable.
    """
    folder = ModelFolder(storage, name)
    if not (storage.exists(f"{name}/config.json") if name == "ensemble" else folder.exists):
        return None
    card = folder.card()
    if "members" not in card and "evaluation" not in card:
        raise folder.damaged()
    return StoredForm(name, card.get("members") or {card["evaluation"]: 1.0}, card, storage)
