"""Export to a torch program: one `.pt2` file that runs without the model's source code."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import BinaryIO

import torch
from torch.export import Dim, ExportedProgram

from revo_ray.errors import SearchError, UserError, first_line
from revo_ray.model.classifier import Classifier, Normalised, torch_classifier
from revo_ray.model.description import Description
from revo_ray.model.export.quiet import quiet
from revo_ray.model.loaded_model import LoadedModel

SUFFIX = ".pt2"
README = "README.md"

_KEYS = tuple(Description("", (), 0, (), ()).to_strings())
_SOURCE_NOTES = ("stack_trace", "nn_module_stack", "source_fn_stack")


def trace(model: LoadedModel) -> ExportedProgram:
    """Trace the model and its normalisation into a graph that takes any number of images.

    Raises:
        SearchError: the model cannot be traced.
    """
    size = model.description.image_size
    # Two zero images: the file keeps the example, and a batch of one would be traced as a constant.
    example = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    module = Normalised(model.network, model.description)
    try:
        with warnings.catch_warnings(action="ignore"), torch.no_grad():
            return torch.export.export(module, (example,), dynamic_shapes=({0: Dim("batch")},))
    except Exception as error:  # the kind depends on the operations of the model
        raise SearchError(
            f"torch.export cannot trace {model.description.model}: {first_line(error)}"
        ) from error


def write_program(model: LoadedModel, path: Path, card: str) -> None:
    """Write the traced model, with its description and model card as extra files.

    Raises:
        SearchError: the model cannot be traced.
    """
    program = trace(model)
    for node in program.graph.nodes:
        for note in _SOURCE_NOTES:  # source lines and paths of this machine
            node.meta.pop(note, None)
    extra = model.description.to_strings() | {README: card}
    with warnings.catch_warnings(action="ignore"):
        torch.export.save(program, path, extra_files=extra)


def open_program(file: Path | BinaryIO, name: str) -> Classifier:
    """Load an exported program. torch's loader can run code in it: trust whoever made the file.

    Args:
        file: its path, or its open content.
        name: its path or URI, for messages.

    Raises:
        UserError: it cannot be loaded, or holds no labels.
    """
    extra = dict.fromkeys(_KEYS, "")
    try:
        with quiet("torch.export"):  # which logs the traceback of an error that it raises
            program = torch.export.load(file, extra_files=extra)
        module = program.module()
    # The loader raises errors of many kinds on a file that is no program.
    except Exception as error:
        raise UserError(f"cannot open {name!r}: {first_line(error)}") from None
    return torch_classifier(module, Description.from_strings(extra, name))
