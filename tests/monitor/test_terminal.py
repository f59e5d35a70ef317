"""Everything that is printed is cleaned, and goes through one place."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import pytest
from rich.markdown import Markdown
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from revo_ray.errors import printable
from revo_ray.monitor.live import LiveLines
from revo_ray.monitor.terminal import Terminal, say

ROOT = Path(__file__).parents[2] / "revo_ray"
EVIL = "a\x1b]52;c;ZXZpbA==\x07\x9b2J\u202egpj\u2066\x85\x7f"
PLACES = {
    ("monitor/terminal.py", "console.print"),
    ("cli/console.py", "console.print"),
    ("cli/console.py", "print"),
    ("cli/completion.py", "print"),
    ("search/ray/head_node.py", "print"),
    ("model/answers.py", "print"),
}
"""Calls that print; `answers` prints to a stream that the command line cleans."""


def test_nothing_is_printed_but_through_a_terminal() -> None:
    """Consoles of the command line are terminals, so `out.print` and bars are clean."""
    found = set()
    for path in ROOT.rglob("*.py"):
        name = str(path.relative_to(ROOT))
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call):
                continue
            function = ast.unparse(call.func)
            assert function not in ("Console", "typer.echo", "click.echo", "typer.secho"), name
            assert not function.endswith(("stdout.write", "stderr.write", "print_exc")), name
            if function in ("print", "console.print", "console.out", "rich.print"):
                found.add((name, function))
    assert found <= PLACES


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_obeys_no_name(terminal: bool) -> None:
    stream = io.StringIO()
    console = Terminal(file=stream, force_terminal=terminal, color_system=None, width=200)
    grid = Table("class")
    grid.add_row(EVIL)
    say(console, f"{EVIL}\nforged\trow")
    console.print(grid)
    console.print(Markdown(f"# {EVIL}\n\n| a |\n|---|\n| {EVIL} |\n"))
    live = LiveLines(console, 2)
    live.update(1, EVIL, [EVIL])
    live.close()
    bar = Progress(TextColumn(EVIL), BarColumn(), console=console)
    with bar:
        bar.add_task("", total=1)
    shown = stream.getvalue()
    for evil in ("\x1b]52", "\x07", "\x9b", "\u202e", "\u2066", "\x85", "\x7f"):
        assert evil not in shown
    assert r"\x1b]52;c;ZXZpbA==" in shown
    assert r"\nforged\trow" in shown


def test_letters_of_all_scripts_and_spaces_stay() -> None:
    kept = "نمی\u200cخواهم क्\u200dष 👩\u200d🔬 9.41\u202fAM 写真\u3000一"
    assert printable(kept) == kept
