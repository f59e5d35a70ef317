"""Sends searches to trackers: their rows while they run, their reports and models at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from revo_ray.errors import first_line
from revo_ray.monitor.trackers import (
    RecordedUnit,
    TrackedOutcome,
    TrackedSearch,
    Tracker,
    Trackers,
)
from revo_ray.rundir.outcome import SearchResult
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.state import SearchState
from revo_ray.search.ray.stopping import stop_if_asked


def open_trackers(
    kinds: dict[str, type[Tracker]], say: Callable[[str], None] | None, stack: ExitStack
) -> Trackers:
    """Open the trackers that `check_trackers` found; they are closed with the stack."""
    trackers = Trackers(kinds, say, stop_if_asked)
    stack.callback(trackers.close)
    return trackers


def show_in_trackers(state: SearchState, trackers: Trackers, study: str | None = None) -> None:
    """Send a search to trackers, if there are any, and each new row."""
    if trackers:
        search = TrackedSearch.of(state.run, state.units, study)
        state.listeners.append(trackers.follow(search, state.ledger))


def track_finished(result: SearchResult, trackers: Trackers, study: str) -> None:
    """Send a search that was finished before; the trackers may have missed parts of it."""
    run = RunDirectory(result.directory)
    names = run.best.card()["units"] if run.best.exists else []
    units = [RecordedUnit(name, head=name == names[-1]) for name in names]
    trackers.follow(TrackedSearch.of(run, units, study), run.rows(table_first=True))


def hand_over(
    trackers: Trackers,
    results: Mapping[str, SearchResult],
    say: Callable[[str], None] | None,
) -> None:
    """Write the reports of searches that ended, and hand them with the models to the trackers."""
    if not trackers:
        return
    trackers.catch_up()
    with ExitStack() as stack:
        for name, result in results.items():
            if trackers.want_outcome(name, asdict(result)):
                folder = Path(stack.enter_context(TemporaryDirectory(prefix="revo-ray-")))
                trackers.end(name, _tracked_outcome(result, folder, say))
        trackers.finish()


def _tracked_outcome(
    result: SearchResult, folder: Path, say: Callable[[str], None] | None
) -> TrackedOutcome:
    """The outcome of a search; its report and its model are copied into a folder."""
    from revo_ray.report.pages.site import write_page
    from revo_ray.report.study_report import study_report, write_report

    run = RunDirectory(result.directory)
    report, model = folder / "report", folder / "model"
    try:
        found = study_report(run)
        write_report(found)
        write_page(found)
        run.report.download("", report)
        for path in run.model_files(result.form):
            run.storage.download(path, model / path)
    except Exception as error:  # the result stands, and trackers are told of the rest of it
        if say is not None:
            say(f"trackers get no report or no model of {result.name}: {first_line(error)}")
    whole = [path if path.exists() else None for path in (report, model)]
    return TrackedOutcome.of(result, *whole)
