"""Writing a page and its figures into `report/` of a run directory."""

from __future__ import annotations

from dataclasses import dataclass

from revo_ray.report.loaded_run import is_search, load_runs
from revo_ray.report.outcomes import FOLDER
from revo_ray.report.pages.page import FIGURES, FILE, Page
from revo_ray.report.pages.search_page import search_page
from revo_ray.report.pages.study_page import study_page
from revo_ray.report.study_report import StudyReport
from revo_ray.storage import Storage


@dataclass(frozen=True)
class Written:
    """What `write_page` wrote.

    Attributes:
        page: the path or URI of the page; `folder` is the report's.
        count: of the figures.
    """

    page: str
    folder: str
    count: int


def make_page(report: StudyReport, folder: Storage) -> Page:
    """The page of a study or of a search, from its run directory.

    Raises:
        UserError: a search is damaged.
        OSError: the storage is unreachable.
    """
    runs = load_runs(folder, report.outcomes)
    return search_page(runs[0]) if is_search(folder) else study_page(folder, report, runs)


def write_page(report: StudyReport, folder: Storage) -> Written:
    """Write the page beside the tables; figures of an earlier one that it has not any more go.

    Raises:
        UserError: as `make_page`.
        OSError: the storage is full, read-only or unreachable.
    """
    files = make_page(report, folder).files()
    target = folder.child(FOLDER)
    for name in target.list(FIGURES):
        if (path := f"{FIGURES}/{name}") not in files:
            target.delete(path)
    for name, content in files.items():
        target.write(name, content)
    count = sum(name.endswith(".svg") for name in files)
    return Written(target.child(FILE).uri, target.uri, count)
