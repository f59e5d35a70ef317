"""The module tree of a network, and the weight that each parameter and module belongs to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from revo_ray.errors import UserError
from revo_ray.finetune.network.first_use import FirstUse, find_first_use

WEIGHT_TYPES = (nn.modules.conv._ConvNd, nn.Linear)
CONTAINER_TYPES = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Tree:
    """The module tree by qualified name; the root's name is the empty string.

    Attributes:
        modules: every module.
        use: when the parameters are first used.
        weights: convolutions and linear layers, in the order of first use.
        inside: the weights at or below each module, in that order.
        place: the place of each weight in `use.order`.
        classifiers: qualified names of the classifier's modules.
        heads: the weights inside them.
    """

    modules: Mapping[str, nn.Module]
    use: FirstUse
    weights: list[str]
    inside: Mapping[str, list[str]]
    place: Mapping[str, int]
    classifiers: tuple[str, ...]
    heads: frozenset[str]

    @classmethod
    def of(cls, model: nn.Module, classifiers: tuple[str, ...], use: FirstUse | None) -> Tree:
        """The tree of a model. Without classifiers, the weight that runs last is the classifier.

        Raises:
            UserError: there is no weight, or none in a classifier, or the model takes no images.
        """
        modules = dict(model.named_modules())
        found: list[str] = []
        for path, module in modules.items():
            if isinstance(module, WEIGHT_TYPES) and set(found).isdisjoint(upwards(path)):
                found.append(path)
        if not found:
            raise UserError(f"{type(model).__name__} has no convolution or linear layer to tune")
        use = use or find_first_use(model)
        place = {path: _first_place(model, path, use) for path in found}
        weights = sorted(found, key=place.__getitem__)
        inside: dict[str, list[str]] = {}
        for weight in weights:
            for above in upwards(weight):
                inside.setdefault(above, []).append(weight)
        classifiers = classifiers or (weights[-1],)
        for classifier in classifiers:
            if not inside.get(classifier):
                raise UserError(
                    f"{type(model).__name__} has no convolution or linear layer at {classifier!r}"
                )
        heads = frozenset(w for classifier in classifiers for w in inside[classifier])
        return cls(modules, use, weights, inside, place, classifiers, heads)

    @property
    def head_name(self) -> str:
        """The classifier's only weight, or else its first module."""
        return next(iter(self.heads)) if len(self.heads) == 1 else self.classifiers[0]

    def children(self, path: str) -> list[str]:
        """The children of a module that hold a weight, in the order of their registration."""
        names = (name for name, _ in self.modules[path].named_children())
        paths = (f"{path}.{name}" if path else name for name in names)
        return [child for child in paths if self.inside.get(child)]

    def in_head(self, path: str) -> bool:
        """Whether the module is the classifier or lies inside it."""
        return not set(self.classifiers).isdisjoint(upwards(path))

    def parameters_by_weight(self) -> Mapping[str, list[str]]:
        """Each weight with the names of its parameters, and of those around it."""
        found: dict[str, list[str]] = defaultdict(list)
        for name, place in self.use.order.items():
            found[self._home(name.rpartition(".")[0], place)].append(name)
        return found

    def modules_by_weight(self) -> Mapping[str, list[str]]:
        """Each weight with the modules that freeze together with it."""
        found: dict[str, list[str]] = defaultdict(list)
        for path, module in self.modules.items():
            own = [*module.named_parameters(recurse=False)]
            if path in self.weights:
                found[path].append(path)
            elif (own or any(True for _ in module.buffers(recurse=False))) and (
                not self.inside.get(path)
            ):
                names = (f"{path}.{name}" for name, _ in own)
                places = [self.use.order[name] for name in names if name in self.use.order]
                begin, _ = self.use.calls.get(path, (len(self.use.order), 0))
                # Without parameters, it comes between the ones before it and those behind it.
                found[self._home(path, min(places, default=begin - 0.5))].append(path)
            elif path in self.use.draws:
                found[self._last_before_draw(path)].append(path)
        return found

    def _home(self, path: str, place: float) -> str:
        """The weight whose unit gets what is used at a time as a part of the module at `path`."""
        if self.in_head(path):
            return next(weight for weight in self.weights if weight in self.heads)
        home = self._neighbour(path, place)
        body = [weight for weight in self.weights if weight not in self.heads]
        # The classifier stands alone: a norm before it closes the body.
        return body[-1] if home in self.heads and body else home

    def _neighbour(self, path: str, place: float) -> str:
        """The weight that a parameter or a module without weights stands next to."""
        for above in upwards(path):
            if self.inside.get(above) == [above]:
                return above
        inside = self.inside.get(path)
        if inside:  # a loose parameter of a module that holds weights
            before = [weight for weight in inside if self.place[weight] < place]
            if not before and (path == "" or holds_stack(self, path)):
                # A position embedding of a whole encoder: it acts on what enters the first block.
                before = [weight for weight in self.weights if self.place[weight] < place]
            return before[-1] if before else inside[0]
        is_norm = "norm" in type(self.modules[path]).__name__.lower()
        parent = path.rpartition(".")[0]
        while not self.inside.get(parent):
            parent = parent.rpartition(".")[0]
        before = [weight for weight in self.inside[parent] if self.place[weight] < place]
        after = [weight for weight in self.inside[parent] if self.place[weight] > place]
        # A norm after a whole block, not after a single layer, normalises what the next block gets.
        follows_weight = bool(before) and before[-1].rpartition(".")[0] == parent
        if before and (follows_weight or not is_norm or not after):
            return before[-1]
        return after[0]

    def _last_before_draw(self, path: str) -> str:
        """The weight whose unit gets a module that draws random numbers."""
        place = self.use.draws[path]
        first = next(weight for weight in self.weights if weight in self.heads)
        around = next(above for above in upwards(path) if self.inside.get(above))
        beside_head = not self.heads.isdisjoint(self.inside[around])
        next_used = next((name for name, at in self.use.order.items() if at == place), "")
        if self.in_head(path) or (beside_head and self.in_head(next_used.rpartition(".")[0])):
            return first
        before = [weight for weight in self.weights if self.place[weight] < place]
        return before[-1] if before else self.weights[0]


def _first_place(model: nn.Module, path: str, use: FirstUse) -> int:
    names = (name for name, _ in model.get_submodule(path).named_parameters(path))
    # A parameter that two layers share is known under the name of the first.
    return min((use.order[name] for name in names if name in use.order), default=len(use.order))


def holds_stack(tree: Tree, path: str) -> bool:
    """Whether a container at or below the module holds several blocks of one type."""
    return any(
        path in upwards(below) and repeats_blocks(tree, below)
        for below in tree.inside
        if isinstance(tree.modules[below], CONTAINER_TYPES)
    )


def repeats_blocks(tree: Tree, path: str) -> bool:
    """Whether several children of the module are blocks of one type."""
    types = Counter(
        type(tree.modules[child])
        for child in tree.children(path)
        if len(tree.inside[child]) > 1 and not isinstance(tree.modules[child], CONTAINER_TYPES)
    )
    return any(count > 1 for count in types.values())


def upwards(path: str) -> Iterator[str]:
    """The module and all modules around it."""
    yield path
    while path:
        path = path.rpartition(".")[0]
        yield path
