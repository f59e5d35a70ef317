"""The splits of a seed stay the same from version to version, those of grouped images too.

A search that is resumed, and a study that compares methods, count on it. The tables are of many
kinds, so that no choice between groups that are equally good goes unseen.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from revo_ray.data.splits.split import split
from revo_ray.data.splits.subset import subset
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig


def drawn(kind: str, seed: int) -> str:
    """Splits of a table with groups, a part of it, or what is said of fractions that cannot be."""
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 6))
    labels = rng.choice(classes, int(rng.integers(30, 160)), p=rng.dirichlet(np.ones(classes) * 3))
    largest = int(rng.integers(2, 9))
    sizes = rng.integers(1, largest + 1, len(labels))
    numbers = np.searchsorted(np.cumsum(sizes), np.arange(len(labels)), side="right")
    groups: list[str | None] = [f"g{number}" for number in numbers]
    order = rng.permutation(len(labels)) if kind == "mixed" else np.argsort(labels, kind="stable")
    labels, groups = (
        labels[order],
        [groups[i] for i in (order if kind == "mixed" else range(len(groups)))],
    )
    fractions = np.round(rng.dirichlet(np.ones(3)) * rng.uniform(0.3, 1), 3)
    keys = dict(
        zip(("train_fraction", "validation_fraction", "test_fraction"), fractions, strict=True)
    )
    try:
        part = subset(labels, int(len(labels) * rng.uniform(0.3, 0.9)), seed, groups=groups)
        found = split(labels, DataConfig(seed=seed, **keys), groups)
    except UserError as error:
        return str(error)
    splits = [part, found.train, found.validation, found.test]
    return "|".join(",".join(map(str, np.asarray(each).tolist())) for each in splits)


@pytest.mark.parametrize(
    ("kind", "digest"), [("mixed", "483638615f4d6b76"), ("one class", "3933aae166d0b02c")]
)
def test_splits_of_groups_stay_the_same(kind: str, digest: str) -> None:
    said = "\n".join(drawn(kind, seed) for seed in range(60))
    assert hashlib.sha256(said.encode()).hexdigest().startswith(digest)
