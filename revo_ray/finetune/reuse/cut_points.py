"""Where a network can be cut, so that what lies below the cut need not be computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

Forward = Callable[[Tensor], Tensor]
"""Normalised images (B, 3, S, S) to logits (B, C): the model, under the caller's precision."""

_Shape = tuple[tuple[int, ...], torch.dtype]


@dataclass(frozen=True)
class Cut:
    """A module whose output is a feature that the rest of the network goes on from.

    Attributes:
        name: the module.
        parameters: what its output depends on, by autograd's own graph.
        stateful: modules whose running statistics move in training that ran before it ended.
        draws: whether random numbers were drawn before it ended (dropout, stochastic depth).
        shape: of the feature of one image, and its type.
        skipped: modules to leave out below the cut, each with what its calls gave for one image.
    """

    name: str
    parameters: frozenset[str]
    stateful: frozenset[str]
    draws: bool
    shape: _Shape
    skipped: Mapping[str, tuple[_Shape, ...]]

    @property
    def nbytes(self) -> int:
        """Bytes of the feature of one image."""
        size, dtype = self.shape
        return torch.Size(size).numel() * dtype.itemsize


@dataclass
class _Call:
    """A call of a module while the network runs."""

    name: str
    caller: _Call | None
    calls: list[_Call] = field(default_factory=list)
    shape: _Shape | None = None


def find_cuts(model: nn.Module, forward: Forward, images: Tensor) -> list[Cut]:
    """Every module that could be a cut, in the order in which their outputs are ready.

    Runs the model once in training mode with every parameter's gradient wanted, which moves
    buffers and draws random numbers: both are the caller's to put back. Whether a cut gives the
    network's own logits is for `Replay` to try.

    Args:
        model: its modules' modes are left changed.
        forward: runs it.
        images: (B, 3, S, S) normalised, two at least.
    """
    names = {module: name for name, module in model.named_modules() if name}
    buffers = {
        module: [buffer.clone() for buffer in module.buffers(recurse=False)] for module in names
    }
    # An AccumulateGrad node is where the graph ends: at a parameter.
    parameters = {id(parameter): name for name, parameter in model.named_parameters()}
    reached: dict[Any, frozenset[str]] = {}
    stack = [_Call("", None)]
    stateful: set[str] = set()
    counts: dict[str, int] = {}
    found: list[Cut] = []
    before = _random_state(images.device)

    def begin(module: nn.Module, _: Any) -> None:
        name = names[module]
        counts[name] = counts.get(name, 0) + 1
        if buffers[module]:
            stateful.add(name)
        stack.append(_Call(name, stack[-1]))

    def end(module: nn.Module, _: Any, output: Any) -> None:
        call = stack.pop()
        stack[-1].calls.append(call)
        if not isinstance(output, Tensor) or output.shape[:1] != images.shape[:1]:
            return
        call.shape = tuple(output.shape[1:]), output.dtype
        skipped: dict[str, tuple[_Shape, ...]] = {}
        for above in stack:
            for other in above.calls:
                if other is call:
                    continue
                if other.shape is None:
                    return
                skipped[other.name] = (*skipped.get(other.name, ()), other.shape)
        draws = any(
            not torch.equal(one, two)
            for one, two in zip(before, _random_state(images.device), strict=True)
        )
        depends = _parameters_behind(output.grad_fn, parameters, reached)
        found.append(Cut(call.name, depends, frozenset(stateful), draws, call.shape, skipped))

    wanted = {parameter: parameter.requires_grad for parameter in model.parameters()}
    hooks = [module.register_forward_pre_hook(begin) for module in names]
    hooks += [module.register_forward_hook(end) for module in names]
    model.train().requires_grad_(True)
    try:
        with torch.enable_grad():
            forward(images)
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, grad in wanted.items():
            parameter.requires_grad_(grad)
    moved = {
        names[module]
        for module, own in buffers.items()
        if not all(map(torch.equal, own, module.buffers(recurse=False)))
    }
    return [replace(cut, stateful=cut.stateful & moved) for cut in found if counts[cut.name] == 1]


class Replay:
    """Runs what lies above a cut, from features that were kept.

    Modules below the cut give NaN of the right shape at once, until the cut is reached: whatever
    of them the network still used, by a skip connection, say, would show in the logits.
    """

    def __init__(self, model: nn.Module, forward: Forward, cut: Cut, image: torch.Size) -> None:
        self._forward, self._image = forward, image
        self._target = model.get_submodule(cut.name)
        self._nan = {
            dtype: torch.full((), torch.nan, dtype=dtype, device=next(model.parameters()).device)
            for _, dtype in (cut.shape, *(s for shapes in cut.skipped.values() for s in shapes))
            if dtype.is_floating_point
        } | {torch.float32: torch.full((), torch.nan, device=next(model.parameters()).device)}
        self._skipped = [
            (model.get_submodule(name), shapes) for name, shapes in cut.skipped.items()
        ]
        if any("forward" in vars(module) for module in (self._target, *dict(self._skipped))):
            raise RuntimeError("a module's forward was replaced by somebody else")

    def __call__(self, features: Tensor) -> Tensor:
        """Logits (B, C) from the features (B, …) at the cut, which may be changed in place.

        Raises:
            RuntimeError: the network does not come by the cut.
        """
        arrived = False

        def arrive(*_: Any, **__: Any) -> Tensor:
            nonlocal arrived
            arrived = True
            self._lift()
            return features

        count = len(features)
        for module, shapes in self._skipped:
            module.__dict__["forward"] = self._stub(count, shapes)
        self._target.__dict__["forward"] = arrive
        try:
            logits = self._forward(self._nan[torch.float32].expand(count, *self._image))
        finally:
            self._lift()
        if not arrived:
            raise RuntimeError("the cut was never reached")
        return logits

    def _stub(self, count: int, shapes: tuple[_Shape, ...]) -> Callable[..., Tensor]:
        calls = iter(shapes)

        def stub(*_: Any, **__: Any) -> Tensor:
            size, dtype = next(calls)
            return self._nan[dtype].expand(count, *size)

        return stub

    def _lift(self) -> None:
        for module in (self._target, *(module for module, _ in self._skipped)):
            module.__dict__.pop("forward", None)


class _ReachedError(Exception):
    """The cut's output is there, and nothing above it is wanted."""


@contextmanager
def capture(model: nn.Module, cut: Cut, into: list[Tensor]) -> Iterator[None]:
    """Append a copy of what the cut gives, each time that the network runs."""

    def keep(_: nn.Module, __: Any, output: Tensor) -> None:
        into.append(output.clone())

    hook = model.get_submodule(cut.name).register_forward_hook(keep)
    try:
        yield
    finally:
        hook.remove()


def features_at(model: nn.Module, forward: Forward, cut: Cut, images: Tensor) -> Tensor:
    """What the cut gives (B, …) for normalised images (B, 3, S, S); nothing above it runs.

    Raises:
        RuntimeError: the network does not come by the cut.
    """

    def stop(_: nn.Module, __: Any, output: Tensor) -> NoReturn:
        raise _ReachedError(output.detach().clone())

    hook = model.get_submodule(cut.name).register_forward_hook(stop)
    try:
        forward(images)
    except _ReachedError as reached:
        features: Tensor = reached.args[0]
        return features
    finally:
        hook.remove()
    raise RuntimeError("the cut was never reached")


def outputs_below(
    model: nn.Module, forward: Forward, cut: Cut, images: Tensor, positions: list[int]
) -> list[tuple[str, Tensor]]:
    """What each module up to a cut gives (P, …) for the images at some positions (P,) in a batch.

    By name, in the order in which they end.

    Raises:
        RuntimeError: the network does not come by the cut.
    """
    found: list[tuple[str, Tensor]] = []
    names = {module: name for name, module in model.named_modules()}

    def keep(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.shape[:1] == images.shape[:1]:
            found.append((names[module], output[positions].clone()))

    hooks = [module.register_forward_hook(keep) for module in names]
    try:
        features_at(model, forward, cut, images)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def deepest(cuts: list[Cut], trained: Set[str], moving: Set[str]) -> Iterator[Cut]:
    """The cuts that nothing below changes, the deepest first.

    Args:
        cuts: as `find_cuts` orders them.
        trained: parameters that train.
        moving: modules whose buffers change in training.
    """
    for cut in reversed(cuts):
        if not (cut.parameters & trained or cut.stateful & moving):
            yield cut


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
