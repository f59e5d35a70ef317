"""How figures look: one style, one colour for each method, and the same bytes each time.

Colours are Okabe and Ito's, told apart in every common kind of colour blindness, and two of Tol's
where nine methods need more; markers and dashes differ too, for print in grey.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure

INK, MUTED, FAINT = "#222222", "#666666", "#DDDDDD"
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, WINE, OLIVE = "#CC79A7", "#56B4E9", "#882255", "#8A8A2B"
REFERENCE, GROUP = BLUE, VERMILLION

SEQUENCE = (GREEN, PURPLE, ORANGE, SKY, WINE, OLIVE, BLUE, VERMILLION)
"""Of things that have no colour of their own, such as data sets."""
SCALE = "viridis"
"""The colour map of magnitudes; it also rises in brightness."""

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
    "text.parse_math": False,  # a label with dollar signs is a label
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
    """How a method is drawn, wherever it is."""

    colour: str
    marker: str
    dash: Any

    @property
    def line(self) -> dict[str, Any]:
        """Arguments of `Axes.plot`."""
        return {"color": self.colour, "linestyle": self.dash}


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """The look of each method: that of its name, dashed where options tell two of a name apart."""
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


@contextmanager
def styled() -> Iterator[None]:
    """What is drawn inside has the style."""
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # A label in a script that the font lacks is drawn with boxes; the data have it right.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """The figure as `svg` or `png`; the same figure gives the same bytes."""
    stream = io.BytesIO()
    options: dict[str, Any] = {"metadata": {"Date": None}} if kind == "svg" else {"dpi": 160}
    with styled():
        figure.savefig(stream, format=kind, **options)
    return stream.getvalue()


def log_ticks(axis: Any, low: float, high: float) -> None:
    """Powers of ten as 1e-4 … 1 on an axis of exponents."""
    step = 1 if high - low <= 7 else 2
    ticks = [tick for tick in range(int(low // 1), int(high // 1) + 1, step) if low <= tick <= high]
    axis.set_ticks(ticks, ["1" if tick == 0 else f"1e{tick}" for tick in ticks])
