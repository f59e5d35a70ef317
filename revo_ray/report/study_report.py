"""The report of a study or a search: tables, statistics and the rank diagram."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

from revo_ray.report.csv_tables import forms_csv, means_csv, per_class_csv, searches_csv
from revo_ray.report.figures.chart import Chart
from revo_ray.report.grid import Grid, to_latex, to_markdown
from revo_ray.report.outcomes import SearchOutcome, load_outcomes
from revo_ray.report.rank_diagram import draw_ranks, rank_rows
from revo_ray.report.statistics_text import to_text
from revo_ray.report.study_statistics import StudyStatistics, study_statistics
from revo_ray.report.tables import Tables, make_tables
from revo_ray.rundir import Directory
from revo_ray.words import without_home

FIGURES = "figures"
RANKS = "critical-difference"
RANK_FILES = tuple(f"{FIGURES}/{RANKS}.{kind}" for kind in ("svg", "png", "csv"))
FORMS, CLASSES = "forms.csv", "per_class.csv"


@dataclass(frozen=True)
class StudyReport:
    """Tables and statistics of all searches that are there, finished or not.

    Attributes:
        directory: folder of the study, or of the one search.
        outcomes: the searches.
        tables: tables of each model.
        statistics: comparison of the methods.
    """

    directory: Directory
    outcomes: list[SearchOutcome]
    tables: list[Tables]
    statistics: StudyStatistics

    @cached_property
    def ranks_chart(self) -> Chart | None:
        """Average ranks and critical differences; None if nothing can be ranked."""
        rankings = {
            metric.metric.title: metric.ranking
            for metric in self.statistics.metrics
            if metric.ranking.critical_difference is not None
        }
        if not rankings:
            return None
        figure = draw_ranks(rankings, self.statistics.reference)
        caption = (
            "Critical-difference diagrams (Demšar, JMLR 7, 2006): each method at its average rank "
            "over all blocks. Methods that a bar joins cannot be told apart."
        )
        return Chart(RANKS, "Average ranks", caption, figure, rank_rows(rankings))

    @property
    def markdown(self) -> str:
        """Tables and statistics as one text, for a terminal."""
        return f"{self.tables_markdown}\n{to_text(self.statistics)}"

    @property
    def tables_markdown(self) -> str:
        """The tables alone."""
        done, every = sum(outcome.done for outcome in self.outcomes), len(self.outcomes)
        partial = f"**Partial:** {done} of {every} searches are finished.\n\n" * (done < every)
        return "# Tables\n\n" + partial + "\n".join(map(to_markdown, self._grids))

    def files(self) -> dict[str, bytes]:
        """The report's files by name; without those that the searches have no data for."""
        ranks, statistics = self.ranks_chart, self.statistics.to_json()
        texts = {
            "tables.md": self.tables_markdown,
            "tables.tex": "\n".join(map(to_latex, self._grids)),
            "results.csv": searches_csv(self.outcomes),
            "means.csv": means_csv(self.outcomes),
            FORMS: forms_csv(self.outcomes),
            CLASSES: per_class_csv(self.outcomes),
            "statistics.md": to_text(self.statistics, RANK_FILES[0] if ranks else None),
            "statistics.json": json.dumps(statistics, indent=2, allow_nan=False) + "\n",
        }
        charts = ranks.files() if ranks else {}
        files = {
            name: without_home(text).encode() for name, text in texts.items() if text is not None
        }
        return files | {f"{FIGURES}/{name}": made for name, made in charts.items()}

    @property
    def _grids(self) -> list[Grid]:
        return [grid for tables in self.tables for grid in tables.all]


def study_report(
    directory: Directory, *, reference: str | None = None, alpha: float = 0.05
) -> StudyReport:
    """Make the report of a study or of a search.

    Args:
        directory: folder of the study, or run directory of the search.
        reference: method that the others are compared with; None for the first revo method.
        alpha: error probability of the tests and intervals.

    Raises:
        UserError: there is no search, one is damaged, no method has the name of the reference, or
            alpha is not between 0 and 1.
        OSError: the storage is unreachable.
    """
    outcomes = load_outcomes(directory)
    statistics = study_statistics(outcomes, reference, alpha)
    return StudyReport(directory, outcomes, make_tables(outcomes), statistics)


def write_report(report: StudyReport) -> list[str]:
    """Write a report into `report/`, and delete files of an older one that no longer hold.

    Returns:
        Paths or URIs of the written files.

    Raises:
        OSError: the storage is full, read-only or unreachable.
    """
    target = report.directory.report
    files = report.files()
    for name in (*RANK_FILES, FORMS, CLASSES):
        if name not in files:
            target.delete(name)
    for name, content in files.items():
        target.write(name, content)
    return [target.child(name).uri for name in files]
