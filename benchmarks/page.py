"""Writes `docs/results.md` from the records in `benchmarks/results` and from nothing else.

It needs no package. The same records give the same bytes.

    python -m benchmarks.page      # or: make results
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.record import PACKAGES, RESULTS, ROOT, Result, read_all

PAGE = ROOT / "docs" / "results.md"
INTRODUCTION = """\
# Results

Here are the figures of every benchmark, as its program wrote them. The
[README](../README.md#measured) says what they mean. `make results` writes this page from the files in
[`benchmarks/results`](../benchmarks/results); do not edit it.

Repeat a command with `--out benchmarks/results/NAME.json` to measure again, then `make results`. `make
stale` lists the results whose code has changed since. If a result has no revision, nobody can say which
code made it.
"""
BENCHMARKS = {
    "wins": (
        "Layer-wise evolution against tuned full fine-tuning",
        "Test scores in percent, mean ± standard deviation over seeds. A difference is paired by seed, "
        "in points, with its 95 % bootstrap interval.",
    ),
    "ablations": (
        "One choice at a time",
        "The mean best validation loss, and test accuracy in percent.",
    ),
    "batch_norm": (
        "BatchNorm statistics after few steps",
        "Validation with running averages and with precise statistics of the same weights; accuracy "
        "in percent.",
    ),
    "soup": (
        "The best models of a search together",
        "The best model alone, a greedy soup of weights, and an ensemble; accuracy and AUC in percent.",
    ),
    "noise": (
        "Winners under other seeds",
        "The best validation loss that a search saw, and the mean of the same plan under other seeds.",
    ),
    "luck": (
        "Cures for a lucky best",
        "Several seeds an evaluation, a second look at the best, and averaged weights.",
    ),
    "pretrain": (
        "The small pretrained network",
        "timm's `test_byobnet` on Fashion-MNIST.",
    ),
    "overhead": (
        "Search time against plain torch and against the usual trainable",
        "`floor` compares with the same fine-tunings in plain torch; the other parts compare with a "
        "function trainable that loads everything in each trial.",
    ),
    "study": (
        "Busy workers in a study",
        "Shares of the workers' time in which they trained and validated.",
    ),
    "utilisation": (
        "Busy workers on a virtual clock",
        "`half` has half as many workers as the population, with the least lookahead that keeps 95 % of "
        "them busy; `ten` has a population of 10.",
    ),
    "throughput": (
        "Evaluations a second of one driver",
        "A trivial objective through a whole search, and through Tune's own random search.",
    ),
    "searcher": (
        "Time to propose",
        "Milliseconds of `suggest` plus `on_trial_complete`.",
    ),
    "ledger": ("A long ledger", "The cost of a row, and of resuming."),
    "optimisers": (
        "Quality of the searchers",
        "The best value after a number of evaluations; 0 is perfect. `catcmawm 5` is CatCMAwM with a "
        "lookahead of 5.",
    ),
    "set_encoding": (
        "Quality of set encoding",
        "The best value after a number of evaluations. 0 is perfect.",
    ),
    "head": ("Head on frozen layers", "Kept features against a `DataLoader` loop."),
    "step": ("A training step", "Ratios to a plain step on the same CPU."),
    "memory": ("Memory of a worker", "Resident memory after many evaluations."),
    "preparation": ("Preparing images", "An image table against a plain loop of Pillow."),
    "gpu": ("On a GPU", "One evaluation, and several beside one another."),
    "faults": (
        "Faults injected into real searches",
        "Each search had several faults, and counts for each kind that it had. `again` counts trainings "
        "that were begun once more, since a fault interrupted or destroyed them.",
    ),
}
"""Title and explanation of each benchmark, in the order of the page."""
WORDS = {
    "an_hour": "evaluations an hour",
    "at_once": "as many plain processes as workers",
    "cpu": "CPU seconds",
    "cpu_over_floor": "computing, over plain torch's",
    "cpu_over_usual": "computing, over the usual trainable's",
    "equal": "ended equal",
    "fine_tuning": "seconds a fine-tuning",
    "fired": "took place",
    "handover_ms": "handover, ms",
    "held": "with loading",
    "lost": "evaluations lost",
    "loss_apart": "largest difference of losses",
    "mean_evaluation_s": "mean evaluation, s",
    "median_ms": "median, ms",
    "one": "one plain process",
    "over_usual": "evaluations an hour, over the usual trainable's",
    "p": "Wilcoxon's p",
    "program_over_program": "program over program",
    "start_s": "start, s",
    "steady_over_floor": "steady part × workers, over plain torch",
    "stdev": "standard deviation",
    "torch": "one plain process, torch's own convolutions",
    "twice": "trained twice",
    "usual_an_hour": "usual trainable, evaluations an hour",
    "usual_warm_an_hour": "usual trainable, once warm",
    "warm_an_hour": "evaluations an hour once warm",
    "warm_over_usual": "once warm, over the usual trainable's",
    "whole_over_floor": "whole command over plain torch, as many at once",
    "whole_over_one": "whole command × workers, over plain torch one by one",
    "whole_over_torch": "the same, over torch's own convolutions",
    "steady_over_one": "steady part × workers, over plain torch one by one",
    "with_updates_ms": "with updates, ms",
}
"""Names of figures, where the key alone says too little."""
IN_THE_COMMAND = {"benchmark", "parts", "skip", "smoke", "settings"}
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
    parts = [f"### {result.name}\n", f"{date(result)}, {revision(result)}. {machine(result)}.\n"]
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
    """The machine and the packages, in one sentence."""
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
        *(f"{name} {known[name]}" for name in ("python", *PACKAGES) if name in known),
        *([f"seeds {seeds}"] if (seeds := result.record.get("seeds")) else []),
    ]  # fmt: skip
    return ", ".join(parts)


def tables(line: Mapping[str, Any]) -> Iterator[str]:
    """The figures: a table for all groups that have the same keys."""
    alike: dict[tuple[str, ...], list[tuple[Path, Leaves]]] = {}
    for path, leaves in groups(line):
        alike.setdefault(tuple(leaves), []).append((path, leaves))
    for keys, rows in alike.items():
        names = [words(key) for key in keys]
        cells = [[shown(leaves[key]) for key in keys] for _, leaves in rows]
        common = len(os.path.commonprefix([path for path, _ in rows])) if len(rows) > 1 else 0
        titles = [", ".join(map(words, path[common:])) or "value" for path, _ in rows]
        if len(rows) == 1 or (len(keys) > MOST_COLUMNS and len(rows) < len(keys)):
            names, titles, cells = titles, names, [list(each) for each in zip(*cells, strict=True)]
        yield table(["", *names], [[title, *row] for title, row in zip(titles, cells, strict=True)])
    for rows in line.values():
        if isinstance(rows, list) and rows and isinstance(rows[0], dict):
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
    """Write the page."""
    PAGE.write_text(text(read_all(RESULTS)))


if __name__ == "__main__":
    main()
