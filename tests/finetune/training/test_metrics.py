"""The metrics, against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, roc_auc_score

from revo_ray.finetune.training.metrics import classification_scores
from revo_ray.objective import Scores


def draw(n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n, classes)) * 3
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    return logits, labels


def recall_and_f1(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Balanced accuracy and macro F1 from the confusion matrix (label, prediction)."""
    matrix = confusion_matrix(labels, logits.argmax(1), labels=np.arange(logits.shape[1]))
    hits, images, predicted = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    seen, met = images > 0, images + predicted > 0
    recall = np.mean(hits[seen] / images[seen])
    return float(recall), float(np.mean(2 * hits[met] / (images + predicted)[met]))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [3, 10])
def test_equals_scikit_learn(classes: int, ties: bool) -> None:
    logits, labels = draw(200, classes)
    if ties:
        logits[50:170] = logits[49]
    probabilities, predicted = softmax(logits, axis=1), logits.argmax(1)
    got = classification_scores(torch.tensor(logits), torch.tensor(labels))
    recall, _ = recall_and_f1(logits, labels)
    expected = Scores(
        loss=log_loss(labels, probabilities),
        accuracy=accuracy_score(labels, predicted),
        auc=roc_auc_score(labels, probabilities, multi_class="ovr", average="macro"),
        balanced_accuracy=recall,
        macro_f1=f1_score(labels, predicted, average="macro"),
    )
    assert vars(got) == pytest.approx(vars(expected), rel=1e-12)


@pytest.mark.parametrize("scale", [1.0, 100.0], ids=["ordinary", "saturated"])
def test_two_classes_give_the_binary_auc(scale: float) -> None:
    logits, labels = draw(100, 2)
    logits *= scale
    expected = roc_auc_score(labels, logits[:, 1] - logits[:, 0])
    assert classification_scores(logits, labels).auc == pytest.approx(expected, rel=1e-12)


def test_classes_without_images_are_left_out_of_the_auc() -> None:
    logits, labels = draw(100, 5)
    labels[labels == 3] = 4
    probabilities = softmax(logits, axis=1)
    expected = np.mean([roc_auc_score(labels == c, probabilities[:, c]) for c in (0, 1, 2, 4)])
    assert classification_scores(logits, labels).auc == pytest.approx(expected, rel=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("predicted", [True, False])
def test_a_class_without_images_counts_in_macro_f1_only_if_it_is_predicted(predicted: bool) -> None:
    logits, labels = draw(100, 5)
    labels[labels == 3] = 4
    if not predicted:
        logits[:, 3] = -100
    got = classification_scores(logits, labels)
    recall, f1 = recall_and_f1(logits, labels)
    assert got.balanced_accuracy == pytest.approx(recall, rel=1e-12)
    assert got.macro_f1 == pytest.approx(f1, rel=1e-12)
    assert (3 in logits.argmax(1)) == predicted


def test_one_class_alone_has_no_auc() -> None:
    got = classification_scores(np.eye(3), np.array([1, 1, 1]))
    assert got.auc is None
    assert got.balanced_accuracy == got.accuracy == pytest.approx(1 / 3)
    assert got.macro_f1 == pytest.approx(1 / 6)  # 1/2 for its own class, 0 for the two others


def test_equal_logits_for_all_images_are_chance() -> None:
    logits, labels = draw(50, 4)
    got = classification_scores(np.repeat(logits[:1], 50, 0), labels)
    assert (got.auc, got.balanced_accuracy) == (0.5, 0.25)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_logit_that_is_not_finite_leaves_the_accuracy_alone(value: float) -> None:
    logits, labels = draw(20, 3)
    logits[4, 2] = value
    got = classification_scores(logits, labels)
    assert got.loss is not None
    assert got.accuracy is not None
    assert math.isnan(got.loss)
    assert 0 <= got.accuracy <= 1
    assert got.finite == Scores(accuracy=got.accuracy)


def test_large_finite_logits_have_a_finite_loss() -> None:
    logits = torch.tensor([[3e38, -3e38], [-3e38, 3e38]])
    got = classification_scores(logits, torch.tensor([1, 1]))
    assert got.loss is not None
    assert 1e38 < got.loss < math.inf


@pytest.mark.parametrize("shape", [(0, 3), (4, 3)])
def test_shapes_that_do_not_fit(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="logits"):
        classification_scores(np.zeros(shape), np.zeros(0 if shape[0] == 0 else 5, int))
