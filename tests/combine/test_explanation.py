"""The explanation of scores, against scikit-learn and against resampling by hand."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.metrics import classification_report, confusion_matrix

from revo_ray.combine import explanation
from revo_ray.combine.explanation import explain, score_intervals, worst_errors
from revo_ray.finetune.training.metrics import classification_scores
from tests.properties import examples

Case = tuple[NDArray[np.float32], NDArray[np.int64]]


def draw(seed: int, images: int, classes: int) -> Case:
    """Logits with ties, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=images)
    logits = np.round(rng.normal(size=(images, classes)) + np.eye(classes)[labels], 1)
    return logits.astype(np.float32), labels


cases = st.builds(draw, st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(2, 5))


@pytest.mark.parametrize("parts", [1, 13])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("grouped", [False, True])
def test_intervals_are_those_of_scores_of_resampled_images(
    classes: int, parts: int, grouped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One class is so rare that it is missing in some resamples."""
    logits, labels = draw(0, 60, classes)
    logits *= 60 if classes == 2 else 1  # probabilities that round to 1
    labels[labels == 1] = 0
    labels[[7, 30]] = 1
    monkeypatch.setattr(explanation, "_CHUNK", 60 * 1000 // parts)
    group_of = np.arange(60) // 3 if grouped else np.arange(60)
    sampled = explanation._bootstrap(logits, labels, group_of)
    count = len(set(group_of))
    groups = np.random.default_rng(0).integers(count, size=(1000, count))
    drawn = [np.concatenate([np.flatnonzero(group_of == g) for g in each]) for each in groups]
    missing = [number for number, each in enumerate(drawn) if 1 not in labels[each]]
    assert missing
    for number in [*range(30), *missing[:5], 999]:
        images = drawn[number]
        expected = asdict(classification_scores(logits[images], labels[images]))
        for name, values in sampled.items():
            score = np.nan if expected[name] is None else expected[name]
            assert values[number] == pytest.approx(score, nan_ok=True), name
    names = [f"patient {number}" for number in group_of] if grouped else [None] * 60
    found = score_intervals(logits, labels, classification_scores(logits, labels), names)
    assert found.keys() == {"loss", "accuracy", "auc", "balanced_accuracy", "macro_f1"}
    for name, values in sampled.items():
        if name == "accuracy" and not grouped:  # it is Wilson's
            continue
        assert found[name] == pytest.approx(np.nanpercentile(values, [2.5, 97.5]))


def test_many_images_and_classes_have_fewer_resamples_for_the_auc(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logits, labels = draw(0, 60, 3)
    whole = explanation._bootstrap(logits, labels, np.arange(60))
    monkeypatch.setattr(explanation, "MOST_PRODUCTS", 60 * 3 * 150)
    monkeypatch.setattr(explanation, "_CHUNK", 60 * 40)
    fewer = explanation._bootstrap(logits, labels, np.arange(60))
    assert len(fewer["auc"]) == 150
    assert fewer["auc"] == pytest.approx(whole["auc"][:150])
    assert fewer["loss"] == pytest.approx(whole["loss"])


def test_the_interval_of_the_accuracy_is_wilsons() -> None:
    labels = np.zeros(20, np.int64)
    logits = np.eye(2, dtype=np.float32)[[0] * 15 + [1] * 5]
    z, n, p = 1.959964, 20, 0.75
    centre, half = p + z**2 / (2 * n), z * sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    expected = [(centre + sign * half) / (1 + z**2 / n) for sign in (-1, 1)]
    scores = classification_scores(logits, labels)
    assert score_intervals(logits, labels, scores)["accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize("right", [0, 1, 2])
def test_the_accuracy_of_groups_that_are_all_alike_is_that_of_so_many_images(right: int) -> None:
    """Ten groups of 20 are known no better than ten images, if every group has the same share."""
    labels = np.zeros(200, np.int64)
    logits = np.eye(2, dtype=np.float32)[(np.arange(200) % 2 >= right).astype(int)]
    groups = [str(number // 20) for number in range(200)]
    found = score_intervals(logits, labels, classification_scores(logits, labels), groups)
    few = binomtest(5 * right, 10).proportion_ci(method="wilson")
    assert found["accuracy"] == pytest.approx((few.low, few.high))


@examples(40)
@given(cases)
def test_intervals_are_the_same_each_time_and_in_range(case: Case) -> None:
    logits, labels = case
    scores = classification_scores(logits, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = score_intervals(logits, labels, scores)
    assert found == score_intervals(logits, labels, scores)
    low, high = found["accuracy"]
    assert low - 1e-9 <= (scores.accuracy or 0) <= high + 1e-9
    for name, (low, high) in found.items():
        assert getattr(scores, name) is not None
        assert 0 <= low < high <= (1 if name != "loss" else np.inf)


def test_more_images_make_narrower_intervals() -> None:
    widths = []
    for images in (50, 5000):
        logits, labels = draw(1, images, 10)
        found = score_intervals(logits, labels, classification_scores(logits, labels))
        widths.append({name: high - low for name, (low, high) in found.items()})
    few, many = widths
    assert few.keys() == many.keys()
    assert len(few) == 5
    assert all(many[name] < few[name] / 4 for name in few)


def test_scores_of_which_nothing_is_known_have_no_interval() -> None:
    labels = np.tile([0, 1, 2], 10)
    perfect = 9 * np.eye(3, dtype=np.float32)[labels]
    found = score_intervals(perfect, labels, classification_scores(perfect, labels))
    assert found.keys() == {"accuracy"}
    assert found["accuracy"][0] < 1

    one_class = np.zeros(30, np.int64)
    logits, _ = draw(2, 30, 3)
    found = score_intervals(logits, one_class, classification_scores(logits, one_class))
    assert "auc" not in found
    assert "loss" in found

    logits[4, 1] = np.nan
    assert score_intervals(logits, labels, classification_scores(logits, labels)).keys() == {
        "accuracy"
    }


@examples(40)
@given(cases, st.integers(1, 15))
def test_the_worst_errors_are_the_surest(case: Case, count: int) -> None:
    logits, labels = case
    worst = worst_errors(logits, labels, count)
    sure = softmax(logits.astype(float), axis=1).max(1)
    wrong = {i for i in range(len(labels)) if logits[i].argmax() != labels[i]}
    assert {*worst.tolist()} <= wrong
    assert len(worst) == min(count, len(wrong))
    assert (np.diff(sure[worst]) <= 0).all()
    if len(worst):
        assert all(sure[i] <= sure[worst[-1]] for i in wrong - {*worst.tolist()})


@examples(40)
@given(cases)
def test_an_explanation_is_scikit_learns_and_plain_json(case: Case) -> None:
    logits, labels = case
    names = tuple("abcde"[: logits.shape[1]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = explain(logits, labels, names)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    predicted = logits.argmax(1)
    matrix = np.zeros((len(names), len(names)), int)
    for true, answer, count in found["confusions"]:
        matrix[true, answer] = count
        assert count > 0
    assert (matrix == confusion_matrix(labels, predicted, labels=range(len(names)))).all()

    report = classification_report(
        labels,
        predicted,
        labels=range(len(names)),
        target_names=names,
        output_dict=True,
        zero_division=np.nan,
    )
    assert (*found["classes"],) == names
    for name, own in found["classes"].items():
        expected = {key.replace("-score", ""): value for key, value in report[name].items()}
        assert own == {k: None if np.isnan(v) else pytest.approx(v) for k, v in expected.items()}


@examples(40)
@given(cases)
def test_calibration_is_counted_bin_by_bin(case: Case) -> None:
    logits, labels = case
    found = explain(logits, labels, tuple("abcde"[: logits.shape[1]]))["calibration"]
    sure, right = softmax(logits.astype(float), axis=1).max(1), logits.argmax(1) == labels
    error = 0.0
    for number, own in enumerate(found["bins"]):
        inside = (sure > number / 15) & (sure <= (number + 1) / 15)
        assert own["count"] == inside.sum()
        if inside.any():
            assert own["confidence"] == pytest.approx(sure[inside].mean())
            assert own["accuracy"] == pytest.approx(right[inside].mean())
            error += inside.sum() * abs(sure[inside].mean() - right[inside].mean())
        else:
            assert own["confidence"] is own["accuracy"] is None
    assert len(found["bins"]) == 15
    assert found["error"] == pytest.approx(error / len(labels))


def test_calibration_of_known_models() -> None:
    eight_of_ten = np.array([0] * 8 + [1] * 2)
    honest = np.tile(np.log([0.8, 0.2]), (10, 1)).astype(np.float32)
    assert explain(honest, eight_of_ten, ("a", "b"))["calibration"]["error"] < 1e-6
    sure = np.tile([100, 0], (10, 1)).astype(np.float32)
    found = explain(sure, np.ones(10, np.int64), ("a", "b"))["calibration"]
    assert found["error"] == pytest.approx(1)
    assert [own["count"] for own in found["bins"]] == [0] * 14 + [10]
    third = np.zeros((10, 3), np.float32)  # on an edge: it belongs to the bin below
    found = explain(third, eight_of_ten, ("a", "b", "c"))["calibration"]
    assert [own["count"] for own in found["bins"]] == [0] * 4 + [10] + [0] * 10


def test_logits_that_are_no_numbers_are_explained_without_calibration() -> None:
    logits, labels = draw(5, 20, 3)
    logits[3] = np.nan
    found = explain(logits, labels, ("a", "b", "c"))
    assert found["calibration"] is None
    json.dumps(found, allow_nan=False)
    assert 3 not in worst_errors(logits, labels, 1)
