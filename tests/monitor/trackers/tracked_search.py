"""Searches without training that are sent to trackers, as a command sends them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from PIL import Image

from revo_ray.monitor.trackers import TrackedOutcome, Trackers, check_trackers
from revo_ray.run.tracking import show_in_trackers
from revo_ray.rundir import SearchResult
from revo_ray.search.core.state import SearchState
from revo_ray.storage import Storage
from tests.monitor.synthetic import open_state, run

EVALUATIONS = 8


class Command:
    """One command that runs a search, from the first time or resumed.

    Args:
        folder: the run directory.
        overrides: of the configuration; `trackers=` among them.
        study: name of the study that the search belongs to.
    """

    def __init__(self, folder: Path, *overrides: str, study: str | None = None) -> None:
        self.said: list[str] = []
        sets = [f"search.evaluations={EVALUATIONS}", f"name={folder.name}", *overrides]
        self.state: SearchState = open_state(Storage(str(folder)), *sets)
        self.state.run.write_config(self.state.config, {}, {})
        kinds = check_trackers(self.state.config.trackers)
        self.trackers = Trackers(kinds, self.said.append)
        show_in_trackers(self.state, self.trackers, study)

    def run(self, rows: int = EVALUATIONS) -> None:
        """Make some evaluations, and wait until trackers have them."""
        run(self.state, rows=rows)
        self.trackers.catch_up()

    def end(self, report: Path | None = None, model: Path | None = None) -> SearchResult:
        """End the search and hand its outcome over."""
        rows = list(self.state.ledger)
        name, uri = self.state.config.name, self.state.run.uri
        result = SearchResult.of_rows(name, uri, rows, self.state.objective)
        if self.trackers.want_outcome(name, asdict(result)):
            self.trackers.end(name, TrackedOutcome.of(result, report, model))
        self.trackers.finish()
        return result


def folders(folder: Path) -> tuple[Path, Path]:
    """A report and a model, each with a file."""
    (folder / "report" / "figures").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "report" / "figures" / "best.png")
    (folder / "model" / "best").mkdir(parents=True)
    (folder / "model" / "best" / "model.safetensors").write_bytes(b"weights")
    return folder / "report", folder / "model"
