"""The outcome of a search that ended: `result.json`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from revo_ray.errors import UserError
from revo_ray.objective import LOSS, Metric, Scores
from revo_ray.rundir.evaluation import Count, Evaluation, Seconds
from revo_ray.rundir.working_time import working_seconds
from revo_ray.settings.safe_json import read_json
from revo_ray.storage import Storage
from revo_ray.words import without_home

FILE = "result.json"


@dataclass(frozen=True)
class FormResult:
    """One form of a search's result, and its scores; mappings are by metric.

    Attributes:
        members: evaluations with their weights, which sum to 1.
        validation: scores on the validation images, by which it was chosen.
        cross_fitted: scores of the validation images, each fifth answered by what the other four
            choose; None if the validation images cannot be divided so, if nothing was chosen, and
            for a soup that is not the result.
        test: scores on the test images.
        intervals: 95 % intervals of the test scores for so many test images.
        looks: number of times that it was tested.
    """

    members: dict[int, float]
    validation: dict[str, float | None]
    cross_fitted: dict[str, float | None] | None
    test: dict[str, float | None]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    looks: Count = 1


@dataclass(frozen=True)
class SearchResult:
    """The outcome of a search; `result.json` holds the same.

    Attributes:
        name: name of the run.
        directory: its run directory. `result.json` holds `.`, for it lies there.
        best: the best evaluation's number, plan, genome and validation metrics; None if no
            evaluation succeeded.
        test: metrics of the best model on the test images, measured when the search ended.
        evaluations: ledger rows; `statuses` counts them by status.
        epochs, images, device_seconds: cost of all evaluations together.
        wall_seconds: from this command's start to its end; a resumed run counts its last part.
        working_seconds: working time of all parts, without pauses between them; see `WorkingTime`.
        cold_starts: workers that had to load torch, network and data in this part.
        stopped_by: `budget` if that was spent, `time` if `search.stop_after` had passed, None if
            the search has not ended.
        test_looks: number of times that the test images were looked at: once by each form, and
            again by each that is another one when a grown search ends.
        warm_start: run directories of the earlier searches that it began from.
        form: `search.result`, the form that load, predict and export take.
        forms: the forms that were made and tested: `best`, `ensemble`, `soup`, `plain`.
        splits: number of images in each split.
        notes: reasons why a form was not made, and evaluations that share the best score.
        explained: what `form` got right and wrong on the test images, see `combine.explanation`.
    """

    name: str
    directory: str
    best: dict[str, Any] | None
    test: dict[str, float | None] | None
    evaluations: Count
    statuses: Annotated[dict[str, Count], Field(max_length=100)]
    epochs: Count
    images: Count
    device_seconds: Seconds
    wall_seconds: Seconds
    cold_starts: Count
    stopped_by: Literal["budget", "time"] | None = "budget"
    test_looks: Count = 0
    warm_start: tuple[str, ...] = ()
    form: str = "best"
    forms: dict[str, FormResult] = field(default_factory=dict)
    splits: dict[str, Count] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    explained: dict[str, Any] | None = None
    working_seconds: Seconds = 0.0

    @classmethod
    def of_rows(
        cls, name: str, directory: str, rows: Sequence[Evaluation], objective: Metric
    ) -> SearchResult:
        """Add up rows, as the outcome of a search that is not tested yet."""
        best = objective.best(rows)
        return cls(
            name=name,
            directory=directory,
            best=None if best is None else _summary(best),
            test=None,
            evaluations=len(rows),
            statuses=dict(sorted(Counter(row.status for row in rows).items())),
            epochs=sum(row.epochs for row in rows),
            images=sum(row.images for row in rows),
            device_seconds=round(sum(row.seconds for row in rows), 3),
            wall_seconds=0.0,
            cold_starts=0,
            stopped_by=None,
            working_seconds=round(working_seconds(rows), 3),
        )

    def spends(self, evaluations: int) -> bool:
        """Whether it is that of the whole budget, in evaluations or in the epochs of so many.

        A search may have grown since; and none spends the epochs of N evaluations on fewer than N.
        """
        return self.stopped_by == "budget" and self.evaluations >= evaluations

    @property
    def validation_scores(self) -> Scores | None:
        """Scores of the best evaluation on the validation images; None without one."""
        return None if self.best is None else Scores.of_columns(self.best).finite

    @property
    def test_scores(self) -> Scores | None:
        """Scores of the best model on the test images; None without one."""
        return None if self.test is None else Scores.of_names(self.test).finite


def _summary(best: Evaluation) -> dict[str, Any]:
    return {
        "evaluation": best.evaluation,
        "generation": best.generation,
        "genome": best.genome,
        "plan": best.whole_plan,
    } | best.scores.columns


_RESULT = TypeAdapter(SearchResult)
_COUNT = TypeAdapter(Count)
_COLUMNS = TypeAdapter(dict[str, float | None])


def _check_best(best: Mapping[str, Any]) -> None:
    """Check the keys of the best evaluation that are read.

    Raises:
        ValueError: its number or a metric is none, or its loss is missing.
    """
    _COUNT.validate_python(best.get("evaluation"), strict=True)
    _COLUMNS.validate_python(Scores.of_columns(best).columns, strict=True)
    if LOSS.column not in best:
        raise ValueError("the best evaluation has no loss")


def read_outcome(storage: Storage) -> SearchResult | None:
    """Read the outcome in a run directory; None if there is none.

    Raises:
        UserError: it is damaged.
        OSError: the storage is unreachable.
    """
    try:
        result = _RESULT.validate_python(read_json(storage.read(FILE), finite=False))
        if result.best is not None:
            _check_best(result.best)
        if result.test is not None and result.test_looks == 0:  # an earlier version did not count
            result = replace(result, test_looks=1)
    except FileNotFoundError:
        return None
    except ValueError:
        raise UserError(
            f"{storage.uri}/{FILE} is damaged; restore it, or delete it and go on with --resume"
        ) from None
    return replace(result, directory=storage.uri)


def write_outcome(storage: Storage, result: SearchResult) -> None:
    """Write the outcome into a run directory.

    Raises:
        OSError: the storage is full or unreachable.
    """
    shared = replace(
        result,
        directory=".",
        warm_start=tuple(map(without_home, result.warm_start)),
        notes=tuple(map(without_home, result.notes)),
    )
    storage.write(FILE, (json.dumps(asdict(shared), indent=2) + "\n").encode())
