"""The order in which a network uses its parameters, seen in one forward pass without data."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from revo_ray.errors import UserError, first_line

SIZES = (224, *range(16, 545, 16))
"""Sides of images in pixels that are tried if the caller does not name one."""

MISFITS = (AssertionError, AttributeError, IndexError, RuntimeError, TypeError, ValueError)
"""Errors of a network that cannot take an image size."""


@dataclass(frozen=True)
class Patches:
    """A convolution or an unfolding near the input that cuts an image into patches.

    Attributes:
        step: distance of the patches in pixels of the image.
        lost: pixels of the image beyond the last patch, which the network never sees.
    """

    step: int
    lost: int


@dataclass(frozen=True)
class FirstUse:
    """The events of one forward pass in training mode. Time is counted in parameters used so far.

    Attributes:
        order: the place of each parameter, by qualified name, as numbers that increase. A parameter
            that the pass does not use follows the one that is registered before it.
        unused: the parameters that the pass does not use.
        calls: the times at which the first call of each module begins and ends.
        draws: the time at which each module that draws random numbers (dropout, stochastic depth)
            first does so. A functional draw counts for the module that calls it.
        patches: the cuts into patches before the first linear layer.
    """

    order: Mapping[str, int]
    unused: frozenset[str]
    calls: Mapping[str, tuple[int, int]]
    draws: Mapping[str, int]
    patches: tuple[Patches, ...]


def find_first_use(model: nn.Module, image_size: int | None = None) -> FirstUse:
    """Run a network on the meta device and note when it uses each parameter first.

    The network itself is not changed, computes nothing, and may be on any device.

    Args:
        image_size: side of the images in pixels; None: the network's own, or one that it takes.

    Raises:
        UserError: the network takes no images (2, 3, S, S) of that size.
    """
    sizes = _likely_sizes(model) if image_size is None else (image_size,)
    failure: Exception | None = None
    for size in sizes:
        try:
            return _Pass(model, size).first_use()
        except MISFITS as error:
            failure = failure or error
    assert failure is not None
    name = type(model).__name__
    what = "images of any usual size" if image_size is None else f"images of {image_size} px"
    raise UserError(f"{name} takes no {what}: {first_line(failure)}") from None


def _likely_sizes(model: nn.Module) -> Iterable[int]:
    """The sizes that the network names itself, then `SIZES`."""
    config: Any = getattr(model, "pretrained_cfg", None) or {}
    own = [
        getattr(getattr(model, "patch_embed", None), "img_size", None),
        getattr(model, "img_size", None),
        getattr(model, "image_size", None),
        config.get("input_size"),
    ]
    sides = [size[-1] if isinstance(size, tuple | list) else size for size in own if size]
    return dict.fromkeys((*(side for side in sides if isinstance(side, int)), *SIZES))


class _Pass(TorchFunctionMode):
    """One forward pass of a copy of a network on the meta device."""

    def __init__(self, model: nn.Module, size: int) -> None:
        super().__init__()
        meta = _on_meta(model)
        self._size = size
        self._names = {id(parameter): name for name, parameter in meta.named_parameters()}
        self._used: dict[str, int] = {}
        self._calls: dict[str, tuple[int, int]] = {}
        self._draws: dict[str, int] = {}
        self._patches: list[Patches] = []
        self._stack = [""]
        self._linear = False
        self._dice = _Dice()
        self._paths = {module: path for path, module in meta.named_modules()}
        for module in self._paths:
            module.register_forward_pre_hook(self._begin)
            module.register_forward_hook(self._end)
        images = torch.empty(2, 3, size, size, device="meta")
        with torch.no_grad(), torch.random.fork_rng(devices=[]), self, self._dice:
            meta.train()(images)

    def first_use(self) -> FirstUse:
        """The notes of the pass."""
        places: list[tuple[int, int, str]] = []
        place = -1
        for number, name in enumerate(self._names.values()):
            place = self._used.get(name, place)
            places.append((place, number if name not in self._used else -1, name))
        order = {name: i for i, (*_, name) in enumerate(sorted(places))}
        used = sorted(order[name] for name in self._used)
        at = [*used, len(order)]  # times count all parameters, also unused ones
        return FirstUse(
            order,
            frozenset(order) - self._used.keys(),
            {name: (at[begin], at[end]) for name, (begin, end) in self._calls.items()},
            {name: at[time] for name, time in self._draws.items()},
            tuple(self._patches),
        )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch, and note the parameters that it takes and what it draws."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if any(True for _ in _tensors(result)):  # shapes and types of a parameter are no use of it
            for tensor in _tensors((args, kwargs)):
                name = self._names.get(id(tensor))
                if name is not None:
                    self._used.setdefault(name, len(self._used))
        if self._dice.rolled:
            self._dice.rolled = False
            self._draws.setdefault(self._stack[-1], len(self._used))
        if func is functional.linear:
            self._linear = True
        elif func in (functional.conv2d, functional.unfold) and not self._linear:
            self._note_patches(_Window.of(func, *args, **kwargs))
        return result

    def _begin(self, module: nn.Module, _: Any) -> None:
        path = self._paths[module]
        self._stack.append(path)
        now = len(self._used)
        self._calls.setdefault(path, (now, now))

    def _end(self, module: nn.Module, _: Any, __: Any) -> None:
        path = self._stack.pop()
        begin, end = self._calls[path]
        if begin == end:
            self._calls[path] = begin, len(self._used)

    def _note_patches(self, window: _Window) -> None:
        for side, kernel, stride, padding in window.sides():
            if stride < 4 or kernel < stride or padding:
                continue  # an overlapping or padded window of an ordinary convolution
            scale = max(1, round(self._size / side))
            self._patches.append(Patches(stride * scale, (side - kernel) % stride * scale))


class _Dice(TorchDispatchMode):
    """Sees that an operator draws random numbers, whichever function calls it."""

    rolled = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator."""
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.rolled = True
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class _Window:
    """Arguments of a convolution or an unfolding of images (N, C, H, W)."""

    image: tuple[int, ...]
    kernel: Any
    stride: Any
    padding: Any

    @classmethod
    def of(cls, func: Any, x: Tensor, *args: Any, **kwargs: Any) -> _Window:
        names: tuple[str, ...] = ("weight", "bias", "stride", "padding", "dilation", "groups")
        if func is functional.unfold:
            names = ("kernel_size", "dilation", "padding", "stride")
        given = dict(zip(names, args, strict=False)) | kwargs
        weight = given.get("weight")
        kernel = given.get("kernel_size") if weight is None else weight.shape[-2:]
        return cls(tuple(x.shape[-2:]), kernel, given.get("stride", 1), given.get("padding", 0))

    def sides(self) -> Iterator[tuple[int, int, int, int]]:
        """Pixels, kernel, stride and padding of the rows, then of the columns."""
        padding = -1 if isinstance(self.padding, str) else self.padding
        pairs = (
            tuple(value) * (2 // len(value)) if isinstance(value, tuple | list) else (value, value)
            for value in (self.kernel, self.stride, padding)
        )
        return zip(self.image, *pairs, strict=True)


def _tensors(values: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and mappings."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, tuple | list | dict):
        for value in values.values() if isinstance(values, dict) else values:
            yield from _tensors(value)


def _on_meta(model: nn.Module) -> nn.Module:
    """A copy of a network whose tensors have shapes, and no values."""
    attributes = chain.from_iterable(vars(module).values() for module in model.modules())
    loose = (value for value in attributes if isinstance(value, Tensor))
    memo: dict[int, Any] = {}
    with torch.no_grad():
        for tensor in chain(model.parameters(), model.buffers(), loose):
            empty = torch.empty_like(tensor, device="meta")
            if isinstance(tensor, nn.Parameter):
                empty = nn.Parameter(empty, requires_grad=False)
            memo[id(tensor)] = empty
    # deepcopy takes what is in the memo in place of the values, which may fill much memory.
    copied: nn.Module = copy.deepcopy(model, memo)
    return copied
