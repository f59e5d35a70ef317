"""Write the page and its figures into `report/` of a study or a search."""

from __future__ import annotations

from dataclasses import dataclass

from revo_ray.report.loaded_run import load_runs
from revo_ray.report.pages.page import FIGURES, FILE
from revo_ray.report.pages.search_page import search_page
from revo_ray.report.pages.study_page import study_page
from revo_ray.report.study_report import StudyReport
from revo_ray.rundir import RunDirectory


@dataclass(frozen=True)
class Written:
    """Result of `write_page`.

    Attributes:
        page: path or URI of the page.
        folder: path or URI of the report's folder.
        count: number of figures.
    """

    page: str
    folder: str
    count: int


def write_page(report: StudyReport) -> Written:
    """Write the page beside the tables, and delete figures that it no longer has.

    Raises:
        UserError: a ledger is damaged.
        OSError: the storage is full, read-only or unreachable.
    """
    runs, alone = load_runs(report.outcomes), isinstance(report.directory, RunDirectory)
    files = (search_page(runs[0]) if alone else study_page(report, runs)).files()
    target = report.directory.report
    for name in target.list(FIGURES):
        if (path := f"{FIGURES}/{name}") not in files:
            target.delete(path)
    for name, content in files.items():
        target.write(name, content)
    count = sum(name.endswith(".svg") for name in files)
    return Written(target.child(FILE).uri, target.uri, count)
