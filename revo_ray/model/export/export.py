"""`revo-ray export`: write a model in another form, check it, then move it into place."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from revo_ray.errors import SearchError, UserError
from revo_ray.model.classifier import Classifier
from revo_ray.model.export.card import model_card
from revo_ray.model.export.facts import FACTS, Facts, read_facts
from revo_ray.model.export.hub_folder import open_folder, write_folder
from revo_ray.model.export.onnx_file import SUFFIX as ONNX
from revo_ray.model.export.onnx_file import open_onnx, write_onnx
from revo_ray.model.export.program import SUFFIX as PROGRAM
from revo_ray.model.export.program import open_program, write_program
from revo_ray.model.export.run_facts import facts_of_run
from revo_ray.model.export.samples import sample_images
from revo_ray.model.load import SAFETENSORS, ending, load_modules, model_place
from revo_ray.model.loaded_model import LoadedModel
from revo_ray.model.out_path import local_out
from revo_ray.rundir.forms import Form
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.settings.schema import DataConfig
from revo_ray.storage import Storage

TOLERANCE = 1e-4
"""Largest allowed difference of logits, relative to the largest logit if that is above 1."""


@dataclass(frozen=True)
class Exported:
    """An exported model.

    Attributes:
        path: the folder or the file.
        subject: the model in a few words: `evaluation 12`, `ensemble of 5 evaluations`.
        unfinished: progress of an unfinished search, such as `12/100`; None if it is finished.
        difference: largest difference of a logit from the search's own model; 0 for a folder.
        images: a description of the images on which the two were compared.
    """

    path: Path
    subject: str
    unfinished: str | None
    difference: float
    images: str


def export_model(
    source: str,
    to: str,
    out: str | Path,
    form: Form | None = None,
    *,
    compare_on_data: bool = False,
) -> Exported:
    """Write a model in another form, and check that it gives the same logits.

    Args:
        source: a run directory, finished or not, or an exported folder, on any storage.
        to: `safetensors` (a folder), `onnx` (a `.onnx` file) or `torch-export` (a `.pt2` file).
        out: a local path that does not exist, or for a folder an empty one.
        form: which result of a search; None: the one that `search.result` names, if it was made;
            else the best model.
        compare_on_data: compare on images of the data set that a run directory names. That place
            is opened with your rights, and gets your credentials if it is an object store.

    Raises:
        UserError: there is no such model, `out` cannot be written, or the source names no data set.
        SearchError: the model cannot be written in that form, or its logits differ.
        OSError: the storage is unreachable, or the disk full.
    """
    if to not in _FORMATS:
        raise UserError(f"--to: no format {to!r}; there are {', '.join(_FORMATS)}")
    write, reopen = _FORMATS[to]
    path = check_out(str(out), to)
    if ending(source) in (ONNX, PROGRAM):
        raise UserError(
            f"{source!r} is an exported file; export the run directory or the folder that it "
            "was made from"
        )
    storage = model_place(source, form)
    model = load_modules(storage, form)
    if compare_on_data and model.data is None:
        raise UserError(f"--compare-on-data: {source!r} names no data set; a run directory does")
    facts = _facts(storage, model, form)
    card = model_card(facts, model.description, to, path.name, len(model.members))
    with beside(path) as made:
        write(model, made, card)
        if to == "safetensors":
            (made / FACTS).write_text(facts.to_json(), encoding="utf-8")
        difference, images = _compare(
            model,
            reopen(made),
            model.data if compare_on_data else None,
            exact=to == "safetensors",
        )
        made.replace(path)
    return Exported(path, facts.subject, facts.unfinished, difference, images)


def _facts(storage: Storage, model: LoadedModel, form: Form | None) -> Facts:
    run = RunDirectory(storage)
    return facts_of_run(run, form) if run.exists else read_facts(storage, model.description)


def check_out(out: str, to: str) -> Path:
    """The path to write a format to, where nothing is yet.

    Raises:
        UserError: it is remote, has no folder or another ending, or is there already.
    """
    path = local_out(out)
    if not path.parent.is_dir():
        raise UserError(f"--out: no such folder {str(path.parent)!r}")
    suffix = {"onnx": ONNX, "torch-export": PROGRAM}.get(to)
    if suffix is not None and path.suffix != suffix:
        raise UserError(f"--out: {out!r} must end in {suffix}")
    if suffix is None and path.suffix.lower() in (SAFETENSORS, ONNX, PROGRAM):
        raise UserError(
            f"--out: {out!r} is the name of a file; name a folder, which predict, export and "
            "revo_ray.load take (the weights are its model.safetensors)"
        )
    if suffix is None and path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
        return path
    if path.exists() or path.is_symlink():
        raise UserError(f"--out: {out!r} is there already; name another, or remove it")
    return path


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Give a temporary path on the same disk; write there, then move it to `path`."""
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}.", suffix=".tmp", dir=path.parent))
    try:
        yield folder / path.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _reopen_folder(path: Path) -> Classifier:
    return open_folder(Storage(str(path))).classifier()


_FORMATS: dict[
    str, tuple[Callable[[LoadedModel, Path, str], None], Callable[[Path], Classifier]]
] = {
    "safetensors": (write_folder, _reopen_folder),
    "onnx": (write_onnx, lambda path: open_onnx(path, str(path))),
    "torch-export": (write_program, lambda path: open_program(path, str(path))),
}
"""Functions that write a model with its card in each format, and that open it again."""


def _compare(
    model: LoadedModel, classifier: Classifier, data: DataConfig | None = None, *, exact: bool
) -> tuple[float, str]:
    """Compare with the original on real images: the largest difference of a logit, and on what."""
    images, source = sample_images(data, model.description)
    own = model.classifier()
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
    fields = (
        *("labels", "image_size", "mean", "std", "library", "architecture"),
        *("fit", "intensity", "max_pixels"),
    )
    if wrong := [name for name in fields if getattr(exported, name) != getattr(original, name)]:
        raise SearchError(f"nothing was written: the exported model has other {', '.join(wrong)}")
    return difference, source
