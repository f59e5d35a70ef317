"""A search as people see it: TensorBoard's files, its status and its first line."""

from __future__ import annotations

from revo_ray.monitor.status import SearchStatus
from revo_ray.monitor.view import headline
from revo_ray.search.core.prepare import Preparation
from revo_ray.search.core.state import SearchState


def show_in_tensorboard(state: SearchState) -> None:
    """Write TensorBoard's files of a search, and add each new row to them."""
    from revo_ray.monitor.tensorboard import write_tensorboard  # its protocol takes a second

    on_row, on_told = write_tensorboard(
        state.run,
        state.ledger,
        state.units,
        state.method.space(state.units),
        population=state.config.search.population,
        evaluations=state.budget if state.budget_unit == "evaluations" else None,
        distributions=state.proposals.distributions,
    )
    state.listeners.append(on_row)
    state.followers.append(on_told)


def status_of(state: SearchState) -> SearchStatus:
    """The numbers that its progress is shown by."""
    head = next((index for index, unit in enumerate(state.units) if unit.head), -1)
    return SearchStatus(state.config, state.budget_unit, head)


def headline_of(state: SearchState, preparation: Preparation) -> str:
    """Its first line: method, network, images and the size of each split."""
    config, table = state.config, preparation.table(state.config)
    splits = preparation.splits(config)
    skipped = f" ({len(table.skipped)} skipped)" if table.skipped else ""
    return (
        f"{headline(config)}, {len(state.units)} units, "
        f"{len(splits.train)}/{len(splits.validation)}/{len(splits.test)} "
        f"images to train/validate/test on{skipped}"
    )
