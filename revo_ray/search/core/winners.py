"""Winners: the best evaluations of earlier searches, at whose rates a new one begins."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from revo_ray.errors import UserError
from revo_ray.evolve.space import Space
from revo_ray.methods import Method, UnitLike
from revo_ray.methods.rate_transfer import mapped
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.rundir.warm_start import WarmStart, Winners
from revo_ray.settings.schema import SearchConfig

KEY = "search.warm_start"
PART, LEAST = 0.1, 10
"""Share of an earlier search's evaluations that are winners (arXiv 2012.06932), and their least
number where there are as many."""


def check_warm_start(config: SearchConfig, method: Method) -> None:
    """Refuse a warm start of a method that cannot begin at given rates.

    Raises:
        UserError: it cannot.
    """
    if config.search.warm_start and not method.starts_warm:
        raise UserError(
            f"{method.name} with these options cannot begin at the rates of earlier searches; "
            "leave the key out, or search rates on a log scale with revo-continuous, revo-mixed or "
            "revo-binary",
            key=KEY,
        )


def find_warm_start(
    config: SearchConfig, run: RunDirectory, units: Sequence[UnitLike]
) -> WarmStart | None:
    """The warm start of a search; None for a cold one.

    A search keeps the one that it recorded, as long as the key is the same: the earlier searches
    may be gone, also before its first evaluation has ended.

    Raises:
        UserError: an earlier search cannot be read or has no winner, or the record is damaged.
        OSError: the storage is unreachable.
    """
    directories = config.search.warm_start
    if not directories:
        return None
    if run.has_rows:
        return run.warm_start(len(units))
    with suppress(UserError):
        if run.exists and run.config().config.search.warm_start == directories:
            return run.warm_start(len(units))
    return WarmStart([_winners(_open(directory), units) for directory in directories])


def first_space(method: Method, units: Sequence[UnitLike], warm: WarmStart | None) -> Space:
    """The space that a search begins with."""
    return method.space(units) if warm is None else method.space_around(warm.unit_lrs, units)


def _open(directory: str) -> RunDirectory:
    try:
        return RunDirectory(directory)
    except UserError as error:
        raise UserError(error.args[0], key=KEY) from None


def _winners(run: RunDirectory, units: Sequence[UnitLike]) -> Winners:
    """The best evaluations of an earlier search, with their rates for these units."""
    if not run.exists:
        raise UserError(
            f"{run.uri} holds no search; name the run directory of an earlier one", key=KEY
        )
    config = run.config().config
    objective = config.search.metric
    counted = [row for row in run.rows(table_first=True) if row.status == "ok"]
    counted = sorted(filter(objective.counts, counted), key=objective.rank_of)
    most = max(LEAST, round(PART * len(counted)))
    best = [(row.evaluation, rates) for row in counted if any(rates := mapped(row.unit_lrs, units))]
    if not best:
        raise UserError(f"no evaluation of {run.uri} has succeeded; leave it out", key=KEY)
    numbers, winners = zip(*best[:most], strict=True)
    return Winners(run.uri, config.model.name, list(numbers), list(winners))
