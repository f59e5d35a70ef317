"""Style of the figures: one colour for each method, and the same bytes each time.

The colours are Okabe and Ito's, which people with any common colour blindness can tell apart, and
two of Tol's. Markers and dashes differ too, for print in grey.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

INK, MUTED, FAINT = "#222222", "#666666", "#DDDDDD"
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, WINE, OLIVE = "#CC79A7", "#56B4E9", "#882255", "#8A8A2B"
REFERENCE, GROUP = BLUE, VERMILLION

SEQUENCE = (GREEN, PURPLE, ORANGE, SKY, WINE, OLIVE, BLUE, VERMILLION)
"""Colours of things other than methods, such as data sets, and of unknown methods."""
SCALE = "viridis"
"""Colour map of magnitudes. Brightness rises with the value."""

_METHODS = {
    "revo-continuous": (BLUE, "o"),
    "revo-binary": (VERMILLION, "s"),
    "revo-mixed": (INK, "p"),
    "random": (MUTED, "x"),
    "set-encoding": (PURPLE, "D"),
    "full": (GREEN, "^"),
    "first": (ORANGE, "v"),
    "last": (SKY, "P"),
    "layer-decay": (OLIVE, "<"),
    "auto-rgn": (WINE, ">"),
    "biotune": (PURPLE, "X"),
}
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 1.5, 1.5, 1.5)))

STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,  # dollar signs in labels are text
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "revo-ray",
    "svg.fonttype": "path",
}


@dataclass(frozen=True)
class Look:
    """Colour, marker and dashes of a method in every figure."""

    colour: str
    marker: str
    dash: Any

    @property
    def line(self) -> dict[str, Any]:
        """Arguments of `Axes.plot`."""
        return {"color": self.colour, "linestyle": self.dash}


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """The look of each method; variants of one name share its colour and differ in dashes."""
    found: dict[str, Look] = {}
    names: dict[str, int] = {}
    free = iter(SEQUENCE * 99)
    unknown: dict[str, tuple[str, str]] = {}
    for method in sorted(methods):
        name = method.partition(" (")[0]
        if name not in _METHODS and name not in unknown:
            unknown[name] = (next(free), "h")
        colour, marker = _METHODS.get(name) or unknown[name]
        variant = names[name] = names.get(name, -1) + 1
        found[method] = Look(colour, marker, _DASHES[variant % len(_DASHES)])
    return found


def add_legend(figure: Figure, look: dict[str, Look], methods: Sequence[str]) -> None:
    """Name the methods below a figure."""
    handles = [
        Line2D([], [], marker=look[method].marker, ms=5, label=method, **look[method].line)
        for method in methods
    ]
    columns = min(4, len(handles)) if max(map(len, methods)) < 24 else 2
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


@contextmanager
def styled() -> Iterator[None]:
    """Draw with the style of the report, whatever a user has set for other figures."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        # The font draws letters that it lacks as boxes; the CSV file has them right.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """The figure as `svg` or `png`. Equal figures give equal bytes."""
    stream = io.BytesIO()
    options: dict[str, Any] = {"metadata": {"Date": None}} if kind == "svg" else {"dpi": 160}
    with styled():
        figure.savefig(stream, format=kind, **options)
    return stream.getvalue()


def log_ticks(axis: Any, low: float, high: float) -> None:
    """Label an axis of exponents with powers of ten, 1e-4 … 1."""
    step = 1 if high - low <= 7 else 2
    ticks = [tick for tick in range(int(low // 1), int(high // 1) + 1, step) if low <= tick <= high]
    axis.set_ticks(ticks, ["1" if tick == 0 else f"1e{tick}" for tick in ticks])
