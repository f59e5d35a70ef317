"""Running a part of a network: up to a cut, or from a cut on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from revo_ray.finetune.reuse.cut_points import Cut, Forward, Shape


class ForwardFromCut:
    """Runs the network above a cut, from kept features.

    Until the cut is reached, the modules below it return NaN of the right shape at once. If the
    network used one of them above the cut, by a skip connection, say, the logits would be NaN.

    Raises:
        RuntimeError: the `forward` of a module was replaced by somebody else.
    """

    def __init__(self, model: nn.Module, forward: Forward, cut: Cut, image: torch.Size) -> None:
        self._forward, self._image = forward, (tuple(image), torch.float32)
        self._target = model.get_submodule(cut.name)
        self._skipped = {model.get_submodule(name): shapes for name, shapes in cut.skipped.items()}
        if any("forward" in vars(module) for module in (self._target, *self._skipped)):
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

        for module, shapes in self._skipped.items():
            module.__dict__["forward"] = _nan_of(shapes, features)
        self._target.__dict__["forward"] = arrive
        try:
            logits = self._forward(_nan(self._image, features))
        finally:
            self._lift()
        if not arrived:
            raise RuntimeError("the cut was never reached")
        return logits

    def _lift(self) -> None:
        for module in (self._target, *self._skipped):
            module.__dict__.pop("forward", None)


def _nan_of(shapes: tuple[Shape, ...], like: Tensor) -> Callable[..., Tensor]:
    """A function that returns NaN of the next shape each time."""
    calls = iter(shapes)
    return lambda *_, **__: _nan(next(calls), like)


def _nan(shape: Shape, like: Tensor) -> Tensor:
    """NaN (B, …) on the device of features (B, …)."""
    size, dtype = shape
    return like.new_full((), torch.nan, dtype=dtype).expand(len(like), *size)


class _ReachedError(Exception):
    """The cut's output is ready; its features are the argument."""


def features_at(model: nn.Module, forward: Forward, cut: Cut, images: Tensor) -> Tensor:
    """The features (B, …) at the cut for normalised images (B, 3, S, S); nothing above it runs.

    Raises:
        RuntimeError: the network does not run the cut's module.
    """

    def stop(_: nn.Module, __: Any, output: Tensor) -> NoReturn:
        raise _ReachedError(output.detach().clone())

    with model.get_submodule(cut.name).register_forward_hook(stop):
        try:
            forward(images)
        except _ReachedError as reached:
            features: Tensor = reached.args[0]
            return features
    raise RuntimeError("the cut was never reached")


def outputs_below(
    model: nn.Module, forward: Forward, cut: Cut, images: Tensor, positions: list[int]
) -> list[tuple[str, Tensor]]:
    """Names and outputs (P, …) of the modules up to a cut, in the order in which they end.

    Args:
        positions: (P,) positions in the batch of the images whose outputs are wanted.
    """
    found: list[tuple[str, Tensor]] = []
    names = {module: name for name, module in model.named_modules()}

    def keep(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.shape[:1] == images.shape[:1]:
            found.append((names[module], output[positions].clone()))

    with ExitStack() as hooks:
        for module in names:
            hooks.enter_context(module.register_forward_hook(keep))
        features_at(model, forward, cut, images)
    return found
