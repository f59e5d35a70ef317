"""Gains of the default over its rivals, paired by seed: in each cell, and over several."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from revo_ray.report import paired_tests

OURS = "revo"
ONE_RATE = "full"

Figures = dict[str, Any]
"""Part of a record's line. Of a way: its `seeds`, and in their order the values of each score."""
Cells = Mapping[str, Mapping[str, Figures]]
"""Figures by cell and way."""


def compared(cells: Cells, images: Mapping[str, str]) -> Figures:
    """All differences of a record.

    Args:
        cells: figures by cell and way.
        images: the data set of each cell.
    """
    return {
        **of_score(cells, images, "accuracy"),
        "ensembles": of_score(cells, images, "ensemble"),
        "refits": of_score(cells, images, "refit"),
        "one_rate": of_score(cells, images, "accuracy", ONE_RATE),
    }


def of_score(cells: Cells, images: Mapping[str, str], score: str, ours: str = OURS) -> Figures:
    """Differences of one way to each other: by cell, over all, and over those on some images."""
    return {
        "differences": differences(cells, score, ours),
        "together": together(cells, images, score, ours),
        "images": {
            name: together(own, images, score, ours)
            for name in dict.fromkeys(images[cell] for cell in cells)
            if len(own := {cell: cells[cell] for cell in cells if images[cell] == name}) > 1
        },
    }


def differences(cells: Cells, score: str, ours: str = OURS) -> Figures:
    """Differences by cell, with p corrected for the rivals of the cell."""
    found: Figures = {}
    for cell, way, own in gains_of(cells, score, ours):
        found.setdefault(cell, {})[way] = difference([own], [cell])
    for ways in found.values():
        correct(ways)
    return found


def together(cells: Cells, images: Mapping[str, str], score: str, ours: str = OURS) -> Figures:
    """Means over all cells that have a rival, each cell with the same weight.

    `draws_low` and `draws_high` are of the t interval for which the cells are draws from many.
    """
    by_way: dict[str, dict[str, dict[int, float]]] = {}
    for cell, way, own in gains_of(cells, score, ours):
        by_way.setdefault(way, {})[cell] = own
    found: Figures = {}
    for way, of_cells in by_way.items():
        if len(of_cells) > 1:
            counts = {"cells": len(of_cells), "pairs": sum(map(len, of_cells.values()))}
            pooled = difference([*of_cells.values()], [images[cell] for cell in of_cells])
            means = [statistics.fmean(own.values()) for own in of_cells.values()]
            draws = difference([dict(enumerate(means))], [way])
            found[way] = counts | pooled | {f"draws_{end}": draws[end] for end in ("low", "high")}
    correct(found)
    return found


def ahead(ways: Mapping[str, Figures]) -> Figures:
    """Differences of ours to each other way after equal numbers of evaluations."""
    found: Figures = {}
    for way, own in ways.items():
        for name in own:
            if way != OURS and name.startswith("after_") and name in ways.get(OURS, {}):
                line = difference([gains(ways[OURS], own, name)], [way])
                found.setdefault(way, {})[name] = {
                    key: line[key] for key in ("mean", "low", "high")
                }
    return found


def gains_of(
    cells: Cells, score: str, ours: str = OURS
) -> Iterator[tuple[str, str, dict[int, float]]]:
    """Cell, rival, and the gains of ours by seed, of the cells and rivals that have any."""
    for cell, ways in cells.items():
        for way, own in ways.items():
            if way != ours and score in ways.get(ours, {}) and score in own:
                yield cell, way, gains(ways[ours], own, score)


def gains(ours: Figures, theirs: Figures, score: str) -> dict[int, float]:
    """Scores of ours less a rival's, by the seeds of both."""
    one, other = (dict(zip(own["seeds"], own[score], strict=True)) for own in (ours, theirs))
    return {seed: one[seed] - other[seed] for seed in one if seed in other}


def difference(cells: Sequence[Mapping[int, float]], images: Sequence[str]) -> Figures:
    """The mean difference of one cell or several, with its t interval and p."""
    found = paired_tests.difference(cells, images)
    values = {"mean": found.mean, "low": found.low, "high": found.high, "visible": found.visible}
    line = {name: None if value is None else round(value, 2) for name, value in values.items()}
    return line | {"p": found.p}


def correct(found: Mapping[str, Figures]) -> None:
    """Round p, and add Holm's, corrected for the number of rivals."""
    tested = [own for own in found.values() if own["p"] is not None]
    for own, p in zip(tested, paired_tests.holm([own["p"] for own in tested]), strict=True):
        own |= {"p": float(f"{own['p']:.2g}"), "p_holm": float(f"{p:.2g}")}


def joined(parts: Sequence[Cells]) -> dict[str, dict[str, Figures]]:
    """The figures of several records; one cell may stand in two, with other ways.

    A record without seeds is from before they were noted, and begins at 0.
    """
    found: dict[str, dict[str, Figures]] = {}
    for part in parts:
        for cell, ways in part.items():
            for way, own in ways.items():
                seeds = {"seeds": [*range(len(own["accuracy"]))]}
                found.setdefault(cell, {})[way] = seeds | own
    return found
