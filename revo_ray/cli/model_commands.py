"""`train`, `export` and `predict`: commands that give or take a model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from revo_ray.cli.console import errors, located, out, say
from revo_ray.cli.next_commands import after_export, after_predict, after_train, show_next
from revo_ray.cli.parameters import Overrides
from revo_ray.errors import SearchError, UserError, printable
from revo_ray.objective import METRICS, Scores
from revo_ray.rundir.recorded_config import RecordedConfig
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.settings.schema import SearchConfig
from revo_ray.words import number_text, recipe_texts

if TYPE_CHECKING:
    from revo_ray.finetune.training.loop import Epoch
    from revo_ray.model.model import Prediction
    from revo_ray.model.refit import Refit
    from revo_ray.model.train import Trained


class Result(StrEnum):
    """Forms of a search's result."""

    BEST = "best"
    ENSEMBLE = "ensemble"
    SOUP = "soup"
    PLAIN = "plain"


FormOption = Annotated[
    Result | None,
    typer.Option(
        help="Result of a run directory. Default: the one that search.result names, if the search "
        "made it, else the best model."
    ),
]


def train(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN | CONFIG.yaml", help="A run directory, or a file or preset:NAME."
        ),
    ],
    plan: Annotated[
        str | None,
        typer.Option(
            help="Path or URI of a plan.json, for example best/plan.json of a search. Default: the "
            "best plan of the run directory."
        ),
    ] = None,
    overrides: Overrides = None,
    with_validation: Annotated[
        bool, typer.Option("--with-validation", help="Train on the validation images too.")
    ] = False,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            max=1000,
            metavar="N",
            help="Train with the training seeds train.seed, train.seed + 1, …; the model gives the "
            "mean of their probabilities.",
        ),
    ] = 1,
    save: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Write the model to this new folder, which predict and export take.",
        ),
    ] = None,
) -> None:
    """Fine-tune once under a known plan, without Ray, and test the model."""
    run, recorded = _recorded(source, overrides or [])
    settings = recorded.config
    if run is None and plan is None:
        raise UserError("--plan: name a plan.json, or a run directory in place of CONFIG.yaml")

    with located(settings), _placing_images(run):
        from revo_ray.model.refit import best_plan, check_folder, refit
        from revo_ray.model.train import read_plan
        from revo_ray.monitor.preparation import prepare_and_show

        folder = None if save is None else check_folder(save)
        known = best_plan(run) if run is not None and plan is None else read_plan(plan or "")
        if known.recipe:
            say(f"recipe:     {', '.join(recipe_texts(known.recipe))}")
        done = refit(
            recorded,
            known,
            seeds,
            out=folder,
            with_validation=with_validation,
            on_seed=lambda seed: say(f"seed {seed}") if seeds > 1 else None,
            on_epoch=_show_epoch,
            on_trained=_show_trained,
            prepare_table=partial(prepare_and_show, console=out),
            say=say,
        )
        if seeds > 1:
            _show_spread(done)
        if folder is not None:
            say(f"model:      {folder}")
            show_next(after_train(str(folder)))


class Format(StrEnum):
    """Formats that `export` writes."""

    SAFETENSORS = "safetensors"
    ONNX = "onnx"
    TORCH_EXPORT = "torch-export"


def export(
    directory: Annotated[
        str,
        typer.Argument(
            metavar="DIR",
            help="The run directory of a search, or a folder that train or export wrote; path or "
            "URI.",
        ),
    ],
    to: Annotated[
        Format,
        typer.Option(
            help="safetensors: a folder for timm or torchvision; onnx: a .onnx file; "
            "torch-export: a .pt2 file."
        ),
    ],
    path: Annotated[
        str, typer.Option("--out", metavar="PATH", help="The file or folder to write; a new one.")
    ],
    form: FormOption = None,
) -> None:
    """Write a model in a format that others load, and check that it answers the same."""
    from revo_ray.model.export.export import export_model

    done = export_model(directory, to.value, path, None if form is None else form.value)
    if done.unfinished:
        say(f"This search is not finished ({done.unfinished}): its best model so far.")
    say(f"model:   {done.path} ({done.subject})")
    same = "the same logits" if not done.difference else f"logits within {done.difference:.1e}"
    say(f"checked: {same} as the search's own model, on {done.images}")
    show_next(after_export(str(done.path), *(["--trust"] if to is Format.TORCH_EXPORT else [])))


class Answers(StrEnum):
    """Formats that `predict` writes."""

    TEXT = "text"
    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"


def predict(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A run directory, an exported folder, a .onnx or a .pt2 file; path or URI.",
        ),
    ],
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES…", help="Files, folders, archives.")
    ],
    top: Annotated[int, typer.Option(min=1, help="Number of labels for each image.")] = 1,
    form: FormOption = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="Open a .pt2 file, which is code: only one of people whom you trust.",
        ),
    ] = False,
    kind: Annotated[
        Answers | None,
        typer.Option(
            "--format",
            help="text: path, label and probability, separated by tabs. csv, parquet: a table, "
            "with the probability of each class. json: an object per line. Default: the ending of "
            "--out, else text.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    file: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Write to this file.")
    ] = None,
) -> None:
    """Label images."""
    from revo_ray.model.answers import check_file, lines, writing
    from revo_ray.model.load import load
    from revo_ray.model.pictures import find_images, picture_of_file

    if as_json and kind not in (None, Answers.JSON):
        raise UserError(f"--json: --format is {kind}; give one of the two")
    wanted = Answers.JSON if as_json else kind
    target = None if file is None else check_file(file, None if wanted is None else wanted.value)
    if target is None and wanted is Answers.PARQUET:
        raise UserError("--format parquet: name a file with --out")
    found, problems = find_images(images)
    opened = load(model, form=None if form is None else form.value, trust=trust)
    top = min(top, len(opened.classes))
    answers = opened.stream(chain(problems, map(picture_of_file, found)))
    total, bad = len(found) + len(problems), 0
    with ExitStack() as stack:
        if target is not None:
            write = stack.enter_context(writing(*target, opened.classes, top))
        else:
            write = lines(sys.stdout, (wanted or Answers.TEXT).value, opened.classes, top)
        shown = target is not None or not sys.stdout.isatty()
        for answer in stack.enter_context(_progress(answers, total, errors if shown else None)):
            write(answer)
            if answer.error is not None:
                bad += 1
                line = printable(f"revo-ray: {answer.name}: {answer.error}")
                errors.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)
    if target is None and errors.is_terminal:
        options = [*(["--form", form.value] if form else []), *(["--trust"] if trust else [])]
        show_next(after_predict(model, images, *options), errors)
    if bad:
        raise SearchError(f"{bad} of {total} images cannot be predicted")


@contextmanager
def _progress(
    answers: Iterator[Prediction], total: int, console: Console | None
) -> Iterator[Iterator[Prediction]]:
    """The same answers, with a bar on the console if that is a terminal."""
    if console is None or not console.is_terminal or total < 2:
        yield answers
        return
    bar = Progress(
        TextColumn("predicting"),
        *(BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn()),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with bar:
        yield iter(bar.track(answers, total=total, description=""))


def _recorded(source: str, overrides: list[str]) -> tuple[RunDirectory | None, RecordedConfig]:
    """The run directory that an argument names, if any, and the configuration with overrides."""
    run = _run_directory(source)
    if run is None:
        return None, RecordedConfig(SearchConfig.load(source, overrides), {}, {})
    recorded, above = run.config(), run.storage.parent
    here = [] if above is None else [f"storage={above.uri}"]  # where its image table is
    config = SearchConfig.load(run.storage.child(run.CONFIG).uri, [*here, *overrides])
    return run, RecordedConfig(config, recorded.provenance, recorded.deleted)


def _run_directory(source: str) -> RunDirectory | None:
    """The run directory at a path or URI; None if it is no folder that records a search."""
    if source.startswith("preset:"):
        return None
    run = RunDirectory(source)
    if run.storage.size("") is not None or not run.exists:
        return None
    return run if "recorded:" in run.config_text() else None


@contextmanager
def _placing_images(run: RunDirectory | None) -> Iterator[None]:
    """Say how to name the place of a search's images, if they are no longer where they were."""
    try:
        yield
    except UserError as error:
        if run is None or error.key != "data.root":
            raise
        raise UserError(
            f"{error.args[0]}, where the images of {run.uri} were; name their place with "
            "--set data.root=…",
            key=error.key,
        ) from None


def _show_epoch(epoch: Epoch) -> None:
    if epoch.train_loss is not None:
        say(f"epoch {epoch.epoch}: training loss {epoch.train_loss:.4f} ({epoch.seconds:.1f}s)")


def _text(scores: Scores) -> str:
    return ", ".join(f"{m.title} {number_text(m.value(scores))}" for m in METRICS.values())


def _show_trained(trained: Trained) -> None:
    if trained.validation is not None:
        say(f"validation: {_text(trained.validation)}")
    say(f"test:       {_text(trained.test)}")


def _show_spread(done: Refit) -> None:
    """Print mean and spread of the test scores over the seeds, and the score of all together."""
    from revo_ray.model.refit import spread

    say(f"test scores of {len(done.seeds)} seeds")
    for part, scores in spread(done.test).items():
        say(f"  {part}: {_text(scores)}")
    say(f"  mean of the probabilities: {_text(done.together)}")
