"""`revo_ray.load`: a model to predict with, from any form in which one is stored."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import get_args

from revo_ray.credentials import refuse_credentials
from revo_ray.errors import UserError
from revo_ray.model.classifier import Classifier
from revo_ray.model.export.hub_folder import CONFIG, WEIGHTS, open_folder
from revo_ray.model.export.onnx_file import SUFFIX as ONNX
from revo_ray.model.export.onnx_file import open_onnx
from revo_ray.model.export.program import SUFFIX as PROGRAM
from revo_ray.model.export.program import open_program
from revo_ray.model.loaded_model import LoadedModel, load_form
from revo_ray.model.model import Model
from revo_ray.rundir.forms import Form
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.storage import Storage
from revo_ray.uris import divided, folder_name

SAFETENSORS = ".safetensors"


def load(path: str | os.PathLike[str], *, form: Form | None = None, trust: bool = False) -> Model:
    """Load a model, to label images with it.

    Example:
        >>> model = revo_ray.load("revo_results/quickstart")     # doctest: +SKIP
        >>> answers = model.predict(["a.png", "b.jpg"])          # doctest: +SKIP
        >>> answers.classes, answers.probabilities               # doctest: +SKIP

    Args:
        path: a run directory, a folder that `revo-ray export` or `revo-ray train` wrote, the
            `model.safetensors` in one, or a `.onnx` or `.pt2` file; a local path, or a URI that
            `pyarrow.fs` opens.
        form: which result of a run directory: `best`, `ensemble`, `soup` or `plain`. None: the one
            that `search.result` names, if it was made; else the best model.
        trust: open a `.pt2` file, which is code that can do whatever you can.

    Raises:
        UserError: it is none of these, or a file of it is damaged.
        OSError: the storage is unreachable.
    """
    uri = os.fspath(path)
    storage = model_place(uri, form)
    if ending(uri) in (ONNX, PROGRAM, SAFETENSORS) and not storage.exists():
        raise UserError(f"no such file {storage.uri!r}")
    if storage.size("") is None or ending(uri) == SAFETENSORS:
        found = load_modules(storage, form)
        return Model(found.classifier(bf16=found.bf16))
    if form is not None:
        raise _no_run(storage, form)
    return Model(_open_file(storage, ending(uri), trust))


def model_place(uri: str, form: Form | None) -> Storage:
    """The place of a model.

    Raises:
        UserError: no file system opens it, it holds credentials, or there is no such form.
    """
    if form is not None and form not in get_args(Form):
        raise UserError(f"no form {form!r}; there are {', '.join(get_args(Form))}")
    refuse_credentials(uri, "MODEL")
    try:
        return Storage(uri)
    except UserError as error:  # its configuration key says nothing here
        raise UserError(str(error.args[0])) from None


def load_modules(storage: Storage, form: Form | None) -> LoadedModel:
    """Load the torch modules of a run directory or an exported folder; see `load`."""
    if storage.size("") is not None:
        storage = _folder_of(storage)
    run = RunDirectory(storage)
    if run.exists or not storage.exists(CONFIG):
        return load_form(run, form)
    if form is not None:
        raise _no_run(storage, form)
    return open_folder(storage)


def _open_file(storage: Storage, ending: str, trust: bool) -> Classifier:
    uri, local = storage.uri, storage.local
    if ending == ONNX:
        return open_onnx(local or storage.read(""), uri)
    if ending != PROGRAM:
        raise UserError(
            f"cannot tell what {uri!r} is: name a run directory, an exported folder, or a {ONNX}, "
            f"{PROGRAM} or {SAFETENSORS} file"
        )
    if not trust:
        raise UserError(
            f"{uri!r} is a torch program, which is code that can do whatever you can; if you trust "
            "whoever made it, open it with --trust (in Python trust=True)"
        )
    return open_program(local or io.BytesIO(storage.read("")), uri)


def _no_run(storage: Storage, form: Form) -> UserError:
    return UserError(f"--form {form}: {storage.uri} is no run directory, it holds one model")


def _folder_of(storage: Storage) -> Storage:
    """The exported folder that a weight file belongs to."""
    uri, parent = storage.uri, storage.parent
    if parent is None or folder_name(uri) != WEIGHTS or not parent.exists(CONFIG):
        raise UserError(
            f"{uri!r} holds weights alone, without network, classes and image size; name an "
            f"exported folder, the {WEIGHTS} in one, or the run directory of a search"
        )
    return parent


def ending(uri: str) -> str:
    """The ending of a path or URI, in small letters."""
    return Path(divided(uri)[0]).suffix.lower()
