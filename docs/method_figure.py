"""Draws docs/images/method.svg: `python docs/method_figure.py`, in the style of the reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from revo_ray.report.style import BLUE, FAINT, INK, MUTED, VERMILLION, figure_bytes, styled

UNITS = 11
STEPS = {
    "searcher": (0.2, 2.95, "searcher", "CMA-ES for mixed variables\nsamples a generation whole"),
    "plan": (2.75, 2.95, "plan", "each genome becomes a rate\nfor each unit; 0 is frozen"),
    "tune": (
        5.3,
        2.95,
        "evaluation",
        "pretrained weights, fine-tuned\nunder the plan, on one worker",
    ),
    "ledger": (5.3, 0.3, "ledger", "one row for each evaluation,\nwritten before it is told"),
    "tell": (0.2, 0.3, "tell", "the generation’s validation losses,\nin proposal order"),
}
WIDTH, HEIGHT = 2.15, 0.95


@styled()
def draw() -> Figure:
    """The loop of a search around a network whose units have rates."""
    figure = Figure(figsize=(7.7, 4.3))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 7.7), ylim=(0, 4.3))
    axes.axis("off")
    for left, bottom, title, text in STEPS.values():
        _box(axes, left, bottom, title, text)
    middle = HEIGHT / 2
    _arrow(axes, (2.35, 2.95 + middle), (2.75, 2.95 + middle))
    _arrow(axes, (4.9, 2.95 + middle), (5.3, 2.95 + middle))
    _arrow(axes, (6.4, 2.95), (6.4, 1.25))
    _arrow(axes, (5.3, 0.3 + middle), (2.35, 0.3 + middle))
    _arrow(axes, (1.27, 1.25), (1.27, 2.95))
    axes.text(6.5, 2.1, "validation loss,\naccuracy, AUC", size=8, color=MUTED, va="center")
    axes.text(
        1.17, 2.1, "moves towards\nwhat did well", size=8, color=MUTED, va="center", ha="right"
    )
    axes.text(3.83, 0.72, "resume replays the rows", size=8, color=MUTED, ha="center", va="top")
    _network(axes)
    return figure


def _network(axes: Axes) -> None:
    """Units from input to head, as high as their rates; two are frozen."""
    rates = np.random.default_rng(3).uniform(0.25, 0.95, UNITS)
    rates[[2, 5]] = 0
    left, bottom, step = 2.45, 1.5, 0.26
    for index, rate in enumerate(rates):
        x = left + index * step
        head = index == UNITS - 1
        colour = MUTED if rate == 0 else VERMILLION if head else BLUE
        axes.add_patch(
            FancyBboxPatch(
                (x, bottom),
                0.16,
                0.2,
                boxstyle="round,pad=0.02",
                lw=1,
                ec=colour,
                fc="white" if rate == 0 else colour,
            )
        )
        if rate:
            axes.plot(
                [x + 0.08] * 2, [bottom + 0.26, bottom + 0.26 + 0.65 * rate], color=colour, lw=3
            )
    end = left + (UNITS - 1) * step
    for x, text in ((left, "input"), (left + 2 * step, "frozen"), (end, "new head")):
        axes.text(x + 0.08, bottom - 0.08, text, size=7.5, color=INK, ha="center", va="top")
    axes.text(
        (left + end) / 2 + 0.08,
        2.62,
        "units and their rates (log scale)",
        size=8,
        ha="center",
        color=MUTED,
    )


def _box(axes: Axes, left: float, bottom: float, title: str, text: str) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (left + 0.04, bottom + 0.04),
            WIDTH - 0.08,
            HEIGHT - 0.08,
            boxstyle="round,pad=0.04",
            fc="#F5F6F7",
            ec=FAINT,
            lw=1.2,
        )
    )
    axes.text(left + 0.12, bottom + HEIGHT - 0.15, title, size=10, weight="bold", va="top")
    axes.text(left + 0.12, bottom + HEIGHT - 0.42, text, size=8, va="top", linespacing=1.35)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=12, color=INK, lw=1.3, shrinkA=1, shrinkB=1
        )
    )


if __name__ == "__main__":
    target = Path(__file__).parent / "images" / "method.svg"
    target.write_bytes(figure_bytes(draw(), "svg"))
    print(target)
