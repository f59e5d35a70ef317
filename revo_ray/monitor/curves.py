"""TensorBoard's files of a search that runs."""

from __future__ import annotations

from revo_ray.monitor.tensorboard import EvaluationCurves, Hyperparameters, SearchCurves
from revo_ray.search.core.state import SearchState


def write_tensorboard(state: SearchState) -> None:
    """Write what TensorBoard lacks of a search now, and from now on with each row.

    Raises:
        OSError: the storage is full or unreachable.
    """
    hyperparameters = Hyperparameters(state.units, state.method.space(state.units))
    each = EvaluationCurves(state.storage, hyperparameters)
    each.catch_up(state.ledger)
    whole = SearchCurves(
        state.storage,
        state.ledger,
        hyperparameters,
        state.units,
        population=state.config.search.population,
        evaluations=state.budget if state.budget_unit == "evaluations" else None,
        distributions=state.proposals.distributions,
    )
    state.listeners.append(each)
    state.followers.append(whole.advance)
