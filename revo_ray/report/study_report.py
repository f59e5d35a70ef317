"""The report of a study: tables, statistics and a figure, from whatever is finished."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

from revo_ray.report.analysis import StudyStatistics, study_statistics
from revo_ray.report.figures.chart import Chart
from revo_ray.report.layout import Grid, to_latex, to_markdown
from revo_ray.report.outcomes import FOLDER, SearchOutcome, load_outcomes
from revo_ray.report.rank_diagram import draw_ranks, ranks_rows
from revo_ray.report.statistics_text import to_text
from revo_ray.report.tables import make_tables, means_csv, searches_csv
from revo_ray.storage import Storage

FIGURES = "figures"
FIGURE = f"{FIGURES}/critical-difference"
FIGURE_FILES = tuple(f"{FIGURE}.{kind}" for kind in ("svg", "png", "csv"))


@dataclass(frozen=True)
class StudyReport:
    """What there is to say about a study.

    Attributes:
        outcomes: its searches.
        tables: for each model: test scores, cost, validation minus test.
        statistics: of the methods.
    """

    outcomes: list[SearchOutcome]
    tables: list[Grid]
    statistics: StudyStatistics

    @cached_property
    def ranks_chart(self) -> Chart | None:
        """Average ranks and critical differences; None where nothing can be ranked."""
        rankings = {
            metric.metric.name: metric.ranking
            for metric in self.statistics.metrics
            if metric.ranking.critical_difference is not None
        }
        if not rankings:
            return None
        figure = draw_ranks(rankings, self.statistics.reference)
        name = FIGURE.removeprefix(f"{FIGURES}/")
        rows = ranks_rows(rankings)
        caption = (
            "Critical-difference diagrams (Demšar, JMLR 7, 2006): each method at its average rank "
            "over all blocks; methods that a bar joins cannot be told apart."
        )
        return Chart(name, "Average ranks", caption, figure, rows)

    @property
    def markdown(self) -> str:
        """Tables and statistics as one text, for a terminal or a page."""
        return f"{self.tables_markdown}\n{to_text(self.statistics)}"

    @property
    def tables_markdown(self) -> str:
        """The tables alone."""
        done = sum(outcome.done for outcome in self.outcomes)
        every = len(self.outcomes)
        partial = (
            "" if done == every else f"**Partial:** {done} of {every} searches are finished.\n\n"
        )
        return "# Tables\n\n" + partial + "\n".join(map(to_markdown, self.tables))

    def files(self) -> dict[str, bytes]:
        """The report's files by name; without the figure where nothing can be ranked."""
        ranks = self.ranks_chart
        texts = {
            "tables.md": self.tables_markdown,
            "tables.tex": "\n".join(map(to_latex, self.tables)),
            "results.csv": searches_csv(self.outcomes),
            "means.csv": means_csv(self.outcomes),
            "statistics.md": to_text(self.statistics, f"{FIGURE}.svg" if ranks else None),
            "statistics.json": _json(self.statistics),
        }
        charts = (
            {f"{FIGURES}/{name}": made for name, made in ranks.files().items()} if ranks else {}
        )
        return {name: text.encode() for name, text in texts.items()} | charts


def study_report(
    folder: Storage, *, reference: str | None = None, alpha: float = 0.05
) -> StudyReport:
    """Read a study's run directory, or a search's, and work out its report.

    Args:
        folder: it holds a run directory for each search, finished or not.
        reference: the method that the others are compared with; None: the first of this
            package's.
        alpha: of the tests and intervals.

    Raises:
        UserError: there is no search, one is damaged, or there is no such reference.
    """
    outcomes = load_outcomes(folder)
    return StudyReport(
        outcomes, make_tables(outcomes), study_statistics(outcomes, reference, alpha)
    )


def write_report(report: StudyReport, folder: Storage) -> list[str]:
    """Write a report; a figure of an earlier one that does not hold any more goes."""
    target = folder.child(FOLDER)
    files = report.files()
    for name in FIGURE_FILES:
        if name not in files:
            target.delete(name)
    for name, content in files.items():
        target.write(name, content)
    return [target.child(name).uri for name in files]


def _json(statistics: StudyStatistics) -> str:
    return json.dumps(statistics.to_json(), indent=2, allow_nan=False) + "\n"
