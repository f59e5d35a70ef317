"""Load the best model of a run directory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from revo_ray.errors import UserError, first_line
from revo_ray.finetune.network.backbone import load_backbone
from revo_ray.finetune.network.weights import load_own
from revo_ray.finetune.plan import Plan
from revo_ray.model.description import Description
from revo_ray.rundir.run_directory import RunDirectory, run_directories
from revo_ray.settings.schema import SearchConfig


@dataclass(frozen=True)
class LoadedModel:
    """The best model of a search, with the search that found it.

    Attributes:
        run: the run directory.
        config: configuration of the search.
        provenance: package versions, the code's revision and checksums of weights and table, as
            the search recorded them.
        description: the model's input and output.
        network: maps normalised images to logits; on the CPU, in evaluation mode.
        head: qualified name of the network's classifier, or names if it has several parts.
        evaluation: number of the evaluation that trained the weights.
        units: names of the units, input to output.
        plan: the plan under which the units were fine-tuned.
    """

    run: RunDirectory
    config: SearchConfig
    provenance: dict[str, Any]
    description: Description
    network: nn.Module
    head: str | tuple[str, ...]
    evaluation: int
    units: tuple[str, ...]
    plan: Plan


def load_best_model(run: RunDirectory) -> LoadedModel:
    """Load the best model that a search has so far.

    Raises:
        UserError: it is no run directory, it has no best model, or a file of it is damaged.
        OSError: the storage is unreachable.
    """
    _check_has_best(run)
    recorded, card = run.config(), run.best.card()
    plan = _read_plan(run, len(card["units"]))
    if run.best.owner != card["evaluation"]:
        raise run.best.of_another(card["evaluation"])
    description = Description(
        model=recorded.config.model.name,
        labels=tuple(card["classes"]),
        image_size=card["image_size"],
        mean=tuple(card["mean"]),
        std=tuple(card["std"]),
        fit=recorded.config.data.fit,
        intensity=tuple(card["intensity"]) if card.get("intensity") else None,
    )
    network, head = _load_network(run, recorded.config, description)
    return LoadedModel(
        run=run,
        config=recorded.config,
        provenance=recorded.provenance,
        description=description,
        network=network,
        head=head,
        evaluation=card["evaluation"],
        units=tuple(card["units"]),
        plan=plan,
    )


def _check_has_best(run: RunDirectory) -> None:
    storage = run.storage
    if not storage.exists() or (storage.local and not storage.local.is_dir()):
        raise UserError(f"no such folder {run.uri!r}")
    if run.exists:
        if run.best.exists:
            return
        if (outcome := run.outcome()) is not None and outcome.best is None:
            raise UserError(
                f"{run.uri} has no best model: no evaluation succeeded; `revo-ray report` shows why"
            )
        raise UserError(f"{run.uri} has no best model yet; go on with --resume")
    if searches := run_directories(storage):
        raise UserError(
            f"{run.uri} holds the searches {', '.join(searches)}; name one of them: "
            f"{next(iter(searches.values())).uri}"
        )
    raise UserError(f"{run.uri} is no run directory: it has no {run.CONFIG}")


def _read_plan(run: RunDirectory, units: int) -> Plan:
    """The plan of the best model, which has that many units."""
    try:
        plan = Plan.from_json(run.best.plan())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise run.best.damaged() from None
    if len(plan.unit_lrs) != units:
        raise run.best.damaged()
    return plan


def _load_network(
    run: RunDirectory, config: SearchConfig, description: Description
) -> tuple[nn.Module, str | tuple[str, ...]]:
    """The network with the best weights, and the name of its classifier."""
    from safetensors import SafetensorError

    backbone = load_backbone(
        config.model.name, "none", len(description.labels), image_size=description.image_size
    )
    network: Any = backbone.model
    if hasattr(network, "transform_input"):  # GoogLeNet's, which the pretrained weights expect
        network.transform_input = config.model.weights != "none"
    try:
        load_own(network, run.best.weights())
    except (RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{run.best.uri} is damaged, or of another version of {config.model.name}: "
            f"{first_line(error)}"
        ) from None
    return network.eval(), backbone.head
