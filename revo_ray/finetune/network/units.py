"""The layers of a model as ordered units. Each unit has one gene in a genome."""

from __future__ import annotations

import logging
import os.path
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from revo_ray.errors import UserError
from revo_ray.finetune.network.first_use import FirstUse
from revo_ray.finetune.network.module_tree import (
    CONTAINER_TYPES,
    Tree,
    holds_stack,
    repeats_blocks,
    upwards,
)
from revo_ray.rundir.evaluation import MOST_UNITS

GRANULARITIES = ("layer", "block", "stage")

MOST_OF_A_BODY = 0.85
"""Share of the parameters outside the head from which on a block or stage is called unbalanced."""

_Groups = dict[str, list[str]]
"""Weights by the name of the unit that they form."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unit:
    """Parameters that share one gene, and the modules that freeze together with them.

    Attributes:
        name: qualified name of the layer, block or stage.
        parameters: qualified names of the parameters, in the model's order.
        modules: qualified names of its convolutions and linear layers, of other modules with state
            (norms, layer scales), and of modules that draw random numbers (dropout, stochastic
            depth). In eval mode they keep their statistics and draw nothing; no module belongs to
            two units. The modules inside one of them do not belong to the unit for that.
        head: whether it is the new classifier.
    """

    name: str
    parameters: tuple[str, ...]
    modules: tuple[str, ...]
    head: bool


def find_units(
    model: nn.Module,
    granularity: str = "layer",
    head: str | Sequence[str] | None = None,
    use: FirstUse | None = None,
) -> list[Unit]:
    """Cut a model into units that hold every parameter once, from the input to the output.

    A unit of a coarser granularity is a union of units of the finer one. The classifier is always
    a unit of its own. The units are in the order in which a forward pass first uses them.

    - `layer`: one convolution or linear layer, with the norm and the loose parameters around it.
    - `block`: one residual or transformer block, or a single layer outside the blocks (stem,
      downsampling, classifier).
    - `stage`: all that runs up to the end of a module that timm's `feature_info` names; what runs
      before the first and after the last such module are stages of their own. A network without
      `feature_info`, or one that this divides badly, has one stage for each child of the module
      that holds all the blocks (`layer1` … of a ResNet, `features.0` … of a ConvNeXt), and each
      child of the modules above it. A network that does not group its blocks (MobileNet's
      `features`) has one stage per block. Other layers of the module that holds the classifier
      join the stage before it.

    A loose parameter belongs to the weight that runs last before it inside its own module, or else
    to the next one there; a norm to the layer before it, or else to the next one. A parameter that
    the forward pass does not use comes after the one that is registered before it. Dropout and
    stochastic depth belong to the last weight that runs before they first draw, and the
    classifier's own dropout to the classifier.

    Args:
        model: the network.
        granularity: `layer`, `block` or `stage`.
        head: qualified name of the classifier, or names if it has several parts; all that is inside
            belongs to it. None: the layer that runs last.
        use: the model's `find_first_use`, if it is at hand.

    Raises:
        UserError: the granularity is unknown, `head` holds no layer, the model takes no images, or
            a parameter belongs to no unit or to several.
    """
    if granularity not in GRANULARITIES:
        raise UserError(
            f"granularity: unknown value {granularity!r}, choose from {', '.join(GRANULARITIES)}"
        )
    heads = (head,) if isinstance(head, str) else tuple(head or ())
    tree = Tree.of(model, heads, use)
    parameters, modules = tree.parameters_by_weight(), tree.modules_by_weight()
    groups = {weight: [weight] for weight in tree.weights if weight not in tree.heads}
    if granularity != "layer":
        groups = _blocks(tree)
    if granularity == "stage":
        groups = _stages(tree, model, groups, parameters)
    groups[tree.head_name] = [weight for weight in tree.weights if weight in tree.heads]
    registered = {name: i for i, (name, _) in enumerate(model.named_parameters())}
    units = [
        Unit(
            name=name,
            parameters=tuple(
                sorted((p for w in ws for p in parameters[w]), key=registered.__getitem__)
            ),
            modules=tuple(m for w in ws for m in modules[w]),
            head=name == tree.head_name,
        )
        for name, ws in groups.items()
    ]
    _check(units, registered)
    if granularity != "layer":
        _warn_of_most(units, model, granularity)
    return sorted(units, key=lambda unit: min(map(tree.use.order.__getitem__, unit.parameters)))


def _check(units: Sequence[Unit], parameters: Mapping[str, int]) -> None:
    if len(units) > MOST_UNITS:
        raise UserError(
            f"the network has {len(units):,} units, and a search at most {MOST_UNITS:,}; set "
            "model.granularity=block",
            key="model.granularity",
        )
    counts = Counter(parameter for unit in units for parameter in unit.parameters)
    wrong = [parameter for parameter in parameters if counts[parameter] != 1]
    empty = [unit.name for unit in units if not unit.parameters]
    if wrong or empty:
        what = f"parameter {wrong[0]!r}" if wrong else f"unit {empty[0]!r} without parameters"
        raise UserError(f"the model cannot be cut into units: {what} (shared between layers?)")


def _warn_of_most(units: Sequence[Unit], model: nn.Module, granularity: str) -> None:
    share, name = _largest(model, {u.name: u.parameters for u in units if not u.head})
    if share >= MOST_OF_A_BODY:
        _log.warning(
            "%s: the %s %s holds %.0f %% of the parameters; choose a finer model.granularity",
            *(type(model).__name__, granularity, name, 100 * share),
        )


def _largest(model: nn.Module, groups: Mapping[str, Sequence[str]]) -> tuple[float, str]:
    """The largest share of the parameters that one of the groups of names holds, and its name."""
    sizes = {
        group: sum(model.get_parameter(name).numel() for name in names)
        for group, names in groups.items()
    }
    largest = max(sizes, key=sizes.__getitem__, default="")
    return (sizes[largest] / max(1, sum(sizes.values())) if sizes else 0.0), largest


def _blocks(tree: Tree) -> _Groups:
    groups: _Groups = {}

    def walk(path: str) -> None:
        weights = tree.inside[path]
        if weights == [path] or _is_block(tree, path):
            if tree.heads.isdisjoint(weights):
                groups[path] = weights
        else:
            for child in tree.children(path):
                walk(child)

    walk("")
    return groups


def _is_block(tree: Tree, path: str) -> bool:
    module, weights = tree.modules[path], tree.inside[path]
    if path == "" or len(weights) < 2 or not tree.heads.isdisjoint(weights):
        return False
    if isinstance(module, CONTAINER_TYPES) or holds_stack(tree, path):
        return False
    parent = tree.modules[path.rpartition(".")[0]]
    # A module with blocks as plain attributes is a stage (timm's RegNet), but in a container it is
    # one block of several parts (an MLP-Mixer's two MLPs).
    return isinstance(parent, CONTAINER_TYPES) or not repeats_blocks(tree, path)


def _stages(
    tree: Tree, model: nn.Module, blocks: _Groups, parameters: Mapping[str, Sequence[str]]
) -> _Groups:
    def share(groups: _Groups) -> float:
        names = {name: [p for w in ws for p in parameters[w]] for name, ws in groups.items()}
        return _largest(model, names)[0]

    info: Any = getattr(model, "feature_info", None)
    groups = _stages_by_features(tree, [str(entry["module"]) for entry in info or ()], blocks)
    by_modules = _stages_by_modules(tree, blocks)
    if not groups:
        return by_modules
    if share(groups) < MOST_OF_A_BODY or share(by_modules) >= share(groups):
        return groups
    _log.warning(
        "%s: timm's feature_info puts %.0f %% of the parameters into one stage, so the stages "
        "follow the modules instead",
        *(type(model).__name__, 100 * share(groups)),
    )
    return by_modules


def _stages_by_features(tree: Tree, features: Sequence[str], blocks: _Groups) -> _Groups:
    """Blocks by the first of the modules `features` at whose end they have run."""
    # TResNet's stem has no name there.
    spans = [(name, *tree.use.calls[name]) for name in features if name and name in tree.use.calls]
    if not spans:
        return {}
    starts = spans[0][1] if tree.inside.get(spans[0][0]) else 0
    parts: dict[int, list[str]] = {}
    for block, weights in blocks.items():
        place = tree.place[weights[0]]
        ended = (i for i, (_, _, end) in enumerate(spans) if place < end)
        part = -1 if place < starts else next(ended, len(spans))
        parts.setdefault(part, []).append(block)
    groups: _Groups = {}
    for part, members in parts.items():
        name = spans[part][0] if 0 <= part < len(spans) else ""
        if not (name and tree.inside.get(name)):  # a stem, or an activation that ends a stage
            dotted = [member.replace(".", "/") for member in members]
            common = os.path.commonpath(dotted).replace("/", ".")
            own = {weight for member in members for weight in blocks[member]}
            name = common if own == set(tree.inside.get(common, ())) else members[0]
        groups[name] = [weight for member in members for weight in blocks[member]]
    return groups


def _stages_by_modules(tree: Tree, blocks: _Groups) -> _Groups:
    """Blocks by the children of the module that holds them all, and of the modules above it."""
    whole = {name for name, weights in blocks.items() if weights != [name]}
    if not whole:
        return blocks

    def holds_block(path: str) -> bool:
        return any(path in upwards(name) for name in whole)

    paths = tree.children("")
    while True:
        holders = [path for path in paths if holds_block(path)]
        if len(holders) > 1 or holders[0] in whole:
            break
        at = paths.index(holders[0])
        paths[at : at + 1] = tree.children(holders[0])

    groups: _Groups = {}
    for path in sorted(paths, key=lambda path: tree.place[tree.inside[path][0]]):
        weights = [weight for weight in tree.inside[path] if weight not in tree.heads]
        with_head = len(weights) < len(tree.inside[path])
        if weights and with_head and groups:
            groups[next(reversed(groups))].extend(weights)
        elif weights:
            groups[path] = weights
    return groups
