"""The greedy ensemble, against scikit-learn's log loss and a search over every single step."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import log_loss

from revo_ray.combine.ensemble import choose_ensemble, mean_logits
from tests.properties import examples

Logits = dict[int, NDArray[np.float32]]


def draw(seed: int, members: int, images: int, classes: int) -> tuple[Logits, NDArray[np.int64]]:
    """Logits of evaluations with numbers out of order, some better than others, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=images)
    numbers = rng.permutation(3 * members)[:members].tolist()
    true = np.eye(classes)[labels]
    return {
        number: (rng.normal(size=(images, classes)) + rng.uniform(0, 4) * true).astype(np.float32)
        for number in numbers
    }, labels


def loss(logits: Logits, members: dict[int, float], labels: NDArray[np.int64]) -> float:
    """The log loss of the members' mean probabilities, as scikit-learn computes it."""
    mean = sum(share * softmax(logits[e].astype(float), axis=1) for e, share in members.items())
    return float(log_loss(labels, mean, labels=np.arange(mean.shape[1])))


drawn = st.builds(
    draw, st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(2, 30), st.integers(2, 5)
)


@examples(60)
@given(drawn)
def test_no_member_is_better_alone_and_no_addition_lowers_the_loss(
    drawn: tuple[Logits, NDArray[np.int64]],
) -> None:
    logits, labels = drawn
    members = choose_ensemble(logits, labels)
    assert [*members] == sorted(members)
    assert sum(members.values()) == pytest.approx(1)
    least = loss(logits, members, labels)
    assert all(least <= loss(logits, {one: 1.0}, labels) + 1e-6 for one in logits)
    count = next(n for n in range(1, 51) if all(_whole(n * share) for share in members.values()))
    if count < 50:
        for one in logits:
            more = {e: share * count for e, share in members.items()}
            more[one] = more.get(one, 0.0) + 1
            more = {e: share / (count + 1) for e, share in more.items()}
            assert loss(logits, more, labels) >= least - 1e-6


@examples(60)
@given(drawn)
def test_each_step_takes_the_best_addition(drawn: tuple[Logits, NDArray[np.int64]]) -> None:
    logits, labels = drawn
    counts: dict[int, int] = {}
    least = np.inf
    while True:
        losses = {}
        for one in sorted(logits):
            tried = counts | {one: counts.get(one, 0) + 1}
            shares = {e: count / sum(tried.values()) for e, count in tried.items()}
            losses[one] = loss(logits, shares, labels)
        best = min(losses, key=losses.__getitem__)
        if losses[best] > least - 1e-9 or sum(counts.values()) == 50:
            break
        counts[best], least = counts.get(best, 0) + 1, losses[best]
    expected = {e: counts[e] / sum(counts.values()) for e in sorted(counts)}
    # Losses that differ in the last digits may be chosen in another order: compare their result.
    found = choose_ensemble(logits, labels)
    assert found == pytest.approx(expected) or loss(logits, found, labels) == pytest.approx(
        least, abs=1e-7
    )


@examples(30)
@given(drawn, st.randoms(use_true_random=False))
def test_neither_order_nor_copies_with_higher_numbers_change_the_choice(
    drawn: tuple[Logits, NDArray[np.int64]], random: object
) -> None:
    logits, labels = drawn
    expected = choose_ensemble(logits, labels)
    copies = {e + 1000: own.copy() for e, own in logits.items()}
    mixed = [*(logits | copies).items()]
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert choose_ensemble(dict(mixed), labels) == expected


@examples(30)
@given(drawn, st.data())
def test_a_choice_by_some_images_sees_no_others(
    drawn: tuple[Logits, NDArray[np.int64]], data: st.DataObject
) -> None:
    logits, labels = drawn
    every = range(len(labels))
    images = np.array(data.draw(st.lists(st.sampled_from(every), min_size=1, unique=True)))
    alone = {e: own[images] for e, own in logits.items()}
    assert choose_ensemble(logits, labels, images) == choose_ensemble(alone, labels[images])


def test_two_models_that_err_on_different_images_share_equally() -> None:
    labels = np.array([0, 1, 0, 1])
    sure = np.array([[4, 0], [0, 4], [4, 0], [0, 4]], np.float32)
    first, second = sure.copy(), sure.copy()
    first[0], second[1] = [0, 4], [4, 0]
    assert choose_ensemble({7: first, 3: second}, labels) == {3: 0.5, 7: 0.5}


def test_one_evaluation_is_its_own_ensemble() -> None:
    logits, labels = draw(0, 1, 20, 3)
    (number,) = logits
    assert choose_ensemble(logits, labels) == {number: 1.0}
    mean = mean_logits(logits, {number: 1.0})
    assert softmax(mean, axis=1) == pytest.approx(softmax(logits[number], axis=1), abs=1e-6)


def test_evaluations_without_a_finite_loss_are_no_members() -> None:
    logits, labels = draw(1, 3, 20, 3)
    broken: Logits = {100: np.full((20, 3), np.nan, np.float32)}
    broken[101] = logits[next(iter(logits))].copy()
    broken[101][4, labels[4]] = np.inf
    broken[102] = logits[next(iter(logits))].copy()
    broken[102][4, labels[4]] = -np.inf
    assert choose_ensemble(broken | logits, labels) == choose_ensemble(logits, labels)
    assert choose_ensemble(broken, labels) == {}
    assert choose_ensemble({}, labels) == {}


@pytest.mark.parametrize("scale", [1e3, 1e5])
def test_probabilities_too_small_for_a_number_still_count(scale: float) -> None:
    logits, labels = draw(2, 4, 20, 3)
    wide = {e: own * np.float32(scale) for e, own in logits.items()}
    members = choose_ensemble(wide, labels)
    assert members
    mean = mean_logits(wide, members)
    assert mean.dtype == np.float32
    assert np.isfinite(mean).all()
    assert np.allclose(np.exp(mean.astype(float)).sum(1), 1, atol=1e-5)


@examples(30)
@given(drawn)
def test_mean_logits_are_the_logarithm_of_mean_probabilities(
    drawn: tuple[Logits, NDArray[np.int64]],
) -> None:
    logits, labels = drawn
    members = choose_ensemble(logits, labels)
    expected = sum(share * softmax(logits[e].astype(float), axis=1) for e, share in members.items())
    assert softmax(mean_logits(logits, members), axis=1) == pytest.approx(expected, abs=1e-6)


def test_the_choice_needs_little_memory_beside_the_logits() -> None:
    logits, labels = draw(3, 40, 400, 200)
    stack = sum(own.nbytes for own in logits.values())
    tracemalloc.start()
    choose_ensemble(logits, labels)
    choose_ensemble(logits, labels, np.arange(300))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < stack / 4


def _whole(value: float) -> bool:
    return abs(value - round(value)) < 1e-9
