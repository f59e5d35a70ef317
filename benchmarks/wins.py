"""Does layer-wise evolution win? Studies in one table, against tuned full fine-tuning.

Reads finished searches of studies (`benchmarks/studies/`), prints a table in Markdown, and writes
to FOLDER: `table.md`, the same; `searches.csv`, a row for each search with what it cost and the
SHA-256 of its genomes; `curves.csv`, each method's mean best validation loss by epochs spent, and
`curves.svg`. Test scores are in percent, mean ± standard deviation over seeds. A difference is
paired by cell (data, fraction) and seed, in points, with its t interval (95 %); of several
cells there is one for each, and one over all pairs.

    python -m benchmarks.wins FOLDER STUDY_DIRECTORY… [--reference full]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.record import SEARCHING, begin
from revo_ray.objective import LOSS, Metric
from revo_ray.report.csv_tables import to_csv
from revo_ray.report.figures.best_so_far import best_so_far
from revo_ray.report.outcomes import SearchOutcome, load_outcomes
from revo_ray.report.paired_tests import difference
from revo_ray.report.scores import ACCURACY, AUC
from revo_ray.report.style import figure_bytes, looks, styled
from revo_ray.rundir import Evaluation, open_directory

METRICS = {AUC: "AUC", ACCURACY: "acc."}
"""Test scores of the table, with their short names."""
MEASURES = (*SEARCHING, "benchmarks/studies")
POINTS = 50
"""Places on a curve, from the first epochs to the budget."""


@dataclass(frozen=True)
class Search:
    """A finished search and its ledger."""

    outcome: SearchOutcome
    rows: list[Evaluation]

    @property
    def method(self) -> str:
        """Its label in the study, which is in its name."""
        model = self.outcome.identity.model.rpartition("/")[2]
        return self.outcome.name.partition(f"-{model}-")[2].rpartition("-s")[0]

    @property
    def base(self) -> str:
        """The method's own name."""
        return self.outcome.identity.method.partition(" (")[0]

    @property
    def cell(self) -> str:
        """Its images and their training fraction."""
        return f"{self.outcome.identity.data} {100 * self.outcome.identity.fraction:g} %"

    @property
    def pair(self) -> tuple[str, str]:
        """Cell and seed: searches of two methods are compared if they share both."""
        return self.cell, self.outcome.identity.seed

    @property
    def revision(self) -> str | None:
        """The commit that made it, as its run directory has it; None if that does not say."""
        revision: str | None = self.outcome.recorded.provenance.get("revision")
        return revision

    def score(self, metric: Metric) -> float:
        """A test score in percent."""
        return 100 * (self.outcome.score(metric) or 0.0)

    def genomes(self) -> str:
        """SHA-256 of all genomes in proposal order."""
        text = json.dumps([row.genome for row in self.rows])
        return hashlib.sha256(text.encode()).hexdigest()

    def best_by_epochs(self) -> list[float]:
        """The best validation loss after each part of the budget; NaN before the first success."""
        budget = self.outcome.budget_epochs
        spent = np.cumsum([row.epochs for row in self.rows])
        best = best_so_far(self.rows, LOSS)
        places = np.searchsorted(spent, np.arange(1, POINTS + 1) * budget / POINTS, side="right")
        return [float(best[place - 1]) if place else float("nan") for place in places]


def load(folder: Path) -> list[Search]:
    """The finished searches of a study."""
    found = load_outcomes(open_directory(str(folder)))
    return [Search(each, list(each.directory.rows())) for each in found if each.done]


def table(searches: Sequence[Search], reference: str) -> list[dict[str, str]]:
    """A row for each method: its scores by cell, and its differences to the reference."""
    cells = list(dict.fromkeys(search.cell for search in searches))
    head = ["method"]
    several = len(cells) > 1
    for cell in cells:
        head += [f"{cell}: {METRICS[m]}" for m in METRICS]
        head += [f"{cell}: Δ {METRICS[m]}" for m in METRICS if several]
    head += [f"Δ {METRICS[m]} to {reference}" for m in METRICS] + ["better/worse (acc.)"]
    rows = []
    known = {search.pair: search for search in searches if search.method == reference}
    methods = dict.fromkeys(search.method for search in searches)
    for method in sorted(methods, key=lambda m: -_mean(_gains(searches, m, known, ACCURACY))):
        own = [search for search in searches if search.method == method]
        texts = [f"`{method}`"]
        for cell in cells:
            here = [search for search in own if search.cell == cell]
            texts += [_spread([search.score(m) for search in here]) for m in METRICS]
            if several:
                texts += [_difference(here, method, known, m) for m in METRICS]
        texts += [_difference(own, method, known, m) for m in METRICS]
        gains = _gains(searches, method, known, ACCURACY)
        p = difference([gains]).p if gains else None
        wins = f"{sum(g > 0 for g in gains)}/{sum(g < 0 for g in gains)}"
        tested = "" if p is None else f", p {p:.2g}"
        texts.append("" if method == reference else wins + tested)
        rows.append(dict(zip(head, texts, strict=True)))
    return rows


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows as a table in Markdown."""
    lines = [[*rows[0]], *([*row.values()] for row in rows)]
    texts = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([texts[0], "|---" * len(rows[0]) + "|", *texts[1:]]) + "\n"


def _gains(
    searches: Iterable[Search],
    method: str,
    reference: dict[tuple[str, str], Search],
    metric: Metric,
) -> list[float]:
    """A method's test score less the reference's, for each cell and seed that both have."""
    own = [s for s in searches if s.method == method and s.pair in reference]
    return [search.score(metric) - reference[search.pair].score(metric) for search in own]


def _mean(values: Sequence[float]) -> float:
    return statistics.mean(values) if values else float("nan")


def _difference(
    searches: Iterable[Search],
    method: str,
    reference: dict[tuple[str, str], Search],
    metric: Metric,
) -> str:
    """The mean of `_gains` with its interval; nothing for the reference, or without pairs."""
    gains = _gains(searches, method, reference, metric)
    if not gains or method in {search.method for search in reference.values()}:
        return ""
    found = difference([gains])
    interval = "" if found.low is None else f" [{found.low:+.1f}, {found.high:+.1f}]"
    return f"{_mean(gains):+.2f}{interval}"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def summary(search: Search) -> dict[str, Any]:
    """A row of `searches.csv`."""
    outcome = search.outcome
    assert outcome.validation is not None
    assert outcome.test is not None
    return {
        "search": outcome.name,
        "method": search.method,
        "cell": search.cell,
        "seed": outcome.identity.seed,
        "evaluations": outcome.result.evaluations,
        "epochs": outcome.result.epochs,
        "device_seconds": round(outcome.result.device_seconds, 1),
        **{key: outcome.result.statuses.get(key, 0) for key in ("ok", "diverged", "error")},
        "val_loss": outcome.validation.loss,
        "val_accuracy": outcome.validation.accuracy,
        "test_loss": outcome.test.loss,
        "test_accuracy": outcome.test.accuracy,
        "test_auc": outcome.test.auc,
        "genomes_sha256": search.genomes(),
    }


def curves(searches: Sequence[Search]) -> list[dict[str, Any]]:
    """Rows of `curves.csv`: the mean over seeds of the best validation loss."""
    rows = []
    for cell in dict.fromkeys(search.cell for search in searches):
        for method in dict.fromkeys(search.method for search in searches):
            own = [s for s in searches if (s.cell, s.method) == (cell, method)]
            if not own:
                continue
            budget = own[0].outcome.budget_epochs
            means = np.mean([search.best_by_epochs() for search in own], axis=0)
            rows += [
                {"cell": cell, "method": method, "epochs": budget * n // POINTS, "val_loss": loss}
                for n, loss in enumerate(means.tolist(), start=1)
                if np.isfinite(loss)
            ]
    return rows


@styled()
def draw(rows: Sequence[dict[str, Any]], bases: Mapping[str, str]) -> Figure:
    """The curves, a panel for each cell.

    Args:
        rows: as `curves` gives them.
        bases: the method's own name by its label; variants of one have its colour, dashed.
    """
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    full = {m: b if b == m else f"{b} ({m})" for m, b in bases.items()}
    found = looks(full.values())
    styles = {method: found[full[method]] for method in sorted(bases, key=full.__getitem__)}
    figure = Figure(figsize=(4.6 * len(cells) + 1.6, 4.2), layout="constrained")
    panels = figure.subplots(1, len(cells), squeeze=False)[0]
    for axes, cell in zip(panels, cells, strict=True):
        for method, look in styles.items():
            own = [row for row in rows if (row["cell"], row["method"]) == (cell, method)]
            axes.plot(
                [row["epochs"] for row in own],
                [row["val_loss"] for row in own],
                label=method,
                **look.line,
            )
        least = min(row["val_loss"] for row in rows if row["cell"] == cell)
        axes.set(title=cell, xlabel="epochs", yscale="log", ylim=(0.9 * least, 8 * least))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    panels[0].set_ylabel("best validation loss, mean over seeds")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    return figure


def main() -> None:
    """Read, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("studies", type=Path, nargs="+")
    parser.add_argument("--reference", default="full")
    arguments, record = begin(parser, "wins", MEASURES)
    searches = [search for study in arguments.studies for search in load(study)]
    rows = table(searches, arguments.reference)
    text = markdown(rows)
    print(text, end="")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    (arguments.folder / "table.md").write_text(text)
    (arguments.folder / "searches.csv").write_text(to_csv([summary(each) for each in searches]))
    points = curves(searches)
    bases = {search.method: search.base for search in searches}
    (arguments.folder / "curves.csv").write_text(to_csv(points))
    (arguments.folder / "curves.svg").write_bytes(figure_bytes(draw(points, bases), "svg"))
    studies = [study.name for study in arguments.studies]
    record.write(
        {"studies": studies, "reference": arguments.reference, "table": rows},
        [search.outcome.config.search.seed for search in searches],
        [search.revision for search in searches],
    )


if __name__ == "__main__":
    main()
