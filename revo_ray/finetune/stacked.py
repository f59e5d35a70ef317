"""The weights of several members in one flat tensor, and the optimizer that moves all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from revo_ray.settings.schema import TrainConfig


class Stacked:
    """k copies of some weights, each with rates and weight decay of its own.

    All weights lie behind one another in one tensor, their gradients in another: a step is a
    handful of kernels, however many weights, members and rates there are. The rules are those of
    `torch.optim.SGD` and `torch.optim.AdamW` with their defaults.

    Args:
        weights: what every copy starts from.
        rates: of each weight, one for each member; 0 leaves it alone.
        weight_decay: of each member.
        train: optimizer and momentum.
    """

    BETAS = (0.9, 0.999)
    EPS = 1e-8

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        rates: Mapping[str, Sequence[float]],
        weight_decay: Sequence[float],
        train: TrainConfig,
    ) -> None:
        self._train = train
        self._shapes = {name: weight.shape for name, weight in weights.items()}
        self._count, self._steps = len(weight_decay), 0
        self._rates = {name: list(rates[name]) for name in weights}
        self._decay = list(weight_decay)
        self._flat = torch.cat(
            [w.detach().expand(self._count, *w.shape).reshape(-1) for w in weights.values()]
        )
        self._state: list[Tensor] = []
        self._lay_out()

    def trains(self, member: int) -> bool:
        """Whether a member has a weight with a rate."""
        return any(rates[member] > 0 for rates in self._rates.values())

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self._grad.zero_()

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Move every weight, at its rate times a factor."""
        self._steps += 1
        lr = self._lr if factor == 1 else self._lr * factor
        if self._train.optimizer == "sgd":
            self._sgd(lr)
        else:
            self._adamw(lr)

    def keep(self, members: Sequence[int]) -> None:
        """Go on with these members alone."""
        self._flat, *self._state = (
            torch.cat([block[list(members)].reshape(-1) for block in self._blocks(flat).values()])
            for flat in (self._flat, *self._state)
        )
        self._rates = {name: [rates[m] for m in members] for name, rates in self._rates.items()}
        self._decay = [self._decay[member] for member in members]
        self._count = len(members)
        self._lay_out()

    def _lay_out(self) -> None:
        self._grad = torch.zeros_like(self._flat)
        grads = self._blocks(self._grad)
        self.weights: dict[str, Tensor] = {}
        """(k, …) of each name; autograd adds to their gradients in place."""
        for name, block in self._blocks(self._flat).items():
            self.weights[name] = block.detach().requires_grad_()
            self.weights[name].grad = grads[name]
        self._lr, self._wd = torch.empty_like(self._flat), torch.empty_like(self._flat)
        lr, wd = self._blocks(self._lr), self._blocks(self._wd)
        for name, rates in self._rates.items():
            shape = (-1, *([1] * len(self._shapes[name])))
            lr[name].copy_(self._flat.new_tensor(rates).view(shape))
            wd[name].copy_(self._flat.new_tensor(self._decay).view(shape))

    def _blocks(self, flat: Tensor) -> dict[str, Tensor]:
        sizes = [self._count * shape.numel() for shape in self._shapes.values()]
        return {
            name: part.view(self._count, *shape)
            for (name, shape), part in zip(self._shapes.items(), flat.split(sizes), strict=True)
        }

    def _sgd(self, lr: Tensor) -> None:
        change = torch.addcmul(self._grad, self._wd, self._flat)
        if self._train.momentum:
            if not self._state:
                self._state = [change]
            else:
                change = self._state[0].mul_(self._train.momentum).add_(change)
        self._flat.addcmul_(lr, change, value=-1)

    def _adamw(self, lr: Tensor) -> None:
        if not self._state:
            self._state = [torch.zeros_like(self._flat), torch.zeros_like(self._flat)]
        mean, square = self._state
        one, two = self.BETAS
        self._flat.mul_(1 - lr * self._wd)
        mean.lerp_(self._grad, 1 - one)
        square.mul_(two).addcmul_(self._grad, self._grad, value=1 - two)
        correction = math.sqrt(1 - two**self._steps)
        denominator = square.sqrt().div_(correction).add_(self.EPS)
        self._flat.sub_(lr * mean / denominator / (1 - one**self._steps))
