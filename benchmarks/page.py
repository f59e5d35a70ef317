"""Writes `docs/results.md` and `docs/models.md` from the records in `benchmarks/results` alone.

It needs no package. The same records give the same bytes.

    python -m benchmarks.page      # or: make results
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.page_words import BENCHMARKS, INTRODUCTION, WORDS
from benchmarks.record import PACKAGES, RESULTS, ROOT, Result, read_all

PAGE = ROOT / "docs" / "results.md"
IN_THE_COMMAND = {"benchmark", "parts", "skip", "smoke", "settings"}
OWN_PAGE = "networks"
"""Figures of `benchmarks.models` that `docs/models.md` has."""
MOST_COLUMNS = 7

Leaves = dict[str, Any]
Path = tuple[str, ...]
"""Keys that lead to a figure."""


def text(results: Mapping[str, Result]) -> str:
    """The page."""
    order = [*BENCHMARKS, *sorted({r.benchmark for r in results.values()} - BENCHMARKS.keys())]
    parts, contents = [], []
    for benchmark in order:
        own = [result for result in results.values() if result.benchmark == benchmark]
        title, explanation = BENCHMARKS.get(benchmark, (f"Benchmark {benchmark}", ""))
        if own:
            parts.append(f"## {title}\n\n{explanation}\n")
        for result in own:
            parts.append(section(result))
            link = f"[`{result.name}`](#{result.name.replace('/', '')})"
            contents.append([link, title, date(result), revision(result)])
    index = table(["result", "subject", "date", "revision"], contents)
    return "\n".join([INTRODUCTION, index, *parts])


def section(result: Result) -> str:
    """A result: where it was made, and its figures."""
    parts = [
        f"### {result.name}\n",
        f"{date(result)}, {revision(result)}. {machine(result)}. {packages(result)}.\n",
    ]
    for command, line in result.runs:
        parts += [f"```console\n$ {command}\n```\n", *tables(line)]
    return "\n".join(parts)


def date(result: Result) -> str:
    """The day of the measurement, in UTC."""
    return str(result.record.get("date", "no date"))[:10]


def revision(result: Result) -> str:
    """The commits that made the figures, and what is doubtful about them."""
    short = ", ".join(dict.fromkeys(f"`{each[:12]}`" for each in result.revisions))
    doubt = f"**{result.doubt}**" if result.doubt else ""
    return " with ".join(filter(None, [short, doubt]))


def machine(result: Result) -> str:
    """The machine, in one sentence."""
    known = result.record.get("machine", {})
    device = known.get("device", "cpu")
    parts = [
        *([known["cpu"]] if "cpu" in known else []),
        f"{known['cores']} cores" if "cores" in known else "unknown cores",
        "no GPU" if device == "cpu" else device,
        *([f"{known['kernels']} kernels"] if "kernels" in known else []),
        *([f"load {known['load']} at the start"] if "load" in known else []),
        *([{True: "nothing else ran", False: "others ran, too"}[known["alone"]]]
          if "alone" in known else []),
    ]  # fmt: skip
    return ", ".join(parts)


def packages(result: Result) -> str:
    """Releases of Python and of packages, and the seeds, in one sentence."""
    known = result.record.get("machine", {})
    names = ("python", *PACKAGES)
    parts = [f"{name.capitalize()} {known[name]}" for name in names[:1] if name in known]
    parts += [f"{name} {known[name]}" for name in names[1:] if name in known]
    seeds = result.record.get("seeds")
    return ", ".join([*(parts or ["Packages unknown"]), *([f"seeds {seeds}"] if seeds else [])])


def tables(line: Mapping[str, Any]) -> Iterator[str]:
    """The figures: a table for all groups that have the same keys."""
    alike: dict[tuple[str, ...], list[tuple[Path, Leaves]]] = {}
    for path, leaves in groups(line):
        alike.setdefault(tuple(leaves), []).append((path, leaves))
    for keys, rows in alike.items():
        names = [words(key) for key in keys]
        cells = [[shown(leaves[key]) for key in keys] for _, leaves in rows]
        steps = enumerate(zip(*(path for path, _ in rows), strict=False))
        common = next((at for at, step in steps if len(set(step)) > 1), 0)
        titles = [", ".join(map(words, path[common:])) or "value" for path, _ in rows]
        if len(rows) == 1 or (len(keys) > MOST_COLUMNS and len(rows) < len(keys)):
            names, titles, cells = titles, names, [list(each) for each in zip(*cells, strict=True)]
        yield table(["", *names], [[title, *row] for title, row in zip(titles, cells, strict=True)])
    for key, rows in line.items():
        if key != OWN_PAGE and isinstance(rows, list) and rows and isinstance(rows[0], dict):
            yield table([*rows[0]], [[*map(str, row.values())] for row in rows])


def groups(node: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Leaves]]:
    """Each dictionary's own figures, with the way to it."""
    leaves = {
        key: value
        for key, value in node.items()
        if not isinstance(value, dict) and not is_table(value) and value not in ([], {})
        if path or key not in IN_THE_COMMAND
    }
    if leaves:
        yield path, leaves
    for key, value in node.items():
        if isinstance(value, dict):
            yield from groups(value, (*path, key))


def is_table(value: Any) -> bool:
    """Whether a value is a list of rows."""
    return isinstance(value, list) and any(isinstance(each, dict) for each in value)


def words(key: str) -> str:
    """A key in words."""
    return WORDS.get(key, key.replace("_", " "))


def shown(value: Any) -> str:
    """A value as a reader wants it: three digits of a fraction, whole numbers whole."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float) and abs(value) < 1:
        return f"{value:.3g}"
    if isinstance(value, float) and math.isfinite(value):
        digits = 2 - math.floor(math.log10(abs(value)))
        return f"{round(value, digits):,.{max(0, digits)}f}"
    return str(value)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    """Write the pages."""
    from benchmarks.models_page import MODELS_PAGE, models_page  # which takes tables from here

    results = read_all(RESULTS)
    PAGE.write_text(text(results))
    MODELS_PAGE.write_text(models_page(results["models"]))


if __name__ == "__main__":
    main()
