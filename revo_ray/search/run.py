"""`run_search` and `run_study`: configurations in, finished run directories out."""

from __future__ import annotations

from contextlib import ExitStack

import ray
from rich.console import Console

from revo_ray.config import ResourcesConfig, SearchConfig
from revo_ray.report.progress import Progress, StudyProgress
from revo_ray.search.cluster import connected, footprint_of
from revo_ray.search.experiment import run_experiment
from revo_ray.search.lock import RunLock
from revo_ray.search.prepare import Preparation
from revo_ray.search.result import SearchResult, read_result, write_result
from revo_ray.search.state import SearchState
from revo_ray.search.stopping import stopping_on_signals
from revo_ray.search.study import StudyConfig, write_study
from revo_ray.storage import Storage


def run_search(
    config: SearchConfig,
    *,
    address: str | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> SearchResult:
    """Run one search to the end of its budget and test its best model.

    Args:
        config: the search.
        address: None for an embedded Ray on this machine (or the job's own cluster inside a Ray
            job), `auto` or a URL to join a cluster.
        resume: go on where the run directory stands; also right where there is nothing yet.
        console: where progress is shown; None shows none.

    Raises:
        UserError: the configuration, the data or the run directory is wrong.
        SearchError, OSError: it stopped, resumable; OSError: the storage is full or unreachable.
        Interrupted: asked to stop, resumable.

    Example:
        >>> from revo_ray import SearchConfig, run_search          # doctest: +SKIP
        >>> result = run_search(SearchConfig.load("config.yaml"))  # doctest: +SKIP
    """
    with ExitStack() as stack:
        stack.enter_context(stopping_on_signals())
        preparation = Preparation(resume, console, stack)
        state = preparation.state(config)
        progress = Progress(state.budget, console, state.budget_unit)
        stack.callback(progress.close)
        state.listeners.append(progress)
        progress.begin(state.ledger, _headline(state, preparation))
        (result,) = _run([state], config.resources, address, stack)
        return result


def run_study(
    config: StudyConfig,
    *,
    address: str | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> list[SearchResult]:
    """Run every search of a study, as one Ray Tune experiment that interleaves them.

    A search that is idle at its generation's barrier leaves its worker to the next; each ends
    with the ledger that it has alone. Arguments and errors are those of `run_search`; finished
    searches are skipped, and their results are returned with the others, in the study's order.
    """
    with ExitStack() as stack:
        stack.enter_context(stopping_on_signals())
        searches = config.searches()
        folder = Storage(config.storage).child(config.name)
        stack.callback(RunLock(folder).close)
        write_study(folder, config, resume=resume)
        preparation = Preparation(True, console, stack)
        progress = StudyProgress(config.name, len(searches), console)
        stack.callback(progress.close)
        states = [preparation.state(search, (progress,)) for search in searches]
        progress.begin([list(state.ledger) for state in states])
        return _run(states, config.resources, address, stack, progress)


def _run(
    states: list[SearchState],
    resources: ResourcesConfig,
    address: str | None,
    stack: ExitStack,
    progress: StudyProgress | None = None,
) -> list[SearchResult]:
    """Run what is not finished, and write each result as soon as its search is done."""
    results: dict[str, SearchResult] = {}

    def finish(state: SearchState) -> None:
        results[state.config.name] = write_result(state)
        if progress is not None:
            progress.finish(results[state.config.name])

    for state in states:
        if finished := read_result(state):
            results[state.config.name] = finished
    open_states = [state for state in states if state.config.name not in results]
    if open_states:
        ray_stays = stack.enter_context(connected(address))
        for state in open_states:
            state.task["node"] = ray.get_runtime_context().get_node_id()
        footprint = footprint_of(resources)
        footprint.check()
        limit = resources.max_concurrent
        run_experiment(open_states, footprint, limit, finish, ray_stays=ray_stays)
    return [results[state.config.name] for state in states]


def _headline(state: SearchState, preparation: Preparation) -> str:
    config, table = state.config, preparation.table(state.config)
    splits = preparation.splits(config)
    skipped = f" ({len(table.skipped)} skipped)" if table.skipped else ""
    return (
        f"{config.method.name}: {config.model.name} on {config.data.source}, "
        f"{len(state.units)} units, "
        f"{len(splits.train)}/{len(splits.validation)}/{len(splits.test)} "
        f"images to train/validate/test on{skipped}, {state.budget} {state.budget_unit}"
    )
