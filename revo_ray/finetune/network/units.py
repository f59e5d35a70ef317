"""The layers of a model as ordered units. Each unit has one gene in a genome."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from revo_ray.errors import UserError

GRANULARITIES = ("layer", "block", "stage")

_WEIGHT_TYPES = (nn.modules.conv._ConvNd, nn.Linear)
_CONTAINER_TYPES = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Unit:
    """Parameters that share one gene, and the modules that freeze together with them.

    Attributes:
        name: qualified name of the layer, block or stage.
        parameters: qualified names of the parameters, in the model's order.
        modules: qualified names of its convolutions and linear layers, and of other modules with
            state (norms, layer scales). In eval mode they keep their statistics; no other unit's
            modules are among them.
        head: whether it is the new classifier.
    """

    name: str
    parameters: tuple[str, ...]
    modules: tuple[str, ...]
    head: bool


def find_units(model: nn.Module, granularity: str = "layer", head: str | None = None) -> list[Unit]:
    """Cut a model into units that hold every parameter once, from the input to the output.

    A unit of a coarser granularity is a union of units of the finer one. The classifier is always
    a unit of its own. The order is that in which the modules are registered.

    - `layer`: one convolution or linear layer, with the norm and the loose parameters around it.
    - `block`: one residual or transformer block, or a single layer outside the blocks (stem,
      downsampling, classifier).
    - `stage`: one child of the module that holds all the blocks (`layer1` … of a ResNet,
      `features.0` … of a ConvNeXt), and each child of the modules above it. A network that does not
      group its blocks (MobileNet's `features`, a vision transformer) has one stage per block. Other
      layers of the module that holds the classifier join the stage before it.

    Args:
        model: the network.
        granularity: `layer`, `block` or `stage`.
        head: qualified name of the classifier, or of a module whose last layer it is; None: the
            model's last layer.

    Raises:
        UserError: the granularity is unknown, `head` holds no layer, or a parameter belongs to no
            unit or to several.
    """
    if granularity not in GRANULARITIES:
        raise UserError(
            f"granularity: unknown value {granularity!r}, choose from {', '.join(GRANULARITIES)}"
        )
    tree = _Tree.of(model, head)
    groups = _stages(tree) if granularity == "stage" else _blocks(tree)
    if granularity == "layer":
        groups = {weight: [weight] for weight in tree.weights}

    # The norms and the loose parameters around each weight belong to it.
    parameters: dict[str, list[str]] = defaultdict(list)
    modules: dict[str, list[str]] = defaultdict(list)
    order = {name: i for i, (name, _) in enumerate(model.named_parameters())}
    for name in order:
        parameters[_home(tree, name.rpartition(".")[0])].append(name)
    for path, module in tree.modules.items():
        if path in tree.weights or (_has_state(module) and not tree.inside.get(path)):
            modules[_home(tree, path)].append(path)

    units = [
        Unit(
            name=name,
            parameters=tuple(sorted((p for w in ws for p in parameters[w]), key=order.__getitem__)),
            modules=tuple(m for w in ws for m in modules[w]),
            head=tree.head in ws,
        )
        for name, ws in groups.items()
    ]
    counts = Counter(parameter for unit in units for parameter in unit.parameters)
    wrong = [parameter for parameter in order if counts[parameter] != 1]
    empty = [unit.name for unit in units if not unit.parameters]
    if wrong or empty:
        what = f"parameter {wrong[0]!r}" if wrong else f"unit {empty[0]!r} without parameters"
        raise UserError(f"the model cannot be cut into units: {what} (shared between layers?)")
    return units


@dataclass(frozen=True)
class _Tree:
    """The module tree by qualified name; the root's name is the empty string.

    Attributes:
        modules: every module.
        weights: convolutions and linear layers, in order.
        inside: the weights at or below each module, in order.
        head: the classifier.
    """

    modules: dict[str, nn.Module]
    weights: list[str]
    inside: dict[str, list[str]]
    head: str

    @classmethod
    def of(cls, model: nn.Module, head: str | None) -> _Tree:
        modules = dict(model.named_modules())
        weights: list[str] = []
        inside: dict[str, list[str]] = {}
        for path, module in modules.items():
            if isinstance(module, _WEIGHT_TYPES) and set(weights).isdisjoint(_upwards(path)):
                weights.append(path)
                for above in _upwards(path):
                    inside.setdefault(above, []).append(path)
        if not weights:
            raise UserError(f"{type(model).__name__} has no convolution or linear layer to tune")
        below_head = inside.get(head or "")
        if not below_head:
            raise UserError(
                f"{type(model).__name__} has no convolution or linear layer at {head!r}"
            )
        return cls(modules, weights, inside, below_head[-1])

    def children(self, path: str) -> list[str]:
        """The children of a module that hold a weight, in order."""
        return [name for name in _children(self.modules, path) if self.inside.get(name)]


def _home(tree: _Tree, path: str) -> str:
    """The weight whose unit gets the own parameters of the module at `path`."""
    for above in _upwards(path):
        if tree.inside.get(above) == [above]:
            return above
    inside = tree.inside.get(path, [])
    if path == "":
        return inside[0]
    if inside and _holds_stack(tree, path):
        # A position embedding of the whole encoder: it acts on what enters the first block.
        first = tree.weights.index(inside[0])
        return tree.weights[max(first - 1, 0)]
    if inside:
        return inside[-1]
    return _neighbour(tree, path)


def _neighbour(tree: _Tree, path: str) -> str:
    """The weight that a norm or another module without weights stands next to."""
    is_norm = "norm" in type(tree.modules[path]).__name__.lower()
    parent = path.rpartition(".")[0]
    while not tree.inside.get(parent):
        path, parent = parent, parent.rpartition(".")[0]
    names = _children(tree.modules, parent)
    position = names.index(path)
    before = [name for name in names[:position] if tree.inside.get(name)]
    after = [name for name in names[position + 1 :] if tree.inside.get(name)]
    follows_weight = bool(before) and tree.inside[before[-1]] == [before[-1]]
    # A norm after a whole block, not after a single layer, normalises the input of the next block.
    if before and (follows_weight or not is_norm or not after):
        return tree.inside[before[-1]][-1]
    return tree.inside[after[0]][0]


def _blocks(tree: _Tree) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}

    def walk(path: str) -> None:
        weights = tree.inside[path]
        if weights == [path] or _is_block(tree, path):
            groups[path] = weights
        else:
            for child in tree.children(path):
                walk(child)

    walk("")
    return groups


def _is_block(tree: _Tree, path: str) -> bool:
    module, weights = tree.modules[path], tree.inside[path]
    if path == "" or len(weights) < 2 or tree.head in weights:
        return False
    if isinstance(module, _CONTAINER_TYPES) or _holds_stack(tree, path):
        return False
    parent = tree.modules[path.rpartition(".")[0]]
    # A module with blocks as plain attributes is a stage (timm's RegNet), but in a container it is
    # one block of several parts (an MLP-Mixer's two MLPs).
    return isinstance(parent, _CONTAINER_TYPES) or not _repeats_blocks(tree, path)


def _holds_stack(tree: _Tree, path: str) -> bool:
    """Whether a container at or below the module holds several blocks of one type."""
    return any(
        path in _upwards(below) and _repeats_blocks(tree, below)
        for below in tree.inside
        if isinstance(tree.modules[below], _CONTAINER_TYPES)
    )


def _repeats_blocks(tree: _Tree, path: str) -> bool:
    types = Counter(
        type(tree.modules[child])
        for child in tree.children(path)
        if len(tree.inside[child]) > 1 and not isinstance(tree.modules[child], _CONTAINER_TYPES)
    )
    return any(count > 1 for count in types.values())


def _stages(tree: _Tree) -> dict[str, list[str]]:
    blocks = _blocks(tree)
    whole = {name for name, weights in blocks.items() if weights != [name]}
    if not whole:
        return blocks

    def holds_block(path: str) -> bool:
        return any(path in _upwards(name) for name in whole)

    paths = tree.children("")
    while True:
        holders = [path for path in paths if holds_block(path)]
        if len(holders) > 1 or holders[0] in whole:
            break
        at = paths.index(holders[0])
        paths[at : at + 1] = tree.children(holders[0])

    groups: dict[str, list[str]] = {}
    for path in paths:
        weights = [weight for weight in tree.inside[path] if weight != tree.head]
        with_head = len(weights) < len(tree.inside[path])
        if weights and with_head and groups:
            groups[next(reversed(groups))].extend(weights)
        elif weights:
            groups[path] = weights
        if with_head:
            groups[tree.head] = [tree.head]
    return groups


def _has_state(module: nn.Module) -> bool:
    return bool([*module.parameters(recurse=False), *module.buffers(recurse=False)])


def _children(modules: Mapping[str, nn.Module], path: str) -> list[str]:
    names = (name for name, _ in modules[path].named_children())
    return [f"{path}.{name}" if path else name for name in names]


def _upwards(path: str) -> Iterator[str]:
    """The module and all modules around it."""
    yield path
    while path:
        path = path.rpartition(".")[0]
        yield path
