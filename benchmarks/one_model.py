"""Checks of one network: its units, two steps of training, and its export.

Each finding is compared with something that the program does not use itself: the order of the units
with autograd's own numbers of the operations, frozen weights with copies of them, an exported model
with the network in torch.
"""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from revo_ray.data.splits.split import Splits
from revo_ray.data.table.image_table import Table
from revo_ray.data.table.images import Images
from revo_ray.errors import SearchError, first_line
from revo_ray.finetune.network import units as unit_rules
from revo_ray.finetune.network.backbone import Backbone, check_image_size, load_backbone
from revo_ray.finetune.network.first_use import find_first_use
from revo_ray.finetune.network.units import GRANULARITIES, MOST_OF_A_BODY, Unit, find_units
from revo_ray.finetune.network.weights import load_own
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.model.description import Description
from revo_ray.model.export.export import TOLERANCE
from revo_ray.model.export.hub_folder import WEIGHTS, open_folder, write_folder
from revo_ray.model.export.onnx_file import open_onnx, write_onnx
from revo_ray.model.loaded_model import LoadedModel, Member
from revo_ray.settings.schema import TrainConfig
from revo_ray.storage import Storage

CLASSES = 10
BATCH, STEPS = 2, 2
IMAGES = 8
RATE = 1e-3
SPREAD = 0.02
"""Standard deviation of the values that a constant parameter gets."""

LONGEST = 160
"""Characters of a cause that are kept."""

Finding = dict[str, Any]
"""Figures of a network, and under `problems` a line for each property that it lacks."""


def check(name: str, image_size: int, seed: int = 0) -> Finding:
    """Check one network, built without pretrained weights.

    Args:
        name: `timm/NAME` or `torchvision/NAME`.
        image_size: side of the images in pixels.
        seed: of all that is random.

    Raises:
        UserError: the network cannot be built, takes no such images, or cannot be cut into units.
    """
    torch.manual_seed(seed)
    backbone = load_backbone(name, "none", CLASSES, seed=seed, image_size=image_size)
    model = backbone.model
    as_if_trained(model)
    use = find_first_use(model, image_size)
    check_image_size(backbone, image_size, use)
    found: Finding = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "image_size": image_size,
        "heads": 1 if isinstance(backbone.head, str) else len(backbone.head),
        "unbalanced": [],
        "by_modules": False,
    }
    problems: list[str] = []
    uses = first_uses(model, torch.randn(2, 3, image_size, image_size))
    found["unused"] = [name for name, _ in model.named_parameters() if name not in uses]
    if sorted(use.unused) != sorted(found["unused"]):
        problems.append(f"autograd finds {len(found['unused'])} unused, not {len(use.unused)}")
    cuts: dict[str, list[Unit]] = {}
    for granularity in GRANULARITIES:
        with warnings_of(unit_rules) as warned:
            cuts[granularity] = find_units(model, granularity, backbone.head, use)
        found[granularity] = len(cuts[granularity])
        found["by_modules"] |= any("follow the modules" in line for line in warned)
        unbalanced = any("choose a finer" in line for line in warned)
        found["unbalanced"] += [granularity] if unbalanced else []
        problems += unit_problems(model, cuts[granularity], uses, granularity)
        if granularity != "layer" and not unbalanced:
            problems += balance_problems(model, cuts[granularity], granularity)
    trained, found["unmoved"] = train(backbone, cuts["layer"], image_size, seed, problems)
    unused = set(found["unused"])
    found["unmoved"] = [name for name in found["unmoved"] if name not in unused]
    found |= export(name, image_size, trained, problems)
    return found | {"problems": problems}


def as_if_trained(model: nn.Module) -> None:
    """Give constant parameters small values around their own, as training would.

    A residual branch that ends in a scale of 0 would pass no gradient.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.min() == parameter.max():
                parameter.add_(torch.randn_like(parameter), alpha=SPREAD)


def first_uses(model: nn.Module, images: Tensor) -> dict[str, int]:
    """The number of the first operation that takes each parameter, as autograd counts them.

    The pass fills the statistics of BatchNorm. A parameter without a gradient has no number.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    output = model.train()(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    uses: dict[str, int] = {}
    waiting, seen = [output.grad_fn], {output.grad_fn}
    while waiting:
        node = waiting.pop()
        for below, _ in node.next_functions:
            if below is None:
                continue
            if (name := names.get(id(getattr(below, "variable", None)))) is not None:
                number = node._sequence_nr()
                uses[name] = min(number, uses.get(name, number))
            elif below not in seen:
                seen.add(below)
                waiting.append(below)
    return uses


def unit_problems(
    model: nn.Module, units: Sequence[Unit], uses: dict[str, int], granularity: str
) -> Iterator[str]:
    """Parameters that stand in no unit or several, and units that stand too early or too late."""
    counts = Counter(chain.from_iterable(unit.parameters for unit in units))
    known = [name for name, _ in model.named_parameters()]
    wrong = [name for name in {*known, *counts} if counts[name] != 1 or name not in known]
    if wrong:
        yield f"{granularity}: {min(wrong)} stands in {counts[min(wrong)]} units"
    starts = [
        (min(numbers), unit.name)
        for unit in units
        if (numbers := [uses[name] for name in unit.parameters if name in uses])
    ]
    for (before, early), (after, late) in pairwise(starts):
        if before > after:
            yield f"{granularity}: {late} is used before {early}"


def balance_problems(model: nn.Module, units: Sequence[Unit], granularity: str) -> Iterator[str]:
    """A unit that holds most of the body's parameters."""
    sizes = {
        unit.name: sum(model.get_parameter(name).numel() for name in unit.parameters)
        for unit in units
        if not unit.head
    }
    largest = max(sizes, key=sizes.__getitem__)
    share = sizes[largest] / sum(sizes.values())
    if share >= MOST_OF_A_BODY:
        yield f"{granularity}: {largest} holds {share:.0%} without a warning"


def train(
    backbone: Backbone, units: Sequence[Unit], image_size: int, seed: int, problems: list[str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Train two steps under two plans, each of which freezes the units that the other trains.

    The head trains in both. `problems` gets a line for each unit that moves or rests wrongly.

    Returns:
        The state dict that the second leaves, and the parameters that moved in neither.
    """
    settings = {"epochs": 1, "batch_size": BATCH, "seed": seed}
    splits = Splits(*map(np.array, np.split(np.arange(IMAGES), [BATCH * STEPS, IMAGES - 2])))
    tuner = FineTuner(
        backbone, units, images_table(image_size, seed), splits, TrainConfig(**settings)
    )
    model, unmoved = tuner.model, {name for name, _ in backbone.model.named_parameters()}
    before = tensors_of(model)
    for turn in range(2):
        trains = [unit.head or number % 2 == turn for number, unit in enumerate(units)]
        *_, last = tuner.run(Plan(tuple(RATE if each else 0.0 for each in trains)))
        after = tensors_of(model)
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        unmoved -= moved
        if last.diverged or not all(after[name].isfinite().all() for name in moved):
            problems.append("training ends in values that are no numbers")
        allowed = set[str]()
        for unit, each in zip(units, trains, strict=True):
            if each:
                allowed |= {*unit.parameters, *buffers_beside(model, unit)}
                if moved.isdisjoint(unit.parameters):
                    problems.append(f"{unit.name} does not move when it trains")
        problems += [f"{name} moves while it is frozen" for name in sorted(moved - allowed)]
    return tuner.state_dict(), sorted(unmoved)


def images_table(image_size: int, seed: int) -> Table:
    """A table in memory of smooth random images."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(IMAGES, 3, 5, 5, generator=generator)
    images = functional.interpolate(coarse, image_size, mode="bilinear", align_corners=True)
    pixels = (255 * images).byte().numpy()
    labels, classes = np.arange(len(pixels)) % CLASSES, tuple(map(str, range(CLASSES)))
    return Table(Path("none"), Images([pixels], image_size), labels, classes, pa.table({}))


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers, also of buffers that a state dict leaves out."""
    named = chain(model.named_parameters(), model.named_buffers())
    return {name: tensor.detach().clone() for name, tensor in named}


def buffers_beside(model: nn.Module, unit: Unit) -> Iterator[str]:
    """Names of the buffers in the modules that hold a unit's parameters, or freeze with it."""
    owners = {*unit.modules, *(name.rpartition(".")[0] for name in unit.parameters)}
    for owner in owners:
        for name, _ in model.get_submodule(owner).named_buffers(owner, recurse=False):
            yield name


def export(name: str, image_size: int, trained: dict[str, Tensor], problems: list[str]) -> Finding:
    """Export a network with trained weights, and open both forms again.

    Returns:
        `onnx`: the cause why ONNX cannot have it, or None; `onnx_difference`: the largest
        difference of a logit, relative to the largest logit if that is above 1.
    """
    model = loaded(name, image_size, trained)
    images = images_table(image_size, seed=1).images[np.arange(3)]
    wanted = model.classifier()
    logits = np.concatenate([wanted.logits(images), wanted.logits(images[:1])])
    if not np.ptp(logits, axis=0).max() > TOLERANCE:
        problems.append("the logits do not depend on the image")
    found: Finding = {"onnx": None, "onnx_difference": None}
    with tempfile.TemporaryDirectory(prefix="revo-") as folder:
        hub, file = Path(folder) / "hub", Path(folder) / "model.onnx"
        try:
            write_folder(model, hub, "")
            reloaded = load_file(hub / WEIGHTS)
            if reloaded.keys() != trained.keys() or not all(
                torch.equal(tensor, reloaded[key]) for key, tensor in trained.items()
            ):
                problems.append("safetensors: other weights come back")
            if not np.array_equal(
                open_folder(Storage(str(hub))).classifier().logits(images), logits[:3]
            ):
                problems.append("safetensors: the reloaded network has other logits")
        except Exception as error:
            problems.append(f"safetensors: {cause(error)}")
        try:
            write_onnx(model, file, "")
            opened = open_onnx(file, str(file))
            got = np.concatenate([opened.logits(images), opened.logits(images[:1])])
        except Exception as error:
            return found | {"onnx": cause(error)}
    largest = max(1.0, float(np.abs(logits).max()))
    found["onnx_difference"] = float(f"{np.abs(got - logits).max() / largest:.2g}")
    if not found["onnx_difference"] <= TOLERANCE:
        problems.append(f"ONNX: logits differ by {found['onnx_difference']}")
    return found


def loaded(name: str, image_size: int, weights: dict[str, Tensor]) -> LoadedModel:
    """The network as `load_form` gives it, of a search that nobody ran."""
    backbone = load_backbone(name, "none", CLASSES, image_size=image_size)
    load_own(backbone.model, weights)
    labels = tuple(map(str, range(CLASSES)))
    description = Description(name, labels, image_size, backbone.mean, backbone.std)
    return LoadedModel(description, (Member("model", 1.0, backbone.model.eval()),), backbone.head)


def cause(error: Exception) -> str:
    """The cause of an error in a few words; of a failed export, without the network's name."""
    line = first_line(error)
    if isinstance(error, SearchError):
        line = line.partition(": ")[2]
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} …"


@contextmanager
def warnings_of(module: Any) -> Iterator[list[str]]:
    """The lines that a module of revo-ray logs as warnings."""
    lines: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger, listener = logging.getLogger(module.__name__), Listener(logging.WARNING)
    logger.addHandler(listener)
    try:
        yield lines
    finally:
        logger.removeHandler(listener)
