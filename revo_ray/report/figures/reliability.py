"""Reliability plot: how often the result is right, by how sure it is."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from revo_ray.report.explained import Explained
from revo_ray.report.figures.chart import Chart
from revo_ray.report.style import BLUE, INK, MUTED, styled


@styled()
def reliability_chart(explained: Explained) -> Chart | None:
    """Draw accuracy against confidence; None without test images, or for infinite logits."""
    calibration = explained.calibration
    if calibration is None or not explained.images:
        return None
    bins = calibration.bins
    known = [(b.confidence, b.accuracy) for b in bins if b.count]
    edges = np.linspace(0, 1, len(bins) + 1)
    figure = Figure(figsize=(3.9, 4.4), layout="constrained")
    above, below = figure.subplots(2, height_ratios=(3, 1), sharex=True)
    above.plot([0, 1], [0, 1], ":", color=INK, lw=1, label="as right as it is sure")
    above.plot(*zip(*known, strict=True), color=BLUE, alpha=0.35, lw=1.4)
    most = max(b.count for b in bins)
    sizes = [12 + 110 * (b.count / most) ** 0.5 for b in bins if b.count]
    above.scatter(*zip(*known, strict=True), sizes, color=BLUE, label="the result", zorder=3,
                  clip_on=False)  # fmt: skip
    above.set(ylabel="share that is right", xlim=(0, 1), ylim=(-0.02, 1.02))
    above.yaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(loc="outside upper left", ncols=2)
    below.bar(edges[:-1], [b.count for b in bins], np.diff(edges), align="edge", color=MUTED,
              alpha=0.6, edgecolor="white")  # fmt: skip
    below.set(xlabel="probability of the predicted class", ylabel="test images")
    below.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    below.xaxis.set_major_formatter(PercentFormatter(1))
    caption = (
        "Below the dotted line the result is surer than it is right. Expected calibration error: "
        f"{100 * calibration.error:.1f} points, the mean distance from the line. Small points "
        "hold few images."
    )
    rows = [
        {"from": start, "to": end} | vars(b)
        for b, start, end in zip(bins, edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]
    return Chart("reliability", "Calibration", caption, figure, rows)
