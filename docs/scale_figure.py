"""Draws docs/images/scale.svg from the record `cluster_scale`: `python docs/scale_figure.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.record import RESULTS, read
from revo_ray.report.style import BLUE, GREEN, MUTED, VERMILLION, figure_bytes, styled

IMAGE = Path(__file__).parent / "images" / "scale.svg"
COLOURS = (VERMILLION, BLUE, GREEN)


@styled()
def draw(line: dict[str, Any]) -> Figure:
    """Busy workers, and the driver's share of the time, by the number of workers.

    Args:
        line: figures of `benchmarks.cluster_scale`.
    """
    figure = Figure(figsize=(7.7, 3.2), layout="constrained")
    busy, driver = figure.subplots(1, 2)
    means = sorted(line["rows"], key=lambda name: line["means"][[*line["rows"]].index(name)])
    for name, colour in zip(means, COLOURS, strict=False):
        seconds = name.removeprefix("mean_").removesuffix("_s")
        for kind, dash in (("rows", "-"), ("slow_rows", (0, (4, 2)))):
            if name not in line[kind]:
                continue
            far = f", a row {line['slow_ms']:g} ms more" if kind == "slow_rows" else ""
            for axes, key in ((busy, "busy"), (driver, "driver_share")):
                found = line[kind][name]
                axes.plot(
                    [int(workers) for workers in found],
                    [100 * figures[key] for figures in found.values()],
                    color=colour,
                    linestyle=dash,
                    marker="o",
                    ms=4,
                    label=f"trials of {seconds} s{far}",
                )
    _label(busy, "Workers in trials", line["workers"])
    _label(driver, "Driver at work", line["workers"])
    handles, labels = busy.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _label(axes: Axes, title: str, workers: list[int]) -> None:
    axes.set(title=title, xlabel="workers", ylabel="% of the time", ylim=(0, 103), xscale="log")
    axes.set_xticks(workers, [f"{count:,}" for count in workers], rotation=45)
    axes.minorticks_off()
    axes.axhline(100, color=MUTED, lw=0.8)


if __name__ == "__main__":
    ((_, line),) = read(RESULTS / "cluster_scale.json").runs
    IMAGE.write_bytes(figure_bytes(draw(line), "svg"))
    print(IMAGE)
