"""Finished searches of a study, with what benchmarks ask of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from revo_ray.objective import Metric
from revo_ray.report.outcomes import SearchOutcome, load_outcomes
from revo_ray.rundir import Evaluation, open_directory


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
    def seed(self) -> int:
        """The seed of its proposals, and in a study of its split and training."""
        return self.outcome.config.search.seed

    @property
    def revision(self) -> str | None:
        """The commit that made it, as its run directory has it; None if that does not say."""
        revision: str | None = self.outcome.recorded.provenance.get("revision")
        return revision

    def score(self, metric: Metric) -> float:
        """A test score in percent."""
        return 100 * (self.outcome.score(metric) or 0.0)


def load(folder: Path) -> list[Search]:
    """The finished searches of a study."""
    found = load_outcomes(open_directory(str(folder)))
    return [Search(each, list(each.directory.rows())) for each in found if each.done]
