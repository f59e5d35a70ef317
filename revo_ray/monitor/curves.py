"""TensorBoard's files of a search that runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from revo_ray.evolve.space import Space
from revo_ray.methods.genome import UnitLike
from revo_ray.monitor.tensorboard import EvaluationCurves, Hyperparameters, SearchCurves
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.ledger import Ledger
from revo_ray.rundir.run_directory import RunDirectory


def write_tensorboard(
    run: RunDirectory,
    ledger: Ledger,
    units: Sequence[UnitLike],
    space: Space,
    *,
    population: int,
    evaluations: int | None,
    distributions: Sequence[Mapping[str, Any]],
) -> tuple[Callable[[Evaluation], None], Callable[[], None]]:
    """Write TensorBoard's files for all rows that have none.

    Args:
        run, ledger: of the search.
        units: of the network, input to output.
        space: of the method.
        population, evaluations, distributions: as of `SearchCurves`.

    Returns:
        To be called with each new row; and to be called when the proposals know of it.

    Raises:
        OSError: the storage is full or unreachable.
    """
    hyperparameters = Hyperparameters(units, space)
    each = EvaluationCurves(run.storage, hyperparameters)
    each.catch_up(ledger)
    whole = SearchCurves(
        run.storage,
        ledger,
        hyperparameters,
        units,
        population=population,
        evaluations=evaluations,
        distributions=distributions,
    )
    return each, whole.advance
