"""`export` and `predict`: commands that take a model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from revo_ray.cli.console import errors, say
from revo_ray.cli.next_commands import after_export, after_predict, show_next
from revo_ray.cli.streams import lost, unread
from revo_ray.errors import SearchError, UserError
from revo_ray.monitor.terminal import CleanStream

if TYPE_CHECKING:
    from revo_ray.model.model import Prediction


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
    compare_on_data: Annotated[
        bool,
        typer.Option(
            "--compare-on-data",
            help="Compare on images of the data set that the run directory names, not on installed "
            "photographs. That place is opened, and an object store gets your credentials.",
        ),
    ] = False,
) -> None:
    """Write a model in a format that others load, and check that it answers the same."""
    from revo_ray.model.export.export import export_model

    done = export_model(
        directory,
        to.value,
        path,
        None if form is None else form.value,
        compare_on_data=compare_on_data,
    )
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
            write = lines(
                CleanStream(sys.stdout), (wanted or Answers.TEXT).value, opened.classes, top
            )
        shown = target is not None or not sys.stdout.isatty()
        for answer in stack.enter_context(_progress(answers, total, errors if shown else None)):
            write(answer)
            if answer.error is not None:
                bad += 1
                say(f"revo-ray: {answer.name}: {answer.error}", errors)
            if target is None and unread(sys.stdout):
                break
    if target is None and (cause := lost(sys.stdout)) and not unread(sys.stdout):
        raise SearchError(f"stdout: {cause.strerror}; not all answers were written")
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
