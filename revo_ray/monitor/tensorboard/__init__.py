"""TensorBoard's files: one run for the search as a whole, and one below it for each evaluation."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from revo_ray.evolve.space import Space
from revo_ray.methods import UnitLike
from revo_ray.monitor.tensorboard.evaluation_curves import EvaluationCurves
from revo_ray.monitor.tensorboard.hyperparameters import Hyperparameters
from revo_ray.monitor.tensorboard.search_curves import SearchCurves
from revo_ray.rundir import Evaluation, Ledger, RunDirectory

_CHOSEN = b64encode(b'{".": true }').decode()

# Smoothing would bend the curves of the best so far. The search's own run has to be selected here,
# since TensorBoard selects none of more than 40 runs.
PAGE = "#custom_scalars&_smoothingWeight=0&runSelectionState=" + _CHOSEN
"""End of the address to open first: the page with the layout."""


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
        variables=len(space.searched),
        distributions=distributions,
    )
    return each, whole.advance
