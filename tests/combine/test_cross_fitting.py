"""Folds keep groups whole and classes even; a choice is scored on images that it has not seen."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from revo_ray.combine.cross_fitting import cross_fitted, make_folds, ranking_scores
from revo_ray.finetune.training.metrics import classification_scores
from revo_ray.objective import METRICS, Metric
from tests.properties import examples

labelled = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(np.array)


@examples(60)
@given(labelled, st.integers(0, 2**32 - 1))
def test_each_image_is_in_one_fold_and_classes_are_even(
    labels: NDArray[np.int64], seed: int
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folds = make_folds(labels, [None] * len(labels), seed)
    if len(labels) < 5:
        assert folds == []
        return
    assert len(folds) == 5
    assert sorted(np.concatenate(folds).tolist()) == [*range(len(labels))]
    sizes = [len(fold) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    if np.bincount(labels).max() >= 5:
        counts = np.stack([np.bincount(labels[fold], minlength=5) for fold in folds])
        assert (counts.max(0) - counts.min(0) <= 1).all()


@examples(60)
@given(labelled, st.integers(0, 2**32 - 1), st.data())
def test_groups_are_whole(labels: NDArray[np.int64], seed: int, data: st.DataObject) -> None:
    names = st.sampled_from([None, "a", "b", "c", "d", "e", "f", "g"])
    size = len(labels)
    groups = data.draw(st.lists(names, min_size=size, max_size=size))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folds = make_folds(labels, groups, seed)
    if len({*groups} - {None}) + groups.count(None) < 5:
        assert folds == []
        return
    assert sorted(np.concatenate(folds).tolist()) == [*range(size)]
    assert all(len(fold) for fold in folds)
    for name in {*groups} - {None}:
        homes = [n for n, fold in enumerate(folds) if name in {groups[i] for i in fold.tolist()}]
        assert len(homes) == 1


def test_even_groups_are_stratified() -> None:
    labels = np.repeat([0, 0, 1, 1, 2], 20)
    groups = [f"{i // 4}" for i in range(100)]
    counts = [np.bincount(labels[fold], minlength=3) for fold in make_folds(labels, groups, 0)]
    assert [each.tolist() for each in counts] == [[8, 8, 4]] * 5


def test_folds_follow_the_seed() -> None:
    labels = np.repeat([0, 1], 50)
    first, again, other = (make_folds(labels, [None] * 100, seed) for seed in (3, 3, 4))
    assert [fold.tolist() for fold in first] == [fold.tolist() for fold in again]
    assert [fold.tolist() for fold in first] != [fold.tolist() for fold in other]


def test_a_choice_is_scored_on_images_that_it_did_not_see() -> None:
    labels = np.tile([0, 1, 2], 20)
    folds = make_folds(labels, [None] * 60, 0)
    sizes = []

    def learnt_by_heart(images: NDArray[np.int64]) -> NDArray[np.float32]:
        sizes.append(len({*images.tolist()}))
        logits = np.eye(3, dtype=np.float32)[(labels + 1) % 3]
        logits[images] = np.eye(3, dtype=np.float32)[labels[images]]
        return logits

    scores = cross_fitted(labels, folds, learnt_by_heart)
    assert scores is not None
    assert (scores.accuracy, sizes) == (0, [48] * 5)


@given(seed=st.integers(0, 999), images=st.integers(20, 60))
@examples(10)
def test_one_choice_for_all_folds_has_its_own_scores(seed: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=images)
    logits = rng.normal(size=(images, 3)).astype(np.float32)
    folds = make_folds(labels, [f"{n % 9}" for n in range(images)], seed)
    scores = cross_fitted(labels, folds, lambda images: logits)
    assert scores == classification_scores(logits, labels)


def test_each_fold_is_answered_by_what_the_others_choose() -> None:
    labels = np.tile([0, 1], 10)
    folds = make_folds(labels, [None] * 20, 0)

    def choose(images: NDArray[np.int64]) -> NDArray[np.float32]:
        """Right for the first fold alone."""
        right = not set(folds[0].tolist()) & set(images.tolist())
        return np.eye(2, dtype=np.float32)[labels if right else 1 - labels]

    scores = cross_fitted(labels, folds, choose)
    assert scores is not None
    assert scores.accuracy == pytest.approx(len(folds[0]) / 20)
    assert cross_fitted(labels, [], choose) is None


@pytest.mark.parametrize("objective", METRICS.values(), ids=list(METRICS))
def test_results_rank_as_by_all_their_scores(objective: Metric) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=30)
    each = [rng.normal(size=(30, 3)).astype(np.float32) for _ in range(6)]
    whole = [objective.rank(classification_scores(logits, labels), 0) for logits in each]
    quick = [objective.rank(ranking_scores(logits, labels, objective), 0) for logits in each]
    assert np.allclose(quick, whole)


def test_without_folds_there_are_no_scores() -> None:
    def never(images: NDArray[np.int64]) -> NDArray[np.float32]:
        raise AssertionError

    found = cross_fitted(np.array([0, 1]), [], never)
    assert found is None
