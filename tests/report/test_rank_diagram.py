"""The critical-difference diagram: all text is inside the picture, and no text covers another."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from revo_ray.report.rank_diagram import draw_ranks, rank_rows
from revo_ray.report.ranking import Ranking, rank_methods
from revo_ray.report.style import GROUP, REFERENCE, figure_bytes

NINE = ["full", "first", "last", "layer-decay", "auto-rgn", "set-encoding", "random"]
NINE += ["revo-binary", "revo-continuous"]
LONG = [
    "random (encoding continuous, low -5, scale linear)",
    "random (encoding binary, global_lr searched, head searched)",
    "revo-continuous (algorithm catcmawm, scale log, budget evaluations)",
    "with_one_very_long_word_that_nobody_can_wrap_anywhere",
    "full",
]


def ranking(methods: list[str], blocks: int, effect: float, equal: int = 0) -> Ranking:
    """Of noisy scores, the later methods better by `effect`; the first `equal` are the same."""
    rng = np.random.default_rng(len(methods))
    scores = {
        method: {block: rng.normal(number * effect) for block in range(blocks)}
        for number, method in enumerate(methods)
    }
    scores |= dict.fromkeys(methods[:equal], scores[methods[0]])
    return rank_methods(scores, range(blocks))


CASES = {
    "nine methods": {"AUC": ranking(NINE, 48, 0.3), "accuracy": ranking(NINE, 48, 0.1)},
    "long names": {"AUC": ranking(LONG, 30, 0.3), "accuracy": ranking(LONG, 3, 0.1)},
    "two methods": {"AUC": ranking(["full", "revo-binary"], 12, 1.0)},
    "too few blocks": {"AUC": ranking(["a", "b"], 2, 1.0), "accuracy": ranking(NINE, 1, 0.1)},
    "ties": {"AUC": ranking(NINE, 20, 0.3, equal=4), "accuracy": ranking(["a", "b", "c"], 9, 0, 3)},
}


def drawn(figure: Figure) -> FigureCanvasAgg:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas


@pytest.mark.parametrize("rankings", CASES.values(), ids=CASES)
def test_all_text_is_inside_the_picture_and_readable(rankings: dict[str, Ranking]) -> None:
    figure = draw_ranks(rankings, "revo-continuous")
    renderer = drawn(figure).get_renderer()
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in figure.axes[0].texts]
    for name, box in boxes:
        assert figure.bbox.x0 <= box.x0, name
        assert box.x1 <= figure.bbox.x1, name
        assert figure.bbox.y0 <= box.y0, name
        assert box.y1 <= figure.bbox.y1, name
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), (one, other)
    words = " ".join(" ".join(name for name, _ in boxes).split())
    for of_metric in rankings.values():
        for method, rank in zip(of_metric.methods, of_metric.ranks, strict=True):
            assert f"{method} {rank:.2f}" in words


def lines_of(figure: Figure, colour: str) -> list[Line2D]:
    return [line for line in figure.axes[0].lines if to_hex(line.get_color()) == colour.lower()]


def test_a_bar_spans_each_group_and_a_mark_stands_at_each_rank() -> None:
    of_metric = CASES["nine methods"]["AUC"]
    figure = draw_ranks({"AUC": of_metric}, "revo-continuous")
    ticks = {
        int(t.get_text()): t.get_position()[0]
        for t in figure.axes[0].texts
        if t.get_text().isdigit()
    }
    unit = (ticks[9] - ticks[1]) / 8
    rank = dict(zip(of_metric.methods, of_metric.ranks, strict=True))

    def position(line: Line2D, index: int) -> float:
        return float(1 + (np.asarray(line.get_xdata())[index] - ticks[1]) / unit)

    spans = sorted((position(bar, 0), position(bar, 1)) for bar in lines_of(figure, GROUP))
    groups = [(rank[group[0]], rank[group[-1]]) for group in of_metric.groups]
    assert len(groups) > 1
    assert spans == [pytest.approx(group, abs=0.06) for group in sorted(groups)]
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert sorted(position(mark, 0) for mark in marks) == pytest.approx(sorted(of_metric.ranks))
    assert lines_of(figure, REFERENCE)


def test_bars_never_touch_each_other() -> None:
    for name, rankings in CASES.items():
        bars = lines_of(draw_ranks(rankings), GROUP)
        for one, other in itertools.combinations(bars, 2):
            (a, b), (c, d) = np.asarray(one.get_xdata()), np.asarray(other.get_xdata())
            same_row = abs(one.get_ydata()[0] - other.get_ydata()[0]) < 0.1  # type: ignore[index]
            assert not same_row or b < c or d < a, name


def test_the_files_are_pictures_and_the_same_ones_again() -> None:
    rankings = CASES["two methods"]
    svg, png = (figure_bytes(draw_ranks(rankings), kind) for kind in ("svg", "png"))
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert png.startswith(b"\x89PNG\r\n")
    assert figure_bytes(draw_ranks(rankings), "svg") == svg
    assert figure_bytes(draw_ranks(rankings), "png") == png


def test_the_table_beside_it_holds_what_it_shows() -> None:
    rankings = CASES["nine methods"]
    rows = rank_rows(rankings)
    assert [row["method"] for row in rows[:9]] == rankings["AUC"].methods
    for row in rows:
        of_metric = rankings[row["metric"]]
        numbers = {int(number) for number in row["groups"].split()}
        assert {n for n, g in enumerate(of_metric.groups, 1) if row["method"] in g} == numbers
        assert row["critical_difference"] == of_metric.critical_difference
