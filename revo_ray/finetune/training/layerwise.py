"""SGD and AdamW with a learning rate for each parameter."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Values of `torch.optim.AdamW`. `train.momentum` is SGD's alone; a plan may set β₁."""


@dataclass(frozen=True)
class _Group:
    """Parameters of one rate and one decay, and what the rule keeps of each.

    Attributes:
        at: positions among all parameters.
        squares: of AdamW alone.
    """

    rate: float
    decay: float
    at: list[int]
    parameters: list[Tensor]
    averages: list[Tensor]
    squares: list[Tensor]


class LayerwiseOptimizer:
    """SGD or AdamW with a learning rate for each parameter, and one schedule for all.

    `torch.optim` takes a parameter group for each rate, and prepares every group anew at each step.
    With a rate for each layer that takes longer than the arithmetic (`benchmarks.step`). This class
    calls torch's fused kernels with lists that are made once. On a CPU every bit is that of
    `torch.optim.SGD` or `torch.optim.AdamW` with `fused=True` and a group for each rate. On a GPU
    each operation is one `foreach` call over all parameters, whatever their rates.

    A parameter without a gradient is left alone at that step, as in `torch.optim`.

    Args:
        parameters: all that train, in the order of the model, which decides how the norm of the
            gradient is rounded.
        rates: a learning rate above 0 for each.
        decays: the weight decay of each: an L2 penalty (SGD) or decoupled (AdamW).
        kind: the rule.
        factor: what the rates are multiplied by at a step, counted from 0.
        momentum: of SGD; β₁ of AdamW.
        clip_norm: largest norm of the gradient; None: any.
        foreach: use the kernels that are for a GPU; None: if the parameters are there.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        rates: Sequence[float],
        decays: Sequence[float],
        *,
        kind: Literal["sgd", "adamw"],
        factor: Callable[[int], float],
        momentum: float,
        clip_norm: float | None = None,
        foreach: bool | None = None,
    ) -> None:
        self._parameters, self._rates, self._decays = list(parameters), list(rates), list(decays)
        self._kind, self._momentum, self._clip_norm = kind, momentum, clip_norm
        self._factor, self._taken = factor, 0
        self._foreach = parameters[0].device.type == "cuda" if foreach is None else foreach
        self._averages = [torch.zeros_like(parameter) for parameter in parameters]
        self._squares: list[Tensor] = []
        if kind == "adamw":
            self._squares = [torch.zeros_like(parameter) for parameter in parameters]
        self._steps = [0] * len(self._parameters)
        self._all = range(len(self._parameters))
        self._groups = self._grouped(self._all)

    @property
    def rates(self) -> list[float]:
        """The rates of the next step, in the order of the parameters."""
        factor = self._factor(self._taken)
        return [rate * factor for rate in self._rates]

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters that have a gradient; it is clipped before, if `clip_norm` is set."""
        if self._clip_norm is not None:
            clip_grad_norm_(self._parameters, self._clip_norm)
        factor = self._factor(self._taken)
        self._taken += 1
        moving = [i for i in self._all if self._parameters[i].grad is not None]
        for i in moving:
            self._steps[i] += 1
        if self._foreach and moving:
            self._move(moving, [self._rates[i] * factor for i in moving])
            return
        every = len(moving) == len(self._parameters)
        # One tensor for each number of steps: with a gradient at every step, all have the same.
        tensors = {steps: torch.tensor(float(steps)) for steps in set(self._steps)}
        counts = [tensors[steps] for steps in self._steps]
        for group in self._groups if every else self._grouped(moving):
            self._move_fused(group, factor, [counts[i] for i in group.at])

    def _grouped(self, at: Iterable[int]) -> list[_Group]:
        """The parameters at some positions, by rate and decay."""
        groups: dict[tuple[float, float], list[int]] = {}
        for i in at:
            groups.setdefault((self._rates[i], self._decays[i]), []).append(i)
        return [
            _Group(
                *(rate, decay, own),
                [self._parameters[i] for i in own],
                [self._averages[i] for i in own],
                [self._squares[i] for i in own if self._squares],
            )
            for (rate, decay), own in groups.items()
        ]

    def _move_fused(self, group: _Group, factor: float, counts: list[Tensor]) -> None:
        """Move a group by its rate, in one pass over its memory."""
        gradients: list[Any] = [each.grad for each in group.parameters]
        if self._kind == "sgd":
            torch._fused_sgd_(
                group.parameters,
                gradients,
                group.averages if self._momentum else [],
                lr=group.rate * factor,
                weight_decay=group.decay,
                momentum=self._momentum,
                dampening=0.0,
                nesterov=False,
                maximize=False,
                is_first_step=False,
            )
            return
        torch._fused_adamw_(
            group.parameters,
            gradients,
            group.averages,
            group.squares,
            [],
            counts,
            lr=group.rate * factor,
            weight_decay=group.decay,
            beta1=self._momentum,
            beta2=BETA2,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def _move(self, at: list[int], rates: list[float]) -> None:
        """Move the parameters at some positions, each by its rate, in a few calls for all."""
        parameters: list[Tensor] = [self._parameters[i] for i in at]
        gradients = [each.grad for each in parameters if each.grad is not None]
        averages, decays = [self._averages[i] for i in at], [self._decays[i] for i in at]
        if self._kind == "sgd":
            moves = torch._foreach_mul(parameters, decays)
            torch._foreach_add_(moves, gradients)
            if self._momentum:
                torch._foreach_mul_(averages, self._momentum)
                torch._foreach_add_(averages, moves)
                moves = torch._foreach_mul(averages, [-rate for rate in rates])
            else:
                torch._foreach_mul_(moves, [-rate for rate in rates])
            torch._foreach_add_(parameters, moves)
            return
        squares, steps = [self._squares[i] for i in at], [self._steps[i] for i in at]
        kept = [1 - rate * decay for rate, decay in zip(rates, decays, strict=True)]
        torch._foreach_mul_(parameters, kept)
        torch._foreach_lerp_(averages, gradients, 1 - self._momentum)
        torch._foreach_mul_(squares, BETA2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - BETA2)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, [math.sqrt(1 - BETA2**step) for step in steps])
        torch._foreach_add_(roots, EPSILON)
        scales = [-r / (1 - self._momentum**step) for r, step in zip(rates, steps, strict=True)]
        torch._foreach_addcdiv_(parameters, averages, roots, scales)
