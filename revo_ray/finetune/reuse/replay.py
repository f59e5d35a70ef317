"""Running a part of a network: up to a cut, or from a cut on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from revo_ray.finetune.reuse.cut_points import Cut, Forward, Shape


class Replay:
    """Runs the network above a cut, from kept features.

    Until the cut is reached, the modules below it return NaN of the right shape at once. If the
    network used one of them above the cut, by a skip connection, say, the logits would be NaN.
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
            RuntimeError: the network does not run the cut's module.
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

    def _stub(self, count: int, shapes: tuple[Shape, ...]) -> Callable[..., Tensor]:
        calls = iter(shapes)

        def stub(*_: Any, **__: Any) -> Tensor:
            size, dtype = next(calls)
            return self._nan[dtype].expand(count, *size)

        return stub

    def _lift(self) -> None:
        for module in (self._target, *(module for module, _ in self._skipped)):
            module.__dict__.pop("forward", None)


class _ReachedError(Exception):
    """The cut's output is ready; its features are the argument."""


@contextmanager
def capture(model: nn.Module, cut: Cut, into: list[Tensor]) -> Iterator[None]:
    """Append a copy of the features at the cut, each time that the network runs."""

    def keep(_: nn.Module, __: Any, output: Tensor) -> None:
        into.append(output.clone())

    hook = model.get_submodule(cut.name).register_forward_hook(keep)
    try:
        yield
    finally:
        hook.remove()


def features_at(model: nn.Module, forward: Forward, cut: Cut, images: Tensor) -> Tensor:
    """The features (B, …) at the cut for normalised images (B, 3, S, S); nothing above it runs.

    Raises:
        RuntimeError: the network does not run the cut's module.
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
    """Outputs (P, …) of each module up to a cut for the images at some positions (P,) in a batch.

    Returns:
        names and outputs, in the order in which the modules end.

    Raises:
        RuntimeError: the network does not run the cut's module.
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
