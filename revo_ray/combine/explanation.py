"""Explains test scores: intervals, confusions, scores by class, calibration, the worst errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from revo_ray.combine.cross_fitting import group_numbers
from revo_ray.objective import Scores

RESAMPLES = 1000
FEWEST_RESAMPLES = 100
MOST_PRODUCTS = 10**8
"""Resamples × images × classes that an interval of the AUC may take; fewer resamples beyond."""
ROUNDING = 1e-9
BINS = 15
"""Bins of the calibration, as in Guo et al. 2017 (arXiv 1706.04599)."""

_CHUNK = 2 * 10**6  # resamples × images at a time: 16 MB for each array


def score_intervals(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    scores: Scores,
    groups: Sequence[str | None] = (),
) -> dict[str, tuple[float, float]]:
    """95 % intervals of scores for so many images, by metric.

    That of the accuracy is Wilson's. The others are percentiles of 1,000 seeded bootstrap samples
    of the images. Images of one group are not independent: if there are groups, whole groups are
    sampled, for the accuracy too. If all samples have the same accuracy, such as 1, its interval is
    Wilson's for as many images as there are groups. The intervals do not cover what another
    training seed would change.

    Args:
        logits: (n, C).
        labels: (n,) classes.
        groups: (n,) groups of the images; an image without one is a group of its own.
        scores: of these logits. Undefined scores get no interval, and neither do scores of which
            all samples agree, such as those of a model without errors.
    """
    group_of = group_numbers(groups) if len(groups) else np.arange(len(labels))
    independent = len(np.unique(group_of))
    alone = independent == len(labels)
    accuracy = float((logits.argmax(1) == labels).mean())
    found = {"accuracy": _wilson(accuracy, independent)}
    if np.isfinite(logits).all():
        sampled_scores = _bootstrap(logits, labels, group_of)
        if alone:
            del sampled_scores["accuracy"]
        for name, sampled in sampled_scores.items():
            defined = sampled[~np.isnan(sampled)]
            if len(defined) and np.ptp(defined) > ROUNDING:
                low, high = np.percentile(defined, [2.5, 97.5])
                found[name] = float(low), float(high)
    return {name: ends for name, ends in found.items() if getattr(scores, name) is not None}


def _wilson(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share of `count` independent images (Wilson 1927)."""
    z = NormalDist().inv_cdf(0.975)
    centre = share + z**2 / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    low, high = ((centre + end) / (1 + z**2 / count) for end in (-half, half))
    return max(0.0, low), min(1.0, high)


def _bootstrap(
    logits: NDArray[np.float32], labels: NDArray[np.int64], group_of: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """Scores of resampled groups by metric: (RESAMPLES,), NaN where one is not defined."""
    from scipy.sparse import csr_array
    from scipy.special import log_softmax

    images, classes = logits.shape
    groups = int(group_of.max()) + 1
    places, predicted = np.arange(images), logits.argmax(1)
    wide = logits.astype(np.float64)
    known = log_softmax(wide, axis=1)
    losses = -known[places, labels]
    shape = (images, classes)
    true_of = csr_array((np.ones(images), (places, labels)), shape)
    predicted_of = csr_array((np.ones(images), (places, predicted)), shape)
    right_of = csr_array(((predicted == labels).astype(float), (places, labels)), shape)
    ranking = wide - wide[:, ::-1] if classes == 2 else known  # as in `classification_scores`
    for_auc = min(RESAMPLES, max(FEWEST_RESAMPLES, MOST_PRODUCTS // (images * classes)))
    rng = np.random.default_rng(0)
    found: dict[str, list[NDArray[np.float64]]] = {}
    done = 0
    while done < RESAMPLES:
        count = min(RESAMPLES - done, max(1, _CHUNK // images))
        drawn = rng.integers(groups, size=(count, groups)) + groups * np.arange(count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * groups).reshape(count, groups)
        weights = times[:, group_of].astype(np.float64)
        sizes = weights.sum(1)
        support, right, answers = (weights @ of for of in (true_of, right_of, predicted_of))
        with np.errstate(invalid="ignore"):  # classes without images
            recall, f1 = right / support, 2 * right / (support + answers)
        found.setdefault("loss", []).append(weights @ losses / sizes)
        found.setdefault("accuracy", []).append(right.sum(1) / sizes)
        found.setdefault("balanced_accuracy", []).append(np.nanmean(recall, 1))
        found.setdefault("macro_f1", []).append(np.nanmean(f1, 1))
        if done < for_auc:
            found.setdefault("auc", []).append(
                _weighted_auc(ranking, labels, weights[: for_auc - done])
            )
        done += count
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _weighted_auc(
    ranking: NDArray[Any], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The AUC of one class against the rest, mean over the classes with both, by resample.

    Args:
        ranking: (n, C), increases with the probability of a class.
        labels: (n,) classes.
        weights: (B, n), how often each image is in a resample.

    Returns:
        (B,), NaN where no class has images inside and outside.
    """
    total = np.zeros(len(weights))
    defined = np.zeros(len(weights))
    for number, column in enumerate(ranking.T):
        inside = labels == number
        if not inside.any() or inside.all():
            continue
        order = np.argsort(column[~inside], kind="stable")
        others = column[~inside][order]
        below = np.zeros((len(weights), len(others) + 1))
        np.cumsum(weights[:, ~inside][:, order], axis=1, out=below[:, 1:])
        under, upto = (np.searchsorted(others, column[inside], side) for side in ("left", "right"))
        own = weights[:, inside]
        won = np.einsum("bi,bi->b", own, below[:, under] + below[:, upto]) / 2  # ties count half
        pairs = own.sum(1) * below[:, -1]
        total += np.divide(won, pairs, out=np.zeros_like(won), where=pairs > 0)
        defined += pairs > 0
    return np.divide(total, defined, out=np.full_like(total, np.nan), where=defined > 0)


def worst_errors(
    logits: NDArray[np.float32], labels: NDArray[np.int64], count: int = 12
) -> NDArray[np.int64]:
    """Positions (m,) of the images that are wrong with the highest confidence, the surest first."""
    wrong = np.flatnonzero(logits.argmax(1) != labels)
    sure = np.nan_to_num(_confidence(logits[wrong]), nan=-1.0)
    return wrong[np.argsort(-sure, kind="stable")][:count].astype(np.int64)


def explain(
    logits: NDArray[np.float32], labels: NDArray[np.int64], classes: tuple[str, ...]
) -> dict[str, Any]:
    """Confusions, scores by class and calibration, as plain values for `result.json`.

    Returns:
        `confusions`: [true class, predicted class, number of images], those on the diagonal
        included and those without images left out. `classes`: `precision`, `recall`, `f1` and
        `support` by name, in the order of the classes; None where one is not defined.
        `calibration`: the expected calibration `error`, and `bins` of equal width of the top
        probability with `count`, mean `confidence` and `accuracy`, the last two None in an empty
        bin; None if a logit is not finite.
    """
    from sklearn.metrics import precision_recall_fscore_support

    predicted = logits.argmax(1)
    pairs, counts = np.unique(np.stack([labels, predicted], 1), axis=0, return_counts=True)
    *by_class, support = precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(classes)), zero_division=np.nan
    )
    keys = ("precision", "recall", "f1")
    return {
        "confusions": [
            [*pair, count] for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True)
        ],
        "classes": {
            name: {key: _known(value) for key, value in zip(keys, values, strict=True)}
            | {"support": count}
            for name, values, count in zip(
                classes, np.stack(by_class, 1).tolist(), support.tolist(), strict=True
            )
        },
        "calibration": _calibration(logits, labels) if np.isfinite(logits).all() else None,
    }


def _calibration(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, Any]:
    """The expected calibration error, and its bins (Guo et al. 2017, eq. 3)."""
    confidence, right = _confidence(logits), logits.argmax(1) == labels
    inside = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    counts = np.bincount(inside, minlength=BINS)
    sums = [np.bincount(inside, values, minlength=BINS) for values in (confidence, right)]
    return {
        "error": float(np.abs(sums[0] - sums[1]).sum() / len(labels)),
        "bins": [
            {
                "count": count,
                "confidence": sure / count if count else None,
                "accuracy": share / count if count else None,
            }
            for count, sure, share in zip(
                counts.tolist(), *(each.tolist() for each in sums), strict=True
            )
        ],
    }


def _confidence(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """The highest probability (n,) of each image."""
    from scipy.special import softmax

    with np.errstate(invalid="ignore"):
        found: NDArray[np.float64] = softmax(logits.astype(np.float64), axis=1).max(1)
    return found


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
