"""Findings about classes of very different sizes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from revo_ray.data.class_findings import class_findings
from revo_ray.data.image_records import Finding, Topic
from revo_ray.data.inspect import inspect
from revo_ray.data.splits.split import split
from revo_ray.monitor.preparation import prepare_and_show
from revo_ray.settings.schema import DataConfig
from tests.data.layouts import class_folder_files, unpacked


def findings(counts: list[int]) -> list[Finding]:
    labels = np.repeat(np.arange(len(counts)), counts)
    names = [f"class{i}" for i in range(len(counts))]
    return class_findings(names, labels, vars(split(labels, DataConfig(train_fraction="rest"))))


def test_the_images_of_the_rarest_class_are_counted() -> None:
    labels = np.repeat([0, 1], [5, 500])
    splits = split(labels, DataConfig(train_fraction="rest"))
    (finding,) = class_findings(["rare", "common"], labels, vars(splits))
    held = [np.count_nonzero(labels[getattr(splits, n)] == 0) for n in ("validation", "test")]
    assert f"'rare' has 5 images, 'common' has 500: it has {held[0]} validation image" in str(
        finding
    )
    assert (finding.topic, finding.key) == (Topic.CLASSES, "train.class_weights")


@pytest.mark.parametrize(("counts", "said"), [([10, 99], 0), ([10, 100], 1), ([10, 10, 200], 1)])
def test_a_tenth_is_the_limit(counts: list[int], said: int) -> None:
    assert len(findings(counts)) == said
    assert not class_findings(["a", "b"], np.repeat([0, 1], [1, 50]), {})


def test_inspect_and_search_say_it(tmp_path: Path) -> None:
    root = unpacked(class_folder_files({"cat": 4, "dog": 60}), tmp_path / "set")
    config = DataConfig(source="folder", root=str(root), image_size=8, train_fraction="rest")
    (finding,) = inspect(config, tmp_path / "tables").warnings
    console = Console(file=io.StringIO(), width=1000)
    prepare_and_show(config, tmp_path / "tables", console)
    assert f"warning: {finding}" in console.file.getvalue()  # type: ignore[attr-defined]
