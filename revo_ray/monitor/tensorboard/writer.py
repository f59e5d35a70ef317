"""`write_tensorboard` keeps TensorBoard's files up to date while a search runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from revo_ray.evolve.space import Space
from revo_ray.methods import UnitLike
from revo_ray.monitor.tensorboard.evaluation_curves import EvaluationCurves
from revo_ray.monitor.tensorboard.hyperparameters import Hyperparameters
from revo_ray.monitor.tensorboard.search_curves import SearchCurves
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
        run: the run directory.
        ledger: its ledger, whose objective says which evaluation is the best.
        units: units of the network, input to output.
        space: the method's space.
        population, evaluations, distributions: see `SearchCurves`.

    Returns:
        Two functions. Call the first with each new row, and the second when the proposals have
        learned of it.

    Raises:
        OSError: the storage is full or unreachable.
    """
    hyperparameters = Hyperparameters(units, space)
    each = EvaluationCurves(run.tensorboard, hyperparameters)
    each.catch_up(ledger)
    whole = SearchCurves(
        run.tensorboard,
        ledger,
        hyperparameters,
        units,
        population=population,
        evaluations=evaluations,
        distributions=distributions,
    )
    return each, whole.advance
