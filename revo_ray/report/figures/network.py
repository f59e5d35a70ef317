"""A network's units along an axis, grouped into blocks and stages by their names."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from matplotlib.axes import Axes

from revo_ray.report.style import INK

LABELS = 30
"""Number of labels that fit side by side."""


def groups(units: Sequence[str]) -> list[tuple[str, int, int]]:
    """Neighbouring units of one block or stage: name, first index, and the index after the last.

    `blocks.3.0.conv_dw` belongs to `blocks.3`, `layer1.0.conv1` to `layer1.0`.
    """
    found, start = [], 0
    for name, members in groupby(units, key=_group):
        end = start + len(list(members))
        found.append((name, start, end))
        start = end
    return found


def depth_axis(axes: Axes, units: Sequence[str]) -> None:
    """Set up an axis of units from left to right, with group names and lines between groups."""
    found = groups(units)
    labelled = _with_room(found, len(units) / LABELS)
    axes.set_xlim(-0.7, len(units) - 0.3)
    axes.set_xticks(
        [(start + end - 1) / 2 for _, start, end in labelled],
        [name for name, _, _ in labelled],
        rotation=38,
        ha="right",
        rotation_mode="anchor",
        fontsize=8,
    )
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x", visible=False)
    for _, start, _ in found[1:]:
        axes.axvline(start - 0.5, color=INK, alpha=0.13, lw=0.6, zorder=0)


def _with_room(found: list[tuple[str, int, int]], room: float) -> list[tuple[str, int, int]]:
    """Groups whose labels do not touch: the last one, then the larger ones first."""
    chosen: list[tuple[str, int, int]] = []
    for group in sorted(found, key=lambda group: (group != found[-1], group[1] - group[2])):
        middle = (group[1] + group[2]) / 2
        if all(abs(middle - (start + end) / 2) >= room for _, start, end in chosen):
            chosen.append(group)
    return sorted(chosen, key=lambda group: group[1])


def _group(unit: str) -> str:
    parts = unit.split(".")
    number = next((i for i, part in enumerate(parts) if part.isdigit()), 0)
    return ".".join(parts[: number + 1])
