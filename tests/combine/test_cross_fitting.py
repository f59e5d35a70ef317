"""Folds keep groups whole and classes even; a choice is scored on images that it has not seen."""

from __future__ import annotations

import warnings
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, log_loss

from revo_ray.combine.cross_fitting import cross_fitted, make_folds
from revo_ray.objective import Scores
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


def test_scores_are_means_over_the_folds() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0] * 12 + [1] * 11)
    logits = rng.normal(size=(23, 2)).astype(np.float32)
    folds = make_folds(labels, [None] * 23, 0)
    scores = cross_fitted(labels, folds, lambda images: logits)
    assert scores is not None
    right = [accuracy_score(labels[fold], logits[fold].argmax(1)) for fold in folds]
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    losses = [log_loss(labels[fold], shares[fold], labels=[0, 1]) for fold in folds]
    assert scores.accuracy == pytest.approx(np.mean(right))
    assert scores.loss == pytest.approx(np.mean(losses))


def test_a_metric_counts_in_the_folds_where_it_is_defined() -> None:
    labels = np.array([0, 1, 0, 0, 0, 0])
    logits = np.array([[2, 0], [0, 2]] + [[2, 0]] * 4, np.float32)
    folds = [np.array([0, 1]), np.array([2, 3]), np.array([4, 5])]
    scores = cross_fitted(labels, folds, lambda images: logits)
    assert scores is not None
    assert scores.auc == 1  # only the first fold has both classes
    broken = logits.copy()
    broken[4] = np.nan
    scores = cross_fitted(labels, folds, lambda images: broken)
    assert scores is not None
    assert scores.loss == pytest.approx(float(np.log1p(np.exp(-2))))
    nowhere = cross_fitted(labels, folds[1:], lambda images: logits)
    assert nowhere is not None
    assert nowhere.auc is None
    assert None not in {v for name, v in asdict(nowhere).items() if name != "auc"}


def test_without_folds_there_are_no_scores() -> None:
    def never(images: NDArray[np.int64]) -> NDArray[np.float32]:
        raise AssertionError

    found: Scores | None = cross_fitted(np.array([0, 1]), [], never)
    assert found is None
