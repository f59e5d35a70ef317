"""The greedy soup, and means of weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.combine.soup import choose_soup, mean_weights
from tests.properties import examples

points = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8)


@examples(60)
@given(points)
def test_a_soup_is_never_worse_than_its_first_member(values: list[float]) -> None:
    """Models are numbers, and the loss of some is the square of their mean."""
    numbers = [3 * place + 1 for place in range(len(values))]
    value = dict(zip(numbers, values, strict=True))

    def loss(members: tuple[int, ...]) -> float:
        return float(np.mean([value[each] for each in members]) ** 2)

    members = choose_soup(numbers, loss)
    assert members[0] == numbers[0]
    assert [*members] == sorted({*members})
    seen = [loss(members[: count + 1]) for count in range(len(members))]
    assert seen == sorted(seen, reverse=True)
    assert len({*seen}) == len(seen)
    for rejected in {*numbers} - {*members}:
        earlier = tuple(each for each in members if each < rejected)
        assert loss((*earlier, rejected)) >= loss(earlier)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_adds_no_member(bad: float) -> None:
    assert choose_soup([4, 2, 9], lambda members: 1.0 if len(members) == 1 else bad) == (4,)
    assert choose_soup([4, 2], lambda members: bad if len(members) == 1 else 0.5) == (4, 2)
    assert choose_soup([4, 2], lambda members: bad) == (4,)
    assert choose_soup([], lambda members: bad) == ()


def states(count: int) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "w": torch.randn(3, 4, generator=generator),
            "half": torch.randn(5, generator=generator).half(),
            "scalar": torch.randn((), generator=generator),
            "batches": torch.randint(0, 100, (), generator=generator),
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10])
def test_the_mean_of_identical_states_is_the_state(count: int) -> None:
    (state,) = states(1)
    mean = mean_weights([state] * count)
    assert mean.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(mean[name], tensor)
        assert mean[name].dtype == tensor.dtype


def test_the_mean_is_torchs_in_double_precision() -> None:
    several = states(7)
    mean = mean_weights(iter(several))
    for name in ("w", "half", "scalar"):
        expected = torch.stack([state[name].double() for state in several]).mean(0)
        assert torch.allclose(mean[name].double(), expected, atol=1e-3 if name == "half" else 1e-7)
    before = states(7)
    assert all(torch.equal(several[0][name], before[0][name]) for name in before[0])


def test_integers_are_rounded_and_keep_their_type() -> None:
    mean = mean_weights([{"batches": torch.tensor(4)}] + [{"batches": torch.tensor(5)}] * 2)
    assert (mean["batches"].item(), mean["batches"].dtype) == (5, torch.int64)


def test_many_small_weights_do_not_vanish_beside_a_large_one() -> None:
    values = [1e4] + [1e-4] * 9999
    mean = mean_weights({"w": torch.tensor([value])} for value in values)
    assert mean["w"].item() == pytest.approx(np.mean(values), rel=1e-7)


def test_states_must_hold_the_same_tensors() -> None:
    with pytest.raises(ValueError, match="bias"):
        mean_weights([{"w": torch.ones(1)}, {"w": torch.ones(1), "bias": torch.ones(1)}])
    with pytest.raises(ValueError, match="no states"):
        mean_weights([])
