"""Points at which a network can be cut, so that the layers below need not be computed again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

Forward = Callable[[Tensor], Tensor]
"""Normalised images (B, 3, S, S) to logits (B, C): the model, under the caller's precision."""

Shape = tuple[tuple[int, ...], torch.dtype]
"""Shape of a feature of one image, and its type."""


@dataclass(frozen=True)
class Cut:
    """A module from whose output, a feature, the rest of the network can go on.

    Attributes:
        name: the module.
        parameters: parameters that the feature depends on, by autograd's own graph.
        stateful: modules whose running statistics move in training before the feature is ready.
        draws: modules that draw random numbers in training before it is ready (dropout, stochastic
            depth); the root's name is the empty string.
        shape: of the feature of one image, and its type.
        skipped: modules to leave out below the cut, with the shape that each call returned.
    """

    name: str
    parameters: frozenset[str]
    stateful: frozenset[str]
    draws: frozenset[str]
    shape: Shape
    skipped: Mapping[str, tuple[Shape, ...]]

    @property
    def nbytes(self) -> int:
        """Bytes of the feature of one image."""
        size, dtype = self.shape
        return torch.Size(size).numel() * dtype.itemsize


def find_cuts(model: nn.Module, forward: Forward, images: Tensor) -> list[Cut]:
    """Every module that could be a cut, in the order in which their outputs are ready.

    Runs the model once in training mode with the gradients of all parameters. That moves buffers
    and draws random numbers; the caller puts both back. Only `ForwardFromCut` finds out whether the
    network gives the same logits from a cut on.

    Args:
        forward: runs the model.
        images: (B, 3, S, S) normalised, two at least.
    """
    recorder = _Recorder(model, images)
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    modes = [(module, module.training) for module in model.modules()]
    model.train().requires_grad_(True)
    try:
        with torch.enable_grad(), ExitStack() as hooks:
            for module in recorder.names:
                hooks.enter_context(module.register_forward_pre_hook(recorder.begin))
                hooks.enter_context(module.register_forward_hook(recorder.end))
            forward(images)
    finally:
        for parameter, grad in wanted:
            parameter.requires_grad_(grad)
        for module, mode in modes:
            module.training = mode
    return recorder.cuts()


@dataclass
class _Call:
    """A call of a module while the network runs."""

    name: str
    calls: list[_Call] = field(default_factory=list)
    shape: Shape | None = None


class _Recorder:
    """Hooks that note each call of a module, and the cut that its output would be."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        self.names = {module: name for name, module in model.named_modules() if name}
        self._images = images
        self._buffers = {
            module: [buffer.clone() for buffer in module.buffers(recurse=False)]
            for module in self.names
        }
        # An AccumulateGrad node is where the graph ends: at a parameter.
        self._parameters = {id(parameter): name for name, parameter in model.named_parameters()}
        self._reached: dict[Any, frozenset[str]] = {}
        self._stack = [_Call("")]
        self._stateful: set[str] = set()
        self._counts = Counter[str]()
        self._found: list[Cut] = []
        self._random = _random_state(images.device)
        self._draws: set[str] = set()

    def begin(self, module: nn.Module, _: Any) -> None:
        """Hook before a module runs."""
        self._note_draws()
        name = self.names[module]
        self._counts[name] += 1
        if self._buffers[module]:
            self._stateful.add(name)
        self._stack.append(_Call(name))

    def end(self, module: nn.Module, _: Any, output: Any) -> None:
        """Hook after a module has run."""
        self._note_draws()
        call = self._stack.pop()
        self._stack[-1].calls.append(call)
        if not isinstance(output, Tensor) or output.shape[:1] != self._images.shape[:1]:
            return
        call.shape = tuple(output.shape[1:]), output.dtype
        skipped = self._skipped(call)
        if skipped is None:
            return
        depends = _parameters_behind(output.grad_fn, self._parameters, self._reached)
        stateful, draws = frozenset(self._stateful), frozenset(self._draws)
        self._found.append(Cut(call.name, depends, stateful, draws, call.shape, skipped))

    def cuts(self) -> list[Cut]:
        """The cuts at modules that ran once."""
        moved = {
            self.names[module]
            for module, own in self._buffers.items()
            if not all(map(torch.equal, own, module.buffers(recurse=False)))
        }
        once = (cut for cut in self._found if self._counts[cut.name] == 1)
        return [replace(cut, stateful=cut.stateful & moved) for cut in once]

    def _note_draws(self) -> None:
        """Note the innermost module if the random state has moved."""
        before, self._random = self._random, _random_state(self._images.device)
        if not all(map(torch.equal, before, self._random)):
            self._draws.add(self._stack[-1].name)

    def _skipped(self, call: _Call) -> dict[str, tuple[Shape, ...]] | None:
        """The calls that ended before this one began; None if one of them gave no feature."""
        skipped: dict[str, tuple[Shape, ...]] = {}
        for other in chain.from_iterable(above.calls for above in self._stack):
            if other is call:
                continue
            if other.shape is None:
                return None
            skipped[other.name] = (*skipped.get(other.name, ()), other.shape)
        return skipped


def _parameters_behind(
    node: Any, parameters: Mapping[int, str], reached: dict[Any, frozenset[str]]
) -> frozenset[str]:
    """The parameters that a value depends on; nodes seen before are looked up in `reached`."""
    if node is None:
        return frozenset()
    pending = [node]
    while pending:
        top = pending[-1]
        inputs = [before for before, _ in top.next_functions if before is not None]
        missing = [before for before in inputs if before not in reached]
        if missing and top not in reached:
            pending += missing
            continue
        own = parameters.get(id(getattr(top, "variable", None)))
        reached[top] = frozenset({own} if own else ()).union(*(reached[b] for b in inputs))
        pending.pop()
    return reached[node]


def _random_state(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states
