"""`run_search` and `run_study`: configurations in, finished run directories out."""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from time import monotonic
from typing import TypeVar

from rich.console import Console

from revo_ray.errors import SearchError, UserError
from revo_ray.methods.plugins import trusting
from revo_ray.monitor.preparation import prepare_and_show
from revo_ray.monitor.progress import Progress, StudyProgress
from revo_ray.monitor.terminal import say
from revo_ray.monitor.trackers import check_trackers
from revo_ray.run.connection import connect, needed_resources
from revo_ray.run.open_choice import with_choice
from revo_ray.run.shown import headline_of, show_in_tensorboard, status_of
from revo_ray.run.tracking import hand_over, open_trackers, show_in_trackers, track_finished
from revo_ray.rundir.lock import RunLock
from revo_ray.rundir.outcome import SearchResult
from revo_ray.rundir.study_directory import StudyDirectory
from revo_ray.search.core.dry_run import DryRun, ThisMachine
from revo_ray.search.core.paths import check_paths
from revo_ray.search.core.prepare import Preparation, resolve
from revo_ray.search.core.refused import leaving_nothing
from revo_ray.search.core.state import SearchState
from revo_ray.search.core.stop_after import StopAfter
from revo_ray.search.core.summary import finished_result, write_result
from revo_ray.search.ray.cluster import this_machine
from revo_ray.search.ray.experiment import run_experiment
from revo_ray.search.ray.halving import make_halving
from revo_ray.search.ray.resources import TrialResources
from revo_ray.search.ray.stopping import stopping_on_signals
from revo_ray.search.ray.timing import RayWorkers
from revo_ray.settings.schema import ResourcesConfig, SearchConfig
from revo_ray.settings.study import StudyConfig

T = TypeVar("T")


def run_search(
    config: SearchConfig,
    *,
    address: str | None = None,
    resume: bool = False,
    time: timedelta | None = None,
    plugin_path: Sequence[str | Path] = (),
    console: Console | None = None,
) -> SearchResult:
    """Run one search to the end of its budget, or of `search.stop_after`, and test its result.

    Args:
        config: the search.
        address: None for an embedded Ray on this machine (or the job's own cluster inside a Ray
            job), `auto` or a URL to join a cluster.
        resume: go on where the run directory stands; also right where there is nothing yet.
        time: time that a search of own images may take, for a configuration that was loaded from a
            path of images: image size, epochs and evaluations are chosen to fit. None: 5 minutes.
            A resumed search keeps what was chosen.
        plugin_path: folders with plugins that the configuration may name, beside those that are
            installed. Their code is run; no file records these folders.
        console: where progress is shown; None shows none.

    Raises:
        UserError: the configuration, the data or the run directory is wrong.
        SearchError, OSError: it stopped, resumable; OSError: the storage is full or unreachable.
        Interrupted: asked to stop, resumable.

    Example:
        >>> from revo_ray import SearchConfig, run_search          # doctest: +SKIP
        >>> result = run_search(SearchConfig.load("config.yaml"))  # doctest: +SKIP
    """
    began = monotonic()
    stop_after = StopAfter(config.search.stop_after, teller(console))
    with ExitStack() as stack:
        stack.enter_context(stopping_on_signals())
        stack.enter_context(trusting(plugin_path))
        kinds = check_trackers(config.trackers)
        stack.enter_context(leaving_nothing(config.storage))
        preparation = _preparation(config.storage, resume, console, stack)
        joined = cache(partial(connect, address, stack))
        needs = cache(partial(needed_resources, config.resources, console))

        def workers() -> RayWorkers:
            joined()
            return RayWorkers(needs(), config.resources)

        choice = with_choice(config, preparation, workers, time, began, console)
        config = choice.config
        preparation.check(config)
        if preparation.finished(config) is None:
            joined()
        state = preparation.state(config)
        show_in_tensorboard(state)
        trackers = open_trackers(kinds, teller(console), stack)
        show_in_trackers(state, trackers)
        progress = Progress(status_of(state), console)
        stack.callback(progress.close)
        state.listeners.append(progress)
        progress.begin(state.ledger, headline_of(state, preparation))
        results = _run([state], stop_after, config.resources, joined, needs, progress.tick)
        hand_over(trackers, results, teller(console))
        if config.name not in results:
            raise SearchError(
                "search.stop_after passed before an evaluation ended; allow more time, and go on "
                "with --resume"
            )
        if results[config.name].stopped_by == "budget" and (
            took := choice.took(monotonic() - began)
        ):
            say(console, took)
        return results[config.name]


def run_study(
    config: StudyConfig,
    *,
    address: str | None = None,
    resume: bool = False,
    plugin_path: Sequence[str | Path] = (),
    console: Console | None = None,
) -> list[SearchResult]:
    """Run every search of a study, as one Ray Tune experiment that interleaves them.

    A search that is idle at its generation's barrier leaves its worker to the next; each ends
    with the ledger that it has alone. Arguments and errors are those of `run_search`; finished
    searches are skipped, and their results are returned with the others, in the study's order. A
    search that cannot go on is named by the error when the others are done. `search.stop_after` is
    the time of the whole study; searches without an evaluation by then have no result.
    """
    stop_after = StopAfter(config.search.stop_after, teller(console))
    with ExitStack() as stack:
        stack.enter_context(stopping_on_signals())
        stack.enter_context(trusting(plugin_path))
        check_paths(config)  # those of its searches are absolute
        kinds = check_trackers(config.trackers)
        searches = config.searches()
        folder = StudyDirectory.of(config)
        for search in searches:
            folder.storage.own_path(search.name)
        stack.enter_context(leaving_nothing(config.storage))
        lock = stack.enter_context(folder.lock(teller(console)))
        _refuse_second(folder, config, resume)
        folder.delete_leftovers()
        _allow_files(len(searches))
        preparation = _preparation(config.storage, True, console, stack, within=lock)
        progress = StudyProgress(config.name, len(searches), console)
        stack.callback(progress.close)
        _each(searches, resolve)  # every mistake in a method, before any image is read
        results = _each(searches, preparation.finished)
        unfinished = [search for search in searches if results[search.name] is None]
        _each(unfinished, preparation.check)
        joined = cache(partial(connect, address, stack))
        if unfinished:
            joined()
        states = _each(unfinished, preparation.state)
        trackers = open_trackers(kinds, teller(console), stack)
        for result in results.values() if trackers else ():
            if result is not None:
                track_finished(result, trackers, config.name)
        for state in states.values():
            show_in_tensorboard(state)
            show_in_trackers(state, trackers, config.name)
        folder.write_config(config)
        for name, state in states.items():
            state.listeners.append(progress.follow(name, status_of(state), state.ledger))
        progress.begin()
        opened, tick = list(states.values()), progress.tick
        resources, finish = config.resources, progress.finish
        needs = partial(needed_resources, resources, console)
        results |= _run(opened, stop_after, resources, joined, needs, tick, finish)
        ended = {name: result for name, result in results.items() if result is not None}
        hand_over(trackers, ended, teller(console))
        return list(ended.values())


def dry_run(
    config: SearchConfig,
    *,
    resume: bool = False,
    time: timedelta | None = None,
    plugin_path: Sequence[str | Path] = (),
    console: Console | None = None,
) -> DryRun:
    """Check a search, or every search of a study, without Ray, and estimate what it will take.

    Writes nothing but the tables of the images, which the searches will use.

    Args:
        config: the search or the study.
        resume: whether it would go on where the run directory stands.
        time: see `run_search`.
        plugin_path: see `run_search`.
        console: where the progress of the images is shown; None shows none.

    Raises:
        UserError: the configuration, the data, the model or the run directory is wrong.
    """
    began = monotonic()
    check_trackers(config.trackers)
    with ExitStack() as stack:
        stack.enter_context(trusting(plugin_path))
        stack.enter_context(leaving_nothing(config.storage))
        if not isinstance(config, StudyConfig):
            preparation = _preparation(config.storage, resume, console, stack)
            workers = partial(ThisMachine, config.resources)
            choice = with_choice(config, preparation, workers, time, began, console)
            found = DryRun(preparation, promised=choice.seconds)
            found.add(choice.config)
            return found
        check_paths(config)
        _refuse_second(StudyDirectory.of(config), config, resume)
        found = DryRun(_preparation(config.storage, True, console, stack))
        searches = config.searches()
        _each(searches, resolve)  # every mistake in a method, before any image is read
        _each(searches, found.add)
        return found


def _refuse_second(folder: StudyDirectory, config: StudyConfig, resume: bool) -> None:
    if not resume and folder.exists:
        raise UserError(
            f"{folder.uri} already holds a study; go on with --resume (resume=True), or choose "
            f"another name with --set name={config.name}-2"
        )


def _preparation(
    storage: str,
    resume: bool,
    console: Console | None,
    stack: ExitStack,
    within: RunLock | None = None,
) -> Preparation:
    return Preparation(
        storage,
        resume,
        stack,
        prepare_table=partial(prepare_and_show, console=console, told=set()),
        early_stopping=make_halving,
        say=teller(console),
        within=within,
    )


def teller(console: Console | None) -> Callable[[str], None] | None:
    """Print a line on the console, if there is one."""
    if console is None:
        return None
    return partial(say, console)


def _run(
    states: list[SearchState],
    stop_after: StopAfter,
    resources: ResourcesConfig,
    joined: Callable[[], bool],
    needs: Callable[[], TrialResources],
    tick: Callable[[int, int], None],
    finished: Callable[[SearchResult], None] = lambda result: None,
) -> dict[str, SearchResult]:
    """Run what is not finished, and write each result as soon as its search is done.

    A search that was stopped before it had an evaluation gets no result.
    """
    results = {state.config.name: finished_result(state) for state in states}

    def finish(state: SearchState) -> None:
        if not len(state.ledger):
            return
        result = results[state.config.name] = write_result(state)
        finished(result)

    open_states = [state for state in states if results[state.config.name] is None]
    if open_states:
        ray_stays = joined()  # done already, but for a finished search that proved damaged
        for state in open_states:
            state.task["node"] = this_machine()
        wanted = needs()
        limit = resources.max_concurrent

        def stop_or_show(busy: int, slots: int) -> None:
            stop_after.check(open_states)
            tick(busy, slots)

        run_experiment(open_states, wanted, limit, finish, ray_stays=ray_stays, tick=stop_or_show)
    return {name: result for name, result in results.items() if result is not None}


def _each(searches: list[SearchConfig], make: Callable[[SearchConfig], T]) -> dict[str, T]:
    """Call a function with each search; an error names the search. Results are by name."""
    made = {}
    for search in searches:
        try:
            made[search.name] = make(search)
        except UserError as error:
            raise UserError(f"{search.name}: {error}", key="study") from None
    return made


def _allow_files(searches: int) -> None:
    """Every search holds its lock file open.

    Raises:
        UserError: this machine does not allow so many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = searches + 1024
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise UserError(
            f"{searches} searches need {wanted} open files, and this machine allows {hard}; raise "
            "`ulimit -Hn`, or divide the study",
            key="study",
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
