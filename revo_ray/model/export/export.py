"""`revo-ray export`: write the best model in another form, check it, then move it into place."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from revo_ray.errors import SearchError, UserError
from revo_ray.model.classifier import Classifier, Normalised, torch_classifier
from revo_ray.model.export.card import model_card
from revo_ray.model.export.hub_folder import open_folder, write_folder
from revo_ray.model.export.onnx_file import SUFFIX as ONNX
from revo_ray.model.export.onnx_file import open_onnx, write_onnx
from revo_ray.model.export.program import SUFFIX as PROGRAM
from revo_ray.model.export.program import open_program, write_program
from revo_ray.model.export.samples import sample_images
from revo_ray.model.load import LoadedModel, load_best_model
from revo_ray.rundir.outcome import SearchResult
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.settings.schema import SearchConfig

TOLERANCE = 1e-4
"""Largest allowed difference of logits, relative to the largest logit if that is above 1."""


@dataclass(frozen=True)
class Exported:
    """An exported model.

    Attributes:
        path: the folder or the file.
        evaluation: number of the evaluation that trained the weights.
        unfinished: progress of an unfinished search, such as `12/100`; None if it is finished.
        difference: largest difference of a logit from the search's own model; 0 for a folder.
        images: a description of the images on which the two were compared.
    """

    path: Path
    evaluation: int
    unfinished: str | None
    difference: float
    images: str


def export_model(directory: str, form: str, out: str | Path) -> Exported:
    """Write the best model of a search in another form, and check that it gives the same logits.

    Args:
        directory: a run directory, finished or not, on any storage.
        form: `safetensors` (a folder), `onnx` (a `.onnx` file) or `torch-export` (a `.pt2` file).
        out: a local path that does not exist, or for a folder an empty one.

    Raises:
        UserError: the search has no best model, or `out` cannot be written.
        SearchError: the model cannot be written in that form, or its logits differ.
        OSError: the storage is unreachable, or the disk full.
    """
    if form not in _FORMS:
        raise UserError(f"--to: no format {form!r}; there are {', '.join(_FORMS)}")
    write, reopen = _FORMS[form]
    path = _check_out(str(out), form)
    model = load_best_model(RunDirectory(directory))
    config = model.config
    result = model.run.outcome() or model.run.outcome_so_far(config)
    whole = result.spends(config.search.evaluations)
    unfinished = None if whole else _progress(config, result)
    card = model_card(model, result, unfinished, form, path.name)
    with _beside(path) as made:
        write(model, made, card)
        difference, images = _compare(model, reopen(made), exact=form == "safetensors")
        made.replace(path)
    return Exported(path, model.evaluation, unfinished, difference, images)


def _progress(config: SearchConfig, result: SearchResult) -> str:
    """The spent part of the budget: `12/100`, or `120/1000 epochs`."""
    if config.search.budget == "epochs":
        return f"{result.epochs}/{config.search.evaluations * config.train.epochs} epochs"
    return f"{result.evaluations}/{config.search.evaluations}"


def _check_out(out: str, form: str) -> Path:
    if "://" in out:
        raise UserError(f"--out: {out!r} is no local path; export to a disk, then copy")
    path = Path(out).expanduser().absolute()
    if not path.parent.is_dir():
        raise UserError(f"--out: no such folder {str(path.parent)!r}")
    suffix = {"onnx": ONNX, "torch-export": PROGRAM}.get(form)
    if suffix is not None and path.suffix != suffix:
        raise UserError(f"--out: {out!r} must end in {suffix}")
    if suffix is None and path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
        return path
    if path.exists() or path.is_symlink():
        raise UserError(f"--out: {out!r} is there already; name another, or remove it")
    return path


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give a temporary path on the same disk; write there, then move it to `path`."""
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        yield folder / path.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_FORMS: dict[str, tuple[Callable[[LoadedModel, Path, str], None], Callable[[Path], Classifier]]] = {
    "safetensors": (write_folder, open_folder),
    "onnx": (write_onnx, open_onnx),
    "torch-export": (write_program, open_program),
}
"""Functions that write a model with its card in each form, and that open it again."""


def _compare(model: LoadedModel, classifier: Classifier, *, exact: bool) -> tuple[float, str]:
    """Compare with the original on real images: the largest difference of a logit, and on what."""
    images, source = sample_images(model.config.data, model.description.intensity)
    own = torch_classifier(Normalised(model.network, model.description), model.description)
    # One batch of all images and one of a single image: the batch size must be free.
    wanted = np.concatenate([own.logits(images), own.logits(images[:1])])
    got = np.concatenate([classifier.logits(images), classifier.logits(images[:1])])
    difference = float(np.abs(got - wanted).max())
    allowed = 0.0 if exact else TOLERANCE * max(1.0, float(np.abs(wanted).max()))
    if not difference <= allowed:
        raise SearchError(
            f"nothing was written: the exported model differs from the search's by {difference:.2g}"
            f" (allowed {allowed:.2g}) on {source}"
        )
    exported, original = classifier.description, model.description
    fields = ("labels", "image_size", "mean", "std", "library", "architecture", "fit", "intensity")
    if wrong := [name for name in fields if getattr(exported, name) != getattr(original, name)]:
        raise SearchError(f"nothing was written: the exported model has other {', '.join(wrong)}")
    return difference, source
