"""The figure of docs/scale.md is drawn from its record, as it stands."""

from __future__ import annotations

from benchmarks.record import RESULTS, read
from docs.scale_figure import IMAGE, draw
from revo_ray.report.style import figure_bytes


def test_the_figure_is_that_of_the_record() -> None:
    ((_, line),) = read(RESULTS / "cluster_scale.json").runs
    assert IMAGE.read_bytes() == figure_bytes(draw(line), "svg"), "run python docs/scale_figure.py"
