"""A run is a function of its plan: nothing else that draws random numbers changes it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from revo_ray.finetune.plan import Plan
from tests.finetune.tuners import (
    equal,
    finish,
    make_tuner,
    mixed,
)


@pytest.mark.parametrize("augment", ["none", "flip", "crop-flip", "trivial"])
def test_a_run_depends_on_its_plan_alone(augment: str) -> None:
    tuner = make_tuner("dropout", augment=augment)
    plan = mixed(4)
    first = finish(tuner, plan)
    other = finish(tuner, Plan((0.1, 0.0, 0.1, 0.1), 0.1))
    torch.manual_seed(99)
    run = tuner.run(plan)
    epochs = []
    for epoch in run:
        torch.rand(7)  # what a caller draws between epochs
        epochs.append(epoch)
    assert equal(first[1], tuner.state_dict())
    assert not equal(first[1], other[1])
    assert [e.train_loss for e in epochs] == [e.train_loss for e in first[0]]
    assert epochs[-1].validation.loss == first[0][-1].validation.loss
    state = torch.get_rng_state()
    list(tuner.run(plan))
    assert torch.equal(torch.get_rng_state(), state)
    assert tuner.evaluate("validation").loss == epochs[-1].validation.loss


def test_an_abandoned_run_leaves_nothing_behind() -> None:
    tuner = make_tuner("dropout")
    _, expected = finish(tuner, mixed(4))
    next(tuner.run(Plan((0.5,) * 4)))
    assert equal(finish(tuner, mixed(4))[1], expected)


def digest() -> str:
    tuner = make_tuner("dropout", augment="crop-flip", momentum=0.9)
    list(tuner.run(mixed(4, 0.01)))
    tensors = tuner.state_dict().values()
    return hashlib.sha256(b"".join(t.numpy().tobytes() for t in tensors)).hexdigest()


@pytest.mark.slow
def test_another_process_gives_the_same_bits() -> None:
    code = "import torch; torch.set_num_threads(1); "
    root = Path(__file__).parents[3]
    other = subprocess.run(
        [sys.executable, "-c", code + f"from {__name__} import digest; print(digest())"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == digest()
