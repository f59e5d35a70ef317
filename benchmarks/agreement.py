"""Whether the project and the plain program train alike, to within rounding, over a few steps.

Rounding gives a gradient near zero another sign, and AdamW's first steps have the size of the rate
however small a gradient is. At the rates of a search two equal ways of training that round
differently have nothing in common after six steps. So both train under a plan's rates scaled down
until rounding stays small: the plain program, and the plain program with each weight moved by up
to one unit in its last place, give nearly the same logits. Both see two and a half batches in two
epochs: the data order, a short batch, the schedule, frozen layers and BatchNorm's statistics count.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.plain import Plain
from revo_ray.data.splits.split import Splits
from revo_ray.data.table.image_table import Table, split_table
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.assemble import load_network
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.settings.schema import SearchConfig

EPOCHS, BATCHES = 2, 2.5
LARGEST = tuple(10.0**-power for power in range(4, 9))
"""Largest rate of the scaled plans, in the order in which they are tried."""
FAINT = 1e-3
"""Rounding changes the logits by less, as a share of their spread, at the rates that are taken."""
ALLOWED = 3.0
"""Times what rounding changes, by which two ways may differ that are the same."""
NUDGES = 2

Way = Callable[[Plan], Tensor]
"""Trains under a plan; gives the logits (n, C) of the validation images."""


def check(config: SearchConfig, table: Table, rates: tuple[float, ...]) -> None:
    """Compare the plain program, with either convolutions, and the project.

    Args:
        rates: of the units, as a search proposed them.

    Raises:
        RuntimeError: they differ by more than rounding.
    """
    project = project_way(config, table)
    for convolutions in ("own", "torch"):
        compare(plain_program(config, table, convolutions), project, rates)


def compare(plain: Plain, project: Way, rates: tuple[float, ...]) -> None:
    """As `check`, for one plain program and one other way.

    Raises:
        RuntimeError: they differ by more than rounding.
    """
    for largest in LARGEST:
        plan = Plan(tuple(rate * largest / max(rates) for rate in rates))
        usual = plain.logits_after(plan)
        rounding = max(apart(usual, nudged(plain, plan, seed)) for seed in range(NUDGES))
        if rounding < FAINT:
            break
    else:
        raise RuntimeError(f"rounding changes the logits by {rounding:.2g} at the least rates")
    found = apart(usual, project(plan))
    if not found <= ALLOWED * rounding:
        raise RuntimeError(
            f"plain torch trains otherwise: after {EPOCHS} epochs of {BATCHES:g} batches at rates "
            f"up to {largest:g} the logits are {found:.2g} apart, rounding makes {rounding:.2g}"
        )


def plain_program(config: SearchConfig, table: Table, convolutions: str) -> Plain:
    """The plain program with few images."""
    plain = Plain(shortened(config), table, convolutions)
    count = images(config)
    plain.images, plain.labels = plain.images[:count], plain.labels[:count]
    return plain


def project_way(config: SearchConfig, table: Table) -> Way:
    """The project's `FineTuner` with the same few images."""
    tuner = short_tuner(config, table)

    def way(plan: Plan) -> Tensor:
        for _ in tuner.run(plan):
            pass
        return tuner.predict("validation")

    return way


def short_tuner(config: SearchConfig, table: Table) -> FineTuner:
    """A tuner of as many images and epochs as `plain_program`."""
    short = shortened(config)
    backbone, units = load_network(short.model, short.data, short.train, table)
    whole = split_table(table, short.data)
    splits = Splits(whole.train[: images(config)], whole.validation, whole.test)
    return FineTuner(backbone, units, table, splits, short.train)


def shortened(config: SearchConfig) -> SearchConfig:
    """The configuration with few epochs."""
    train = config.train.model_copy(update={"epochs": EPOCHS})
    return config.model_copy(update={"train": train})


def images(config: SearchConfig) -> int:
    """The number of training images that both see."""
    return round(BATCHES * config.train.batch_size)


def nudged(plain: Plain, plan: Plan, seed: int) -> Tensor:
    """The logits where each weight started up to one unit in its last place away."""
    generator = torch.Generator().manual_seed(seed)
    pretrained, weights = plain.pretrained, dict(plain.model.named_parameters())
    unit = torch.finfo(torch.float32).eps
    plain.pretrained = {
        name: tensor * (1 + unit * (2 * torch.rand(tensor.shape, generator=generator) - 1))
        if name in weights
        else tensor
        for name, tensor in pretrained.items()
    }
    try:
        return plain.logits_after(plan)
    finally:
        plain.pretrained = pretrained


def apart(one: Tensor, other: Tensor) -> float:
    """The difference of two sets of logits (n, C), as a share of their spread over the classes."""
    one, other = (each.double() - each.double().mean(1, keepdim=True) for each in (one, other))
    return float((one - other).norm() / one.norm())
