"""Load a form of a search's result from its run directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from revo_ray.errors import UserError, first_line
from revo_ray.finetune.network.backbone import load_backbone
from revo_ray.finetune.network.weights import load_own
from revo_ray.model.classifier import Averaged, Classifier, Normalised, torch_classifier
from revo_ray.model.description import Description, checked_description
from revo_ray.rundir.forms import FORMS, Form, StoredForm
from revo_ray.rundir.run_directory import RunDirectory, run_directories
from revo_ray.settings.schema import DataConfig, ModelConfig, SearchConfig

if TYPE_CHECKING:
    from torch import Tensor

Head = str | tuple[str, ...]
"""Qualified name of a network's classifier, or names if it has several parts."""


@dataclass(frozen=True)
class Member:
    """A network of a model.

    Attributes:
        name: its name, which may be that of a folder: `evaluation-12`, `seed-3`.
        share: its weight in the mean of the probabilities.
        network: maps normalised images to logits; on the CPU, in evaluation mode.
    """

    name: str
    share: float
    network: nn.Module


@dataclass(frozen=True)
class LoadedModel:
    """A model as torch modules, with all that is needed to write it in another form.

    Attributes:
        description: its input and output.
        members: networks of one architecture whose probabilities are averaged, or one alone.
        head: of each network.
        bf16: the search computed in automatic mixed precision.
        data: configuration of its images; None if that is not known.
    """

    description: Description
    members: tuple[Member, ...]
    head: Head
    bf16: bool = False
    data: DataConfig | None = None

    @property
    def network(self) -> nn.Module:
        """The whole model: it maps normalised images to logits."""
        if len(self.members) == 1:
            return self.members[0].network
        return Averaged([m.network for m in self.members], [m.share for m in self.members])

    def classifier(self, *, bf16: bool = False) -> Classifier:
        """The whole model, for uint8 images."""
        module = Normalised(self.network, self.description)
        return torch_classifier(module, self.description, bf16=bf16)


def load_form(run: RunDirectory, form: Form | None = None) -> LoadedModel:
    """Load a form of a search's result, or the best model that it has so far.

    Args:
        run: the run directory of a search, finished or not.
        form: None: the one that `search.result` names, if it was made; else the best model.

    Raises:
        UserError: it is no run directory, it has no such form, or a file of it is damaged.
        OSError: the storage is unreachable.
    """
    check_is_run(run)
    config = run.config().config
    stored = find_form(run, config, form)
    description = _describe(run, config, stored)
    members, head = _load_members(run, config.model, stored, description)
    bf16 = config.train.precision == "bf16"
    return LoadedModel(description, members, head, bf16=bf16, data=config.data)


def _describe(run: RunDirectory, config: SearchConfig, stored: StoredForm) -> Description:
    card = stored.card
    try:
        if not isinstance(card["units"], list):
            raise ValueError("units are a list of texts")
        return checked_description(
            model=config.model.name,
            labels=card["classes"],
            image_size=card["image_size"],
            mean=card["mean"],
            std=card["std"],
            fit=config.data.fit,
            intensity=card.get("intensity") or None,
            max_pixels=config.data.max_pixels,
        )
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{run.storage.child(stored.name).uri}/config.json is damaged ({first_line(error)}); "
            "delete result.json and go on with --resume"
        ) from None


def find_form(run: RunDirectory, config: SearchConfig, form: Form | None) -> StoredForm:
    """Find a form of a search's result; `load_form` has the arguments.

    Raises:
        UserError: the search has no such form.
        OSError: the storage is unreachable.
    """
    stored = run.form(form or config.search.result)
    if form is None and (stored is None or run.outcome() is None):
        stored = run.form("best")  # also while a search that is carried on replaces its forms
    if stored is not None:
        _check_owner(run, stored)
        return stored
    outcome = run.outcome()
    if outcome is not None and outcome.best is None:
        raise UserError(
            f"{run.uri} has no best model: no evaluation succeeded; `revo-ray report` shows why"
        )
    if form in (None, "best"):
        raise UserError(f"{run.uri} has no best model yet; go on with --resume")
    made = ", ".join(name for name in FORMS if run.form(name) is not None) or "none"
    when = "its search made none" if outcome else "it is made when the search ends (--resume)"
    raise UserError(f"--form {form}: {run.uri} has no such form; {when}; it has {made}")


def load_network(
    model: ModelConfig, state: Mapping[str, Tensor], description: Description
) -> tuple[nn.Module, Head]:
    """Build a network and load its weights; gives its classifier's name too.

    Raises:
        RuntimeError: the weights are not those of the network.
    """
    size, classes = description.image_size, len(description.labels)
    backbone = load_backbone(model.name, "none", classes, image_size=size)
    network: Any = backbone.model
    if hasattr(network, "transform_input"):  # GoogLeNet's, which the pretrained weights expect
        network.transform_input = model.weights != "none"
    load_own(network, state)
    return network.eval(), backbone.head


def check_is_run(run: RunDirectory) -> None:
    """Check that a search was begun in a folder.

    Raises:
        UserError: it is missing, or holds something else.
    """
    storage = run.storage
    if run.exists:
        return
    if not storage.exists() or (storage.local and not storage.local.is_dir()):
        raise UserError(f"no such folder {run.uri!r}")
    if searches := run_directories(storage):
        raise UserError(
            f"{run.uri} holds the searches {', '.join(searches)}; name one of them: "
            f"{next(iter(searches.values())).uri}"
        )
    raise UserError(f"{run.uri} is no run directory: it has no {run.CONFIG}")


def _check_owner(run: RunDirectory, stored: StoredForm) -> None:
    """Check that weights are those of the evaluation that their description names."""
    folder = {"best": run.best, "plain": run.plain}.get(stored.name)
    if folder is not None and folder.owner != stored.card["evaluation"]:
        raise folder.of_another(stored.card["evaluation"])


def _load_members(
    run: RunDirectory, model: ModelConfig, stored: StoredForm, description: Description
) -> tuple[tuple[Member, ...], Head]:
    from safetensors import SafetensorError

    names = [f"evaluation-{evaluation}" for evaluation in stored.members]
    if stored.name != "ensemble":  # a soup's members have become one
        names = [stored.name]
    folder = run.storage.child(stored.name).uri
    members: list[Member] = []
    try:
        for name, (share, state) in zip(names, stored.weights(), strict=True):
            network, head = load_network(model, state, description)
            members.append(Member(name, share, network))
    except FileNotFoundError:
        raise UserError(
            f"{folder} is damaged: weights of a member are missing; delete result.json and go on "
            "with --resume"
        ) from None
    except (RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{folder} is damaged, or of another version of {model.name}: {first_line(error)}"
        ) from None
    if not members:
        raise UserError(f"{folder} is damaged: it names no evaluation")
    return tuple(members), head
