"""The best model of a run directory, loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import yaml
from torch import nn

from revo_ray.errors import UserError
from revo_ray.finetune.network.backbone import load_backbone
from revo_ray.finetune.network.weights import first_line
from revo_ray.finetune.plan import Plan
from revo_ray.model.export.description import Description
from revo_ray.rundir.best_model import MODEL, weights_owner
from revo_ray.settings.deleted import read_back
from revo_ray.settings.schema import SearchConfig
from revo_ray.storage import Storage

CONFIG = "config.yaml"
CARD = "best/config.json"
PLAN = "best/plan.json"


@dataclass(frozen=True)
class Searched:
    """What a search found.

    Attributes:
        storage: the run directory.
        config: of the search.
        recorded: package versions, the code's revision and checksums, as `config.yaml` has them.
        description: what the model takes and answers.
        network: takes normalised images; on the CPU, in evaluation mode.
        head: the qualified name of its classifier.
        evaluation: whose weights they are.
        units: the names of the units.
        plan: what they were fine-tuned under.
    """

    storage: Storage
    config: SearchConfig
    recorded: dict[str, Any]
    description: Description
    network: nn.Module
    head: str
    evaluation: int
    units: tuple[str, ...]
    plan: Plan


def read_searched(storage: Storage) -> Searched:
    """Load the best model that a run directory has so far.

    Raises:
        UserError: it is no run directory, has no best model, or one that is damaged.
        OSError: the storage cannot be reached.
    """
    _check_has_best(storage)
    config, recorded = _read_config(storage)
    card, plan = _read_card(storage)
    if weights_owner(storage, MODEL) != card["evaluation"]:
        raise UserError(
            f"{storage.uri}/{MODEL} is not of evaluation {card['evaluation']}, which {CARD} "
            "describes: the search was killed as it wrote, or still writes; go on with --resume"
        )
    description = Description(
        model=config.model.name,
        labels=tuple(card["classes"]),
        image_size=card["image_size"],
        mean=tuple(card["mean"]),
        std=tuple(card["std"]),
    )
    network, head = _load_network(storage, config, description)
    return Searched(
        storage=storage,
        config=config,
        recorded=recorded,
        description=description,
        network=network,
        head=head,
        evaluation=card["evaluation"],
        units=tuple(card["units"]),
        plan=plan,
    )


def _check_has_best(storage: Storage) -> None:
    if not storage.exists() or (storage.local and not storage.local.is_dir()):
        raise UserError(f"no such folder {storage.uri!r}")
    if storage.exists(CONFIG):
        if storage.exists(MODEL) and storage.exists(CARD):
            return
        if _ended_without_best(storage):
            raise UserError(
                f"{storage.uri} has no best model: no evaluation succeeded; `revo-ray report` "
                "shows why"
            )
        raise UserError(f"{storage.uri} has no best model yet; go on with --resume")
    searches = [name for name in storage.list() if storage.exists(f"{name}/{CONFIG}")]
    if searches:
        raise UserError(
            f"{storage.uri} holds the searches {', '.join(searches)}; name one of them: "
            f"{storage.child(searches[0]).uri}"
        )
    raise UserError(f"{storage.uri} is no run directory: it has no {CONFIG}")


def _ended_without_best(storage: Storage) -> bool:
    try:
        return bool(json.loads(storage.read("result.json"))["best"] is None)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _read_config(storage: Storage) -> tuple[SearchConfig, dict[str, Any]]:
    try:
        values = yaml.safe_load(storage.read(CONFIG))
        recorded, _ = read_back(values)
        return SearchConfig.model_validate(values), recorded
    except (yaml.YAMLError, AttributeError, TypeError, ValueError):
        raise UserError(f"{storage.uri}/{CONFIG} is damaged; restore it") from None


def _read_card(storage: Storage) -> tuple[dict[str, Any], Plan]:
    """`best/config.json`, with all its keys, and the plan."""
    wanted = ("classes", "image_size", "mean", "std", "units", "evaluation")
    try:
        card = json.loads(storage.read(CARD))
        plan = Plan.from_json(json.loads(storage.read(PLAN)))
        if len(plan.unit_lrs) != len(card["units"]):
            raise ValueError("plan and units are of two evaluations")
        return {key: card[key] for key in wanted}, plan
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{storage.uri}/best is damaged; delete result.json and go on with --resume"
        ) from None


def _load_network(
    storage: Storage, config: SearchConfig, description: Description
) -> tuple[nn.Module, str]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    backbone = load_backbone(
        config.model.name,
        "none",
        len(description.labels),
        image_size=description.image_size,
    )
    network: Any = backbone.model
    if hasattr(network, "transform_input"):  # GoogLeNet's, which the pretrained weights expect
        network.transform_input = config.model.weights != "none"
    try:
        network.load_state_dict(load(storage.read(MODEL)))
    except (RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{storage.uri}/{MODEL} is damaged, or of another version of {config.model.name}: "
            f"{first_line(error)}"
        ) from None
    return network.eval(), backbone.head
