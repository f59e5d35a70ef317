"""Frozen units keep every bit, whatever ran before; what trains moves; and nothing else does."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.tuner import FineTuner
from tests.finetune.tuners import make_tuner

OPTIONS = st.fixed_dictionaries(
    {
        "optimizer": st.sampled_from(["sgd", "adamw"]),
        "batch_norm": st.sampled_from(["running", "precise"]),
        "validate_epochs": st.sampled_from(["last", "every"]),
        "augment": st.sampled_from(["none", "flip"]),
        "cache_mb": st.sampled_from([0, 64]),
        "epochs": st.integers(1, 2),
    }
)
PRACTICE = st.fixed_dictionaries(
    {
        "decay_all": st.booleans(),
        "label_smoothing": st.sampled_from([0.0, 0.1]),
        "mixup": st.sampled_from([0.0, 0.4]),
        "clip_norm": st.sampled_from([None, 1.0]),
        "ema": st.sampled_from([None, 0.9]),
    }
)
IDLE = {"4.bias", "7.bias"}
"""Biases that the norm after them subtracts again: their gradient is rounding, so they may stay."""
RATE = st.sampled_from([0.0, 0.0, 0.01, 0.1])
PLANS = st.builds(Plan, st.tuples(*[RATE] * 4), st.sampled_from([0.0, 0.1]))


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of all parameters and buffers, also of those that no state dict holds."""
    tensors = chain(model.named_parameters(), model.named_buffers())
    return {name: tensor.detach().clone() for name, tensor in tensors}


def moved(tuner: FineTuner, before: dict[str, torch.Tensor]) -> set[str]:
    """Names of the parameters and buffers that differ, but for idle ones."""
    now = state_of(tuner.model)
    return {name for name in before if not torch.equal(before[name], now[name])} - IDLE


def expected(tuner: FineTuner, trained: set[str], norms: set[str]) -> set[str]:
    """The trained parameters, and the statistics of the norms in units that train."""
    buffers = {
        f"{name}.{buffer}"
        for name, module in tuner.model.named_modules()
        if isinstance(module, _BatchNorm) and name in norms
        for buffer, _ in module.named_buffers(recurse=False)
    }
    return (trained | buffers) - IDLE


@settings(max_examples=25, deadline=None)
@given(options=OPTIONS, practice=PRACTICE, plans=st.lists(PLANS, min_size=1, max_size=3))
def test_what_a_plan_freezes_stays_pretrained_and_all_else_moves(
    options: dict[str, Any], practice: dict[str, Any], plans: list[Plan]
) -> None:
    """Weights, statistics and counts of batches: in every run, also after runs of other plans."""
    tuner = make_tuner("dropout", **options, **practice)
    before = state_of(tuner.model)
    for plan in plans:
        list(tuner.run(plan))
        units = [u for u, rate in zip(tuner.units, plan.unit_lrs, strict=True) if rate > 0]
        trained = {name for unit in units for name in unit.parameters}
        norms = {name for unit in units for name in unit.modules}
        assert moved(tuner, before) == expected(tuner, trained, norms)
        for name in IDLE - trained:
            assert torch.equal(tuner.model.get_parameter(name), before[name])
        assert {n for n, p in tuner.model.named_parameters() if p.requires_grad} == trained
        assert plan.frozen == tuple(unit not in units for unit in tuner.units)


@settings(max_examples=15, deadline=None)
@given(
    options=OPTIONS,
    chosen=st.lists(st.sets(st.integers(0, 12), max_size=4), min_size=2, max_size=2),
    looks=st.booleans(),
)
def test_a_policy_freezes_single_parameters(
    options: dict[str, Any], chosen: list[set[int]], looks: bool
) -> None:
    """A unit none of whose parameters trains keeps its statistics; each epoch has other rates."""
    tuner = make_tuner("dropout", **options | {"epochs": 2})
    names = [name for name, _ in tuner.model.named_parameters()]
    sets = [{names[i] for i in places} for places in chosen]
    before, after_first = state_of(tuner.model), {}

    def policy(epoch: int, tuner: FineTuner) -> dict[str, float]:
        if epoch == 2:
            after_first.update(state_of(tuner.model))
        if looks:
            tuner.loss(tuner.order[:8])
        return dict.fromkeys(sets[epoch - 1], 0.05)

    def changed_by(trained: set[str]) -> set[str]:
        units = [unit for unit in tuner.units if not trained.isdisjoint(unit.parameters)]
        return expected(tuner, trained, {name for unit in units for name in unit.modules})

    list(tuner.run(Plan((0.1,) * 4), policy))
    may_move, second = changed_by(sets[1]), moved(tuner, after_first)
    assert second <= may_move
    # Precise statistics are those of the first epoch where no weight below them moved.
    assert all("running_" in name for name in may_move - second)
    assert moved(tuner, before) == changed_by(sets[0]) | changed_by(sets[1])
