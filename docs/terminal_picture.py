"""Draws `images/terminal.svg`: the terminal while a search runs, from its run directory.

Example:
    python docs/terminal_picture.py revo_results/quickstart
"""

from __future__ import annotations

import io
import os
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME

from revo_ray.monitor.live import LiveLines
from revo_ray.monitor.status import SearchStatus
from revo_ray.monitor.terminal import Terminal, say
from revo_ray.monitor.view import View, headline, search_view
from revo_ray.rundir import RunDirectory

PICTURE = Path(__file__).parent / "images" / "terminal.svg"
WIDTH = 108
SHOWN = 0.6
"""Part of the budget that is spent in the picture."""
COMMAND = "revo-ray search --set search.evaluations=60"


def look(run: RunDirectory) -> tuple[str, View]:
    """The headline of a search, and its view when a part of its budget was spent."""
    config = run.config().config
    status = SearchStatus(config)
    rows = sorted(run.rows(), key=lambda row: row.finished_at)
    for row in rows[: round(SHOWN * len(rows))]:
        status.add(row)
    return headline(config), search_view(status, workers="2 of 2 workers busy")


def draw(title: str, view: View) -> str:
    """The terminal as SVG, which fetches nothing: the reader's own fonts are used."""
    console = Terminal(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True,
                       color_system="truecolor", _environ={})  # fmt: skip
    say(console, f"$ {COMMAND}")
    say(console, title)
    live = LiveLines(Console(file=io.StringIO(), force_terminal=True, width=WIDTH), view.total)
    live.update(view.done, view.first, view.more)
    console.print(live.picture())
    live.close()
    svg = console.export_svg(title="revo-ray", theme=SVG_EXPORT_THEME, unique_id="terminal")
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def main() -> None:
    """Draw the picture of the run directory that the command names."""
    os.environ.pop("COLUMNS", None)
    PICTURE.write_text(draw(*look(RunDirectory(sys.argv[1]))))
    print(PICTURE)


if __name__ == "__main__":
    main()
