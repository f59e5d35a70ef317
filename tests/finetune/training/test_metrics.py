"""The metrics, against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from revo_ray.finetune.training.metrics import classification_metrics


def draw(n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n, classes)) * 3
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    return logits, labels


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [3, 10])
def test_equals_scikit_learn(classes: int, ties: bool) -> None:
    logits, labels = draw(200, classes)
    if ties:
        logits[50:170] = logits[49]
    probabilities = softmax(logits, axis=1)
    got = classification_metrics(torch.tensor(logits), torch.tensor(labels))
    assert got.loss == pytest.approx(log_loss(labels, probabilities), rel=1e-12)
    assert got.accuracy == pytest.approx(accuracy_score(labels, logits.argmax(1)), rel=1e-12)
    expected = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert got.auc == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scale", [1.0, 100.0], ids=["ordinary", "saturated"])
def test_two_classes_give_the_binary_auc(scale: float) -> None:
    logits, labels = draw(100, 2)
    logits *= scale
    expected = roc_auc_score(labels, logits[:, 1] - logits[:, 0])
    assert classification_metrics(logits, labels).auc == pytest.approx(expected, rel=1e-12)


def test_classes_without_images_are_left_out_of_the_auc() -> None:
    logits, labels = draw(100, 5)
    labels[labels == 3] = 4
    probabilities = softmax(logits, axis=1)
    expected = np.mean([roc_auc_score(labels == c, probabilities[:, c]) for c in (0, 1, 2, 4)])
    assert classification_metrics(logits, labels).auc == pytest.approx(expected, rel=1e-12)


def test_one_class_alone_has_no_auc() -> None:
    assert classification_metrics(np.eye(3), np.array([1, 1, 1])).auc is None


def test_equal_logits_for_all_images_are_chance() -> None:
    logits, labels = draw(50, 4)
    assert classification_metrics(np.repeat(logits[:1], 50, 0), labels).auc == 0.5


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_logit_that_is_not_finite_spoils_loss_and_auc(value: float) -> None:
    logits, labels = draw(20, 3)
    logits[4, 2] = value
    got = classification_metrics(logits, labels)
    assert not math.isfinite(got.loss)
    assert got.auc is None
    assert 0 <= got.accuracy <= 1


def test_large_finite_logits_have_a_finite_loss() -> None:
    logits = torch.tensor([[3e38, -3e38], [-3e38, 3e38]])
    got = classification_metrics(logits, torch.tensor([1, 1]))
    assert 1e38 < got.loss < math.inf


@pytest.mark.parametrize("shape", [(0, 3), (4, 3)])
def test_shapes_that_do_not_fit(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="logits"):
        classification_metrics(np.zeros(shape), np.zeros(0 if shape[0] == 0 else 5, int))
