"""`search` and `study` run here; `submit` runs either as a job on a cluster."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from revo_ray.cli.console import errors, located, progress, say, tell
from revo_ray.cli.dry_run_text import show_dry_run
from revo_ray.cli.next_commands import configured, plugin_words, show_next, shown_path
from revo_ray.cli.parameters import (
    Address,
    AsJson,
    Config,
    DryRun,
    Evaluations,
    Images,
    OptionalConfig,
    Overrides,
    PluginPath,
    Time,
)
from revo_ray.cli.report_commands import show_report
from revo_ray.cli.search_result import show_result, status_counts
from revo_ray.cli.upload_text import show_upload
from revo_ray.errors import SearchError, UserError
from revo_ray.monitor.terminal import CleanStream
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.settings.duration import time_text
from revo_ray.settings.images_argument import images_overrides
from revo_ray.settings.schema import SearchConfig
from revo_ray.settings.study import StudyConfig
from revo_ray.storage import Storage

if TYPE_CHECKING:
    from revo_ray.search.jobs.job_server import JobServer


def search(
    config: OptionalConfig = None,
    overrides: Overrides = None,
    address: Address = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the search in the run directory, if any.")
    ] = False,
    plugin_path: PluginPath = None,
    time: Time = None,
    evaluations: Evaluations = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Search for the best layer-wise learning rates, and keep the best model."""
    if evaluations is not None:
        overrides = [*(overrides or []), f"search.evaluations={evaluations}"]
    _refuse_run_directory(config)
    settings = SearchConfig.load(config, overrides or [])
    more = [*plugin_words(plugin_path), *_address_words(address)]
    if dry_run:
        show_dry_run(settings, resume, plugin_path or (), time)
        _show_start(settings, config, overrides, resume, *more, *_time_words(time))
        return
    with _resumable(settings, config, overrides, *more, *_time_words(time)):
        from revo_ray.run import run_search

        result = run_search(
            settings,
            address=address,
            resume=resume,
            time=time,
            plugin_path=plugin_path or (),
            console=progress(),
        )
    if as_json:
        tell(asdict(result))
    show_result(result, config, overrides, *more)
    if result.best is None:
        ledger = RunDirectory(result.directory).ledger_uri
        raise SearchError(
            f"no evaluation succeeded ({status_counts(result)}); {ledger} has the "
            "status and error of each; where they diverged, try lower rates under another name"
        )


def _refuse_run_directory(config: str | None) -> None:
    """Refuse the folder of a search in the place of images.

    Raises:
        UserError: it is one; the message has the file to name.
    """
    if config is not None and Path(config).is_dir() and (run := RunDirectory(config)).is_search:
        file = shown_path(run.storage.child(run.CONFIG).uri)
        raise UserError(f"{config!r} is the run directory of a search; name {file} with --resume")


def _show_start(
    settings: SearchConfig,
    config: str | None,
    overrides: list[str] | None,
    resume: bool,
    *more: str,
) -> None:
    """Print the command that starts what a dry run has checked."""
    words = (*more, *(["--resume"] if resume else []))
    show_next([("start it", configured(settings.KIND, config, overrides, *words))])


def _address_words(address: str | None) -> list[str]:
    return ["--address", address] if address else []


def _time_words(time: timedelta | None) -> list[str]:
    return [] if time is None else ["--time", time_text(time)]


def study(
    config: Config,
    images: Images = None,
    overrides: Overrides = None,
    address: Address = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the study in its folder, if any.")
    ] = False,
    plugin_path: PluginPath = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Run a search for each combination of method, model, data, fraction and seed; report all."""
    own = [] if images is None else images_overrides(images, config)
    settings = StudyConfig.load(config, [*own, *(overrides or [])])
    more = [
        *([images] if images else []),
        *plugin_words(plugin_path),
        *_address_words(address),
    ]
    if dry_run:
        show_dry_run(settings, resume, plugin_path or ())
        _show_start(settings, config, overrides, resume, *more)
        return
    folder = Storage(settings.storage).child(settings.name)
    with _resumable(settings, config, overrides, *more):
        from revo_ray.run import run_study

        try:
            results = run_study(
                settings,
                address=address,
                resume=resume,
                plugin_path=plugin_path or (),
                console=progress(),
            )
        except SearchError:
            show_report(folder)
            raise
    if as_json:
        tell([asdict(result) for result in results])
    steps = show_report(folder)
    spent = [result for result in results if result.stopped_by == "budget"]
    if (left := len(settings.searches()) - len(spent)) > 0:
        say(
            f"search.stop_after has passed with {left} of {left + len(spent)} searches unfinished; "
            "the same command with --resume spends the rest"
        )
    if not results:
        raise SearchError("search.stop_after passed before an evaluation ended; allow more time")
    if nothing := [result.name for result in results if result.best is None]:
        raise SearchError(f"no evaluation succeeded in {', '.join(nothing)}")
    show_next(steps)


def submit(
    config: OptionalConfig = None,
    overrides: Overrides = None,
    address: Annotated[
        str,
        typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="Address of the cluster's dashboard."),
    ] = "http://127.0.0.1:8265",
    working_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder to upload as it is, with the configuration in it: the job imports its "
            "modules. Default: the configuration, the plugins that it names and, from a checkout, "
            "this code."
        ),
    ] = None,
    plugin_path: PluginPath = None,
    study: Annotated[bool, typer.Option("--study", help="The configuration is a study.")] = False,
    runtime_env: Annotated[
        Path | None,
        typer.Option(help="A YAML file with further settings of Ray's runtime environment."),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Follow the job's log until the job ends.")] = True,
    job_id: Annotated[
        str | None,
        typer.Option("--follow", metavar="JOB", help="Follow this job's log; start nothing."),
    ] = None,
) -> int:
    """Run a search or a study as a job on a Ray cluster, and end with its exit status."""
    from revo_ray.methods.plugins import trusting
    from revo_ray.search.jobs.job_server import JobServer
    from revo_ray.search.jobs.submit import make_job

    if job_id is not None:
        if config or overrides or study:
            raise UserError(f"--follow {job_id} starts nothing: leave the configuration out")
        return _follow(JobServer(address), job_id)
    kind: type[SearchConfig] = StudyConfig if study else SearchConfig
    settings = kind.load(config, overrides or [])
    with TemporaryDirectory(prefix="revo-ray-") as empty:
        with located(settings), trusting(plugin_path):
            job = make_job(
                settings,
                config,
                overrides or [],
                working_dir or Path(empty),
                runtime_env,
                gathered=working_dir is None,
            )
        for note in job.notes:
            say(f"warning: {note}", errors)
        server = JobServer(address)
        show_upload(job.files)
        job_id = server.submit(job)
    say(f"submitted {job_id}: {job.entrypoint}")
    say(f"dashboard: {server.page(job_id)}")
    if wait:
        return _follow(server, job_id)
    say(f"it runs on the cluster; {server.ways_back(job_id)}")
    return 0


@contextmanager
def _resumable(
    settings: SearchConfig,
    config: str | None,
    overrides: list[str] | None,
    *more: str,
) -> Iterator[None]:
    """Stop at SIGINT and SIGTERM, and say how to resume after a stop or a failing storage."""
    from revo_ray.search.ray.stopping import stopping_on_signals

    try:
        with stopping_on_signals(process_ends=True), located(settings):
            yield
    except KeyboardInterrupt:
        again = configured(settings.KIND, config, overrides, *more, "--resume")
        say(f"Stopped; every finished evaluation is kept. Go on with: {again}")
        raise
    except OSError as error:
        raise SearchError(f"{error}; what is finished is kept, go on with --resume") from error


def _follow(server: JobServer, job_id: str) -> int:
    """Print a job's log until the job ends; gives the job's exit status."""
    from revo_ray.search.ray.stopping import stopping_on_signals

    shown = CleanStream(sys.stdout)

    def write(text: str) -> None:
        shown.write(text)
        shown.flush()

    try:
        with stopping_on_signals(process_ends=True):
            status = server.follow(job_id, write)
    except KeyboardInterrupt:
        say("")
        say(f"{job_id} goes on; {server.ways_back(job_id)}")
        raise
    if status == 130:
        say(f"{job_id} was stopped; what is finished is kept, submit it again to go on")
    return status
