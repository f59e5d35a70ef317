"""Gains are paired by seed, in each cell and over several."""

from __future__ import annotations

from statistics import mean

import pytest
from scipy.stats import ttest_1samp

from benchmarks import cell_gains

IMAGES = {"A": "digits", "B": "digits", "D": "fashion", "E": "clip art"}
OURS = {"seeds": [1, 0, 2], "accuracy": [80.0, 90.0, 70.0]}
FULL = {"seeds": [0, 1, 5], "accuracy": [86.0, 79.0, 0.0]}


def test_seeds_are_names_not_places() -> None:
    assert cell_gains.gains(OURS, FULL, "accuracy") == {0: 4.0, 1: 1.0}
    old = {"accuracy": [86.0, 79.0]}  # without seeds
    found = cell_gains.joined([{"A": {"revo": OURS}}, {"A": {"full": old}}])
    assert cell_gains.differences(found, "accuracy")["A"]["full"]["mean"] == 2.5


def test_cells_on_the_same_images_are_one_draw_for_each_seed() -> None:
    both = {cell: {"revo": OURS, "full": FULL} for cell in IMAGES}
    pooled = {
        names: cell_gains.together({cell: both[cell] for cell in names}, IMAGES, "accuracy")["full"]
        for names in ("AB", "AD")
    }
    one = cell_gains.differences(both, "accuracy")["A"]["full"]
    assert [pooled["AB"][key] for key in ("mean", "low", "high")] == [
        one[key] for key in ("mean", "low", "high")
    ]
    assert pooled["AD"]["visible"] < one["visible"]


def test_all_comparisons_of_a_record() -> None:
    gains = {"A": [1.0, 2.0, 6.0], "B": [0.0, 1.0, -1.0], "D": [4.0, 5.0, 9.0]}
    cells = {
        cell: {
            "revo": {"seeds": [0, 1, 2], "accuracy": own, "ensemble": [80.0, 81.0, 83.0]},
            "full": {"seeds": [0, 1, 2], "accuracy": [0.0] * 3, "ensemble": [80.0, 80.0, 80.0]},
        }
        for cell, own in gains.items()
    }
    found = cell_gains.compared(cells, IMAGES)
    together = found["together"]["full"]
    means = [mean(own) for own in gains.values()]
    assert together["mean"] == pytest.approx(mean(means), abs=0.005)
    low, high = ttest_1samp(means, 0).confidence_interval()
    assert [together["draws_low"], together["draws_high"]] == pytest.approx([low, high], abs=0.005)
    assert found["images"]["digits"]["full"]["mean"] == 1.5
    assert found["images"].keys() == {"digits"}  # one cell has no mean over cells
    assert found["ensembles"]["together"]["full"]["mean"] == pytest.approx(4 / 3, abs=0.005)
    assert found["refits"] == {"differences": {}, "together": {}, "images": {"digits": {}}}
    one_rate = found["one_rate"]["together"]["revo"]
    assert (one_rate["mean"], one_rate["low"]) == (-together["mean"], -together["high"])
