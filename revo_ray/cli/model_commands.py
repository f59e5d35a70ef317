"""`train`, `export` and `predict`: commands that give or take a model."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from revo_ray.cli.console import located, out, say
from revo_ray.cli.parameters import Config, Overrides
from revo_ray.errors import SearchError, UserError
from revo_ray.objective import METRICS, Scores
from revo_ray.settings.schema import SearchConfig
from revo_ray.words import number_text, recipe_texts

if TYPE_CHECKING:
    from revo_ray.finetune.training.loop import Epoch
    from revo_ray.model.predict import Prediction


def train(
    config: Config,
    plan: Annotated[
        str,
        typer.Option(help="Path or URI of a plan.json, for example best/plan.json of a search."),
    ],
    overrides: Overrides = None,
    with_validation: Annotated[
        bool, typer.Option("--with-validation", help="Train on the validation images too.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option("--out", help="Write the weights to this .safetensors file.")
    ] = None,
) -> None:
    """Fine-tune once under a known plan, without Ray, and test the model."""
    settings = SearchConfig.load(config, overrides or [])
    if save is not None and not save.parent.is_dir():
        raise UserError(f"--out: no such folder {str(save.parent)!r}")
    if save is not None and save.is_dir():
        raise UserError(f"--out: {str(save)!r} is a folder; name a .safetensors file")

    with located(settings):
        from revo_ray.model.train import read_plan, train_plan
        from revo_ray.monitor.preparation import prepare_and_show

        known = read_plan(plan)
        if known.recipe:
            say(f"recipe:     {', '.join(recipe_texts(known.recipe))}")
        trained = train_plan(
            settings,
            known,
            with_validation=with_validation,
            on_epoch=_show_epoch,
            prepare_table=partial(prepare_and_show, console=out),
            say=say,
        )
        if trained.validation is not None:
            say(f"validation: {_text(trained.validation)}")
        say(f"test:       {_text(trained.test)}")
        if save is not None:
            from safetensors.torch import save as to_bytes

            save.write_bytes(to_bytes(trained.tuner.state_dict(), {"format": "pt"}))
            say(f"weights:    {save}")


class Form(StrEnum):
    """Formats that `export` writes."""

    SAFETENSORS = "safetensors"
    ONNX = "onnx"
    TORCH_EXPORT = "torch-export"


def export(
    directory: Annotated[
        str, typer.Argument(metavar="DIR", help="The run directory of a search, path or URI.")
    ],
    to: Annotated[
        Form,
        typer.Option(
            help="safetensors: a folder for timm or torchvision; onnx: a .onnx file; "
            "torch-export: a .pt2 file."
        ),
    ],
    path: Annotated[
        str, typer.Option("--out", metavar="PATH", help="The file or folder to write; a new one.")
    ],
) -> None:
    """Write the best model in a format that others load, and check that it answers the same."""
    from revo_ray.model.export.export import export_model

    done = export_model(directory, to.value, path)
    if done.unfinished:
        say(f"This search is not finished ({done.unfinished}): its best model so far.")
    say(f"model:   {done.path} (evaluation {done.evaluation})")
    same = "the same logits" if not done.difference else f"logits within {done.difference:.1e}"
    say(f"checked: {same} as the search's own model, on {done.images}")


def predict(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A run directory, an exported folder, a .onnx or a .pt2 file. A .pt2 file can "
            "hold code, which torch runs: use only files from people you trust.",
        ),
    ],
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES…", help="Files, folders, archives.")
    ],
    top: Annotated[int, typer.Option(min=1, help="Number of labels for each image.")] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line, for programs.")
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


def _show_epoch(epoch: Epoch) -> None:
    if epoch.train_loss is not None:
        say(f"epoch {epoch.epoch}: training loss {epoch.train_loss:.4f} ({epoch.seconds:.1f}s)")


def _text(scores: Scores) -> str:
    return ", ".join(f"{m.title} {number_text(m.value(scores))}" for m in METRICS.values())


def _json_line(prediction: Prediction) -> str:
    top = [{"label": label, "probability": value} for label, value in prediction.top]
    return json.dumps({"path": prediction.path} | top[0] | {"top": top}, ensure_ascii=False)


def _text_line(prediction: Prediction) -> str:
    fields = (field for label, value in prediction.top for field in (label, f"{value:.4f}"))
    return "\t".join((prediction.path, *fields))
