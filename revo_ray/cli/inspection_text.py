"""Prints the findings of `data inspect`: aligned, and as plain text if there is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from revo_ray.cli.console import print_grid
from revo_ray.data.files.image_files import without_password
from revo_ray.data.inspection import NAMED, Inspection
from revo_ray.data.shapes import ratio_text
from revo_ray.monitor import terminal
from revo_ray.settings.schema import DataConfig
from revo_ray.words import counted


@contextmanager
def looking(
    console: Console | None,
) -> Iterator[tuple[Callable[[int, int], None], Callable[[int, int], None]]]:
    """Show progress bars on a terminal. Yields `progress` and `seeking` of `inspect`."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=console is None or not console.is_terminal,
    )
    with bar:
        looking = bar.add_task("looking at the images", total=None)
        seeking = bar.add_task("seeking twins", visible=False)
        yield (
            lambda done, total: bar.update(looking, completed=done, total=total),
            lambda done, total: bar.update(seeking, completed=done, total=total, visible=True),
        )


def show_inspection(found: Inspection, config: DataConfig, folder: Path, console: Console) -> None:
    """Print the findings about `config`; a search would prepare its image table in `folder`."""

    say = partial(terminal.say, console)
    for error in found.obstacles:
        say(f"a search cannot start: {error}")
    for warning in found.warnings:
        say(f"warning: {warning}")
    if found.obstacles or found.warnings:
        say("")
    say(_headline(found, config))
    say("")
    print_grid(_class_rows(found), console)
    say("")
    for name, value in _facts(found, config, folder):
        say(f"{name:<14}{value}")
    if any(overlap.same or overlap.similar for overlap in found.overlaps):
        say("")
        print_grid(_overlap_rows(found), console)
        for line in _examples(found):
            say(line)
    if found.problems:
        say("")
        say("cannot be used:")
    for name, cause in found.problems:
        say(f"  {name!r}: {cause}")


def _headline(found: Inspection, config: DataConfig) -> str:
    root = "" if config.root is None else f" in {without_password(repr(config.root))}"
    usable = int(found.counts.sum())
    of = f" of {found.listed:,}" if usable != found.listed else ""
    return f"{config.source}{root}: {usable:,}{of} images in {len(found.classes):,} classes"


def _class_rows(found: Inspection) -> list[list[str]]:
    columns = {**found.splits, "images": found.counts}
    numbers = [*zip(*columns.values(), strict=True), [counts.sum() for counts in columns.values()]]
    rows = zip([*found.classes, "all"], numbers, strict=True)
    return [["class", *columns], *([name, *(f"{n:,}" for n in row)] for name, row in rows)]


def _facts(found: Inspection, config: DataConfig, folder: Path) -> Iterator[tuple[str, str]]:
    """Name and text of each line below the classes."""
    if found.sizes:
        smallest, median, largest = (f"{width}×{height}" for width, height in found.sizes)
        sizes = f"{smallest} to {largest}, median {median}"
        yield "sizes", sizes if smallest != largest else f"all {smallest}"
        if found.aspects[0] != found.aspects[-1]:
            tallest, middle, widest = map(_aspect, found.aspects)
            yield "aspects", f"{tallest} to {widest}, median {middle}"
        yield "formats", ", ".join(f"{kind} ({count:,})" for kind, count in found.kinds.items())
    if found.groups is None:
        yield "groups", "none"
    else:
        groups = found.groups
        without = f"; {groups.without:,} images have none" if groups.without else ""
        yield "groups", f"{groups.count:,}, {groups.shared:,} of them of several images{without}"
    count = len(found.problems)
    yield "unusable", counted(count, "image") if count else "none"
    if not found.splits:
        yield "twins", "not looked for without splits"
    elif not any(overlap.same or overlap.similar for overlap in found.overlaps):
        yield "twins", "no image stands in two splits"
    size = f"about {decimal(found.table_bytes)} at {config.image_size}×{config.image_size} pixels"
    there = f"ready as {found.table}" if found.table else f"a search will prepare it in {folder}"
    yield "table", f"{size}; {there}"


def _aspect(ratio: float) -> str:
    """Width over height, such as `16:9` would be `1.78:1`, and tall ones `1:2`."""
    text = ratio_text(max(ratio, 1 / ratio))
    return f"{text}:1" if ratio >= 1 else f"1:{text}"


def _overlap_rows(found: Inspection) -> list[list[str]]:
    rows = [
        [f"{second}, also in {first}", f"{overlap.same:,}", f"{overlap.similar:,}"]
        for overlap in found.overlaps
        for first, second in [overlap.splits]
    ]
    return [["twins", "same pixels", "nearly the same"], *rows]


def _examples(found: Inspection) -> Iterator[str]:
    for title, kind in (("same pixels", "same_names"), ("nearly the same", "similar_names")):
        lines = [
            f"  {first!r} ({overlap.splits[0]}), {second!r} ({overlap.splits[1]})"
            for overlap in found.overlaps
            for first, second in getattr(overlap, kind)
        ]
        if lines:
            yield f"{title}, for example:" if len(lines) > NAMED else f"{title}:"
            yield from lines[:NAMED]
