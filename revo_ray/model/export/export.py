"""`revo-ray export`: write a form of the best model, try it, and only then let it be seen."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from revo_ray.errors import SearchError, UserError
from revo_ray.model.export.card import FORMATS, model_card
from revo_ray.model.export.classifier import Classifier, Normalised, TorchClassifier
from revo_ray.model.export.hub_folder import open_folder, write_folder
from revo_ray.model.export.onnx_file import SUFFIX as ONNX
from revo_ray.model.export.onnx_file import open_onnx, write_onnx
from revo_ray.model.export.program import SUFFIX as PROGRAM
from revo_ray.model.export.program import open_program, write_program
from revo_ray.model.export.samples import sample_images
from revo_ray.model.export.searched import Searched, read_searched
from revo_ray.report.outcomes import SearchOutcome, load_outcomes
from revo_ray.storage import Storage

TOLERANCE = 1e-4
"""By which logits may differ, times the largest of them where that is above 1."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the folder or the file.
        evaluation: whose weights it holds.
        outcome: of the search.
        difference: the largest of any logit from the search's own model; 0 for a folder.
        images: in words, what the two were compared on.
    """

    path: Path
    evaluation: int
    outcome: SearchOutcome
    difference: float
    images: str


def export_model(directory: str, form: str, out: str | Path) -> Exported:
    """Write the best model of a search in another form, after it has answered as the search's does.

    Args:
        directory: a run directory, finished or not, on any storage.
        form: `safetensors` (a folder), `onnx` (a `.onnx` file) or `torch-export` (a `.pt2` file).
        out: a local path that does not exist, or for a folder an empty one.

    Raises:
        UserError: there is no such model, or `out` cannot be written.
        SearchError: the model cannot be written in that form, or answers differently there.
        OSError: the storage is unreachable, or the disk full.
    """
    if form not in FORMATS:
        raise UserError(f"--to: no format {form!r}; there are {', '.join(FORMATS)}")
    path = _check_out(str(out), form)
    searched = read_searched(Storage(directory))
    (outcome,) = load_outcomes(searched.storage)
    card = model_card(searched, outcome, form, path.name)
    with _beside(path) as made:
        classifier = _WRITERS[form](searched, made, card)
        difference, images = _compare(searched, classifier, exact=form == "safetensors")
        made.replace(path)
    return Exported(path, searched.evaluation, outcome, difference, images)


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
    """Where to write what is moved to `path` when it is whole; else it goes."""
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        yield folder / path.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _folder(searched: Searched, path: Path, card: str) -> Classifier:
    path.mkdir()
    write_folder(searched, path, card)
    return open_folder(path)


def _onnx(searched: Searched, path: Path, card: str) -> Classifier:
    write_onnx(searched, path, card)
    return open_onnx(path)


def _program(searched: Searched, path: Path, card: str) -> Classifier:
    write_program(searched, path, card)
    return open_program(path)


_WRITERS: dict[str, Callable[[Searched, Path, str], Classifier]] = {
    "safetensors": _folder,
    "onnx": _onnx,
    "torch-export": _program,
}


def _compare(searched: Searched, classifier: Classifier, *, exact: bool) -> tuple[float, str]:
    """The largest difference of any logit, and of what images.

    Raises:
        SearchError: it is too large, or what the model carries with it is wrong.
    """
    images, words = sample_images(searched.config.data)
    own = TorchClassifier(Normalised(searched.network, searched.description), searched.description)
    # All at once, and one alone: the batch is of any size.
    wanted = np.concatenate([own.logits(images), own.logits(images[:1])])
    got = np.concatenate([classifier.logits(images), classifier.logits(images[:1])])
    difference = float(np.abs(got - wanted).max())
    allowed = 0.0 if exact else TOLERANCE * max(1.0, float(np.abs(wanted).max()))
    if not difference <= allowed:
        raise SearchError(
            f"nothing was written: the exported model differs from the search's by {difference:.2g}"
            f" (allowed {allowed:.2g}) on {words}"
        )
    carried, meant = classifier.description, searched.description
    facts = ("labels", "image_size", "mean", "std", "library", "architecture")
    if wrong := [fact for fact in facts if getattr(carried, fact) != getattr(meant, fact)]:
        raise SearchError(f"nothing was written: the exported model has other {', '.join(wrong)}")
    return difference, words
