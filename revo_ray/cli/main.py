"""The command line: `revo-ray` and `python -m revo_ray`."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from revo_ray.errors import SearchError, UserError
from revo_ray.settings.schema import SearchConfig, preset_names
from revo_ray.storage import Storage

if TYPE_CHECKING:
    from revo_ray.finetune.training.epoch import Epoch
    from revo_ray.model.predict import Prediction
    from revo_ray.rundir.outcome import SearchResult
    from revo_ray.search.jobs.job_server import JobServer

app = typer.Typer(
    name="revo-ray",
    help="Find how fast each layer of a pretrained vision model should learn.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="Look at a data set before a search.", no_args_is_help=True)
app.add_typer(data, name="data")
out = Console()

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override any key, e.g. search.evaluations=20."
    ),
]
OptionalConfig = Annotated[
    str | None,
    typer.Argument(
        metavar="[CONFIG.yaml]", help="A file or preset:NAME; default: the quick start."
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Join a Ray cluster: auto or host:port. Default: embedded, or the job's own."
    ),
]
Config = Annotated[str, typer.Argument(metavar="CONFIG.yaml", help="A file or preset:NAME.")]


@app.command()
def search(
    config: OptionalConfig = None,
    overrides: Overrides = None,
    address: Address = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the run directory stands.")
    ] = False,
) -> None:
    """Search for the best layer-wise learning rates, and keep the best model."""
    settings = SearchConfig.load(config, overrides or [])

    from revo_ray.search.ray.stopping import stopping_on_signals

    try:
        with stopping_on_signals(process_ends=True), _located(settings):
            from revo_ray.run import run_search

            result = run_search(settings, address=address, resume=resume, console=out)
    except KeyboardInterrupt:
        again = _again("search", config, overrides, address)
        _say(f"Stopped; every finished evaluation is kept. Go on with: {again}")
        raise
    except OSError as error:
        raise SearchError(f"{error}; what is finished is kept, go on with --resume") from error
    _show(result, config, overrides)
    if result.best is None:
        ledger = Storage(result.directory).child("ledger").uri
        raise SearchError(
            f"no evaluation succeeded ({_counts(result)}); {ledger} has the "
            "status and error of each; where they diverged, try lower rates under another name"
        )


@app.command()
def study(
    config: Config,
    overrides: Overrides = None,
    address: Address = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the study's folder stands.")
    ] = False,
) -> None:
    """Run methods × models × data × fractions × seeds, and report them in tables."""
    from revo_ray.settings.study import StudyConfig

    settings = StudyConfig.load(config, overrides or [])
    folder = Storage(settings.storage).child(settings.name)

    from revo_ray.search.ray.stopping import stopping_on_signals

    try:
        with stopping_on_signals(process_ends=True), _located(settings):
            from revo_ray.run import run_study

            results = run_study(settings, address=address, resume=resume, console=out)
    except SearchError:
        _report(folder)
        raise
    except KeyboardInterrupt:
        again = _again("study", config, overrides, address)
        _say(f"Stopped; every finished evaluation is kept. Go on with: {again}")
        raise
    except OSError as error:
        raise SearchError(f"{error}; what is finished is kept, go on with --resume") from error
    _report(folder)
    if nothing := [result.name for result in results if result.best is None]:
        raise SearchError(f"no evaluation succeeded in {', '.join(nothing)}")


@app.command()
def submit(
    config: OptionalConfig = None,
    overrides: Overrides = None,
    address: Annotated[
        str, typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="Of the cluster's dashboard.")
    ] = "http://127.0.0.1:8265",
    working_dir: Annotated[
        Path, typer.Option(help="What to upload: the configuration, plugins, perhaps a checkout.")
    ] = Path("."),
    study: Annotated[bool, typer.Option("--study", help="The configuration is a study.")] = False,
    runtime_env: Annotated[
        Path | None, typer.Option(help="A YAML file with more of Ray's runtime environment.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Follow the job's log until the job ends.")] = True,
    job_id: Annotated[
        str | None,
        typer.Option("--follow", metavar="JOB", help="Start nothing; follow a job's log."),
    ] = None,
) -> int:
    """Run a search or a study as a job on a Ray cluster, and end with its exit status."""
    from revo_ray.search.jobs.job_server import JobServer
    from revo_ray.search.jobs.submit import make_job
    from revo_ray.settings.study import StudyConfig

    if job_id is not None:
        if config or overrides or study:
            raise UserError(f"--follow {job_id} starts nothing: leave the configuration out")
        return _follow(JobServer(address), job_id)
    kind: type[SearchConfig] = StudyConfig if study else SearchConfig
    settings = kind.load(config, overrides or [])
    with _located(settings):
        job = make_job(settings, config, overrides or [], working_dir, runtime_env)
    server = JobServer(address)
    job_id = server.submit(job)
    _say(f"submitted {job_id}: {job.entrypoint}")
    if wait:
        return _follow(server, job_id)
    _say(f"it runs on the cluster; {server.ways_back(job_id)}")
    return 0


@app.command()
def report(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="Of a study or a search.")],
    reference: Annotated[
        str | None, typer.Option(help="The method of a study that the others are compared with.")
    ] = None,
) -> None:
    """Write a page, tables, statistics and figures of whatever is finished."""
    folder = Storage(directory)
    if not folder.exists() or (folder.local and not folder.local.is_dir()):
        raise UserError(f"no such folder {directory!r}")
    _report(folder, reference)


@app.command()
def watch(
    directory: Annotated[
        str,
        typer.Argument(metavar="DIR", help="Of a search or a study, a path or URI."),
    ],
    once: Annotated[bool, typer.Option("--once", help="Print where it stands, and end.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 2.0,
) -> None:
    """Show where a search or a study stands that runs elsewhere, until it is done."""
    from revo_ray.monitor.watch import watch as watch_directory

    watch_directory(directory, out, once=once, every=every)


@app.command()
def train(
    config: Config,
    plan: Annotated[
        str,
        typer.Option(help="A path or URI of a plan.json, for example best/plan.json of a search."),
    ],
    overrides: Overrides = None,
    with_validation: Annotated[
        bool, typer.Option("--with-validation", help="Train on the validation images too.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option("--out", help="Write the weights to this .safetensors file.")
    ] = None,
) -> None:
    """Fine-tune once under a known plan, without Ray, and test."""
    settings = SearchConfig.load(config, overrides or [])
    if save is not None and not save.parent.is_dir():
        raise UserError(f"--out: no such folder {str(save.parent)!r}")
    if save is not None and save.is_dir():
        raise UserError(f"--out: {str(save)!r} is a folder; name a .safetensors file")

    with _located(settings):
        from revo_ray.model.train import read_plan, train_plan

        trained = train_plan(
            settings,
            read_plan(plan),
            with_validation=with_validation,
            on_epoch=_show_epoch,
            console=out,
        )
        if trained.validation is not None:
            _say(f"validation: {_metrics(trained.validation)}")
        _say(f"test:       {_metrics(trained.test)}")
        if save is not None:
            from safetensors.torch import save as to_bytes

            save.write_bytes(to_bytes(trained.tuner.state_dict(), {"format": "pt"}))
            _say(f"weights:    {save}")


class Form(StrEnum):
    """What `export` writes."""

    SAFETENSORS = "safetensors"
    ONNX = "onnx"
    TORCH_EXPORT = "torch-export"


@app.command()
def export(
    directory: Annotated[
        str, typer.Argument(metavar="DIR", help="The run directory of a search, on any storage.")
    ],
    to: Annotated[
        Form,
        typer.Option(
            help="safetensors: a folder for timm or torchvision; onnx: a .onnx file; "
            "torch-export: a .pt2 file."
        ),
    ],
    path: Annotated[str, typer.Option("--out", metavar="PATH", help="What to write; a new one.")],
) -> None:
    """Write the best model for others to load, and check that it answers the same."""
    from revo_ray.model.export.export import export_model

    done = export_model(directory, to.value, path)
    if not done.outcome.done:
        _say(f"This search is not finished ({done.outcome.progress}): its best model so far.")
    _say(f"model:   {done.path} (evaluation {done.evaluation})")
    same = "the same logits" if not done.difference else f"logits within {done.difference:.1e}"
    _say(f"checked: {same} as the search's own model, on {done.images}")


@app.command()
def predict(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A run directory, an exported folder, a .onnx or a .pt2 file (of people you "
            "trust: torch's loader can run code that is in it).",
        ),
    ],
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES…", help="Files, folders, zip archives.")
    ],
    top: Annotated[int, typer.Option(min=1, help="Labels for each image.")] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line, for programs.")
    ] = False,
) -> None:
    """Label images: path, label and probability, separated by tabs."""
    from revo_ray.model.predict import Prediction, find_images, open_model
    from revo_ray.model.predict import predict as predict_images

    found, problems = find_images(images)
    bad = 0
    for answer in chain(problems, predict_images(open_model(model), found, top)):
        if isinstance(answer, Prediction):
            print(_json_line(answer) if as_json else _text_line(answer))
        else:
            bad += 1
            print(f"revo-ray: {answer.name}: {answer.cause}", file=sys.stderr)
    if bad:
        raise SearchError(f"{bad} of {len(found) + len(problems)} images cannot be predicted")


@data.command("inspect")
def data_inspect(config: OptionalConfig = None, overrides: Overrides = None) -> None:
    """Show classes, splits, sizes, twins and bad images; exit 2 if no search could start."""
    settings = SearchConfig.load(config, overrides or [])

    from revo_ray.cli.inspection import looking, show_inspection
    from revo_ray.data.inspect import inspect
    from revo_ray.data.shared_files import tables_folder

    with _located(settings):
        folder = tables_folder(settings.storage)
        with looking(out) as progress:
            try:
                found = inspect(settings.data, folder, progress)
            except OSError as error:
                raise UserError(f"cannot read {str(folder)!r}: {error}", key="storage") from None
        show_inspection(found, settings.data, folder, out)
        found.check()


@app.command()
def methods(
    plugin: Annotated[
        list[str] | None, typer.Option(help="A module with more methods, beside `baselines`.")
    ] = None,
) -> None:
    """List the methods and their options."""
    from revo_ray.methods import load_methods
    from revo_ray.settings.options import ByOptimizer

    for name, method in sorted(load_methods(["baselines", *(plugin or [])]).items()):
        out.print(f"[bold]{escape(name)}[/]  {escape(method.summary())}")
        for key, field in method.Options.model_fields.items():
            marks = (mark for mark in field.metadata if isinstance(mark, ByOptimizer))
            default = next(marks, field.default)
            out.print(f"    method.{key}: {default}", markup=False, highlight=False)
    _say(f"presets: {', '.join('preset:' + name for name in preset_names())}")
    studies = ", ".join("preset:" + name for name in preset_names("study"))
    _say(f"presets of studies: {studies}")


@app.command()
def models(
    pattern: Annotated[
        str | None, typer.Argument(help="Part of a name, e.g. resnet18. Default: all.")
    ] = None,
) -> None:
    """List the pretrained models by the name that `model.name` takes."""
    from revo_ray.finetune.network.model_names import list_models

    found = list_models(pattern)
    if not found:
        raise UserError(f"no model's name contains {pattern!r}; `revo-ray models` lists all")
    out.print("\n".join(found), markup=False, highlight=False)


def main() -> None:
    """Run the command line, and end with the exit status that the README lists."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a log in ASCII still gets every line
            stream.reconfigure(errors="backslashreplace")
    try:
        status = app(standalone_mode=False)
    except UserError as error:
        status = _fail(str(error), 2)
    except (SearchError, OSError) as error:
        status = _fail(str(error), 3)
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except Exception as error:
        # click's own usage errors know how to show themselves.
        show: Callable[[], None] | None = getattr(error, "show", None)
        if show is None:
            raise
        show()
        status = int(getattr(error, "exit_code", 2))
    sys.exit(status or 0)


@contextmanager
def _located(settings: SearchConfig) -> Iterator[None]:
    """An error that names a key also says where that key was set."""
    try:
        yield
    except UserError as error:
        raise UserError(settings.locate(error)) from None


def _fail(message: str, status: int) -> int:
    print(f"revo-ray: {message}", file=sys.stderr)
    return status


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def _show(result: SearchResult, config: str | None, overrides: list[str] | None) -> None:
    from revo_ray.monitor.status import duration
    from revo_ray.monitor.tensorboard import PAGE

    cost = f"{result.epochs} epochs, {result.images} images"
    _say(
        f"{result.evaluations} evaluations ({_counts(result)}) in {duration(result.wall_seconds)}: "
        f"{cost}, {duration(result.device_seconds)} of device time"
    )
    if result.best is None:
        _say("best: null")
        return
    grid = Grid("", "loss", "accuracy", "AUC", box=None, pad_edge=False)
    best, test = result.best, result.test or {}
    grid.add_row(
        f"validation (evaluation {best['evaluation']})",
        *(_number(best[key]) for key in ("val_loss", "val_accuracy", "val_auc")),
    )
    grid.add_row("test (once)", *(_number(test.get(key)) for key in ("loss", "accuracy", "auc")))
    out.print(grid)
    run = Storage(result.directory)
    plan = f"--plan {shlex.quote(run.child('best/plan.json').uri)}"
    # TensorBoard takes no options of pyarrow in a URI; it has S3_ENDPOINT and the like.
    curves = shlex.quote(run.child("tensorboard").uri.partition("?")[0])
    _say(f"model:       {run.child('best/model.safetensors').uri}")
    _say(f"ledger:      {run.child('ledger.parquet').uri}")
    _say(f"TensorBoard: {_program('tensorboard')} --logdir {curves}")
    _say(f"             then open http://localhost:6006/{PAGE}")
    changes = "".join(f" --set {shlex.quote(override)}" for override in overrides or [])
    source = shlex.quote(config or "preset:quickstart")
    _say(
        "next:        train the best plan on train + validation images:\n"
        f"             {_program('revo-ray')} train {source}{changes} "
        f"{plan} --with-validation --out model.safetensors"
    )


def _json_line(prediction: Prediction) -> str:
    top = [{"label": label, "probability": value} for label, value in prediction.top]
    return json.dumps({"path": prediction.path} | top[0] | {"top": top}, ensure_ascii=False)


def _text_line(prediction: Prediction) -> str:
    fields = (field for label, value in prediction.top for field in (label, f"{value:.4f}"))
    return "\t".join((prediction.path, *fields))


def _report(folder: Storage, reference: str | None = None) -> None:
    from rich.markdown import Markdown

    from revo_ray.report.pages.site import write_page
    from revo_ray.report.study_report import study_report, write_report

    found = study_report(folder, reference=reference)
    written = write_report(found, folder)
    out.print(Markdown(found.markdown))
    figures = write_page(found, folder)
    paths = (uri.partition("?")[0] for uri in written)  # the options of an object store
    tables = ", ".join(path.rpartition("/")[2] for path in paths if "/figures/" not in path)
    _say(f"page:   {figures.page}")
    _say(f"report: {figures.folder}: {tables} and {figures.count} figures")


def _follow(server: JobServer, job_id: str) -> int:
    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    try:
        status = server.follow(job_id, write)
    except KeyboardInterrupt:
        _say(f"\n{job_id} goes on; {server.ways_back(job_id)}")
        raise
    if status == 130:
        _say(f"{job_id} was stopped; what is finished is kept, submit it again to go on")
    return status


def _show_epoch(epoch: Epoch) -> None:
    if epoch.train_loss is not None:
        _say(f"epoch {epoch.epoch}: training loss {epoch.train_loss:.4f} ({epoch.seconds:.1f}s)")


def _again(
    command: str, config: str | None, overrides: list[str] | None, address: str | None
) -> str:
    parts = [
        _program("revo-ray"),
        command,
        config and shlex.quote(config),
        *(f"--set {shlex.quote(o)}" for o in overrides or []),
        address and f"--address {address}",
        "--resume",
    ]
    return " ".join(part for part in parts if part)


def _program(name: str) -> str:
    """How to type a program that this environment installed: by its path where it is not found."""
    here = Path(sys.executable).parent / name
    if not here.exists():
        return "python -m revo_ray" if name == "revo-ray" else name
    found = shutil.which(name)
    return name if found and Path(found).samefile(here) else os.path.relpath(here)


def _counts(result: SearchResult) -> str:
    return ", ".join(f"{count} {status}" for status, count in result.statuses.items())


def _metrics(metrics: object) -> str:
    loss, accuracy, auc = (getattr(metrics, name) for name in ("loss", "accuracy", "auc"))
    return f"loss {_number(loss)}, accuracy {_number(accuracy)}, AUC {_number(auc)}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
