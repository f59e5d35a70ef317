"""A torch program (`torch.export`): one `.pt2` file that runs without the model's source code."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from revo_ray.errors import SearchError, UserError
from revo_ray.finetune.network.weights import first_line
from revo_ray.model.export.classifier import Classifier, Normalised, TorchClassifier
from revo_ray.model.export.description import Description
from revo_ray.model.export.searched import Searched

SUFFIX = ".pt2"
README = "README.md"

_KEYS = tuple(Description("", (), 0, (), ()).to_strings())
_SOURCE_NOTES = ("stack_trace", "nn_module_stack", "source_fn_stack")


def trace(searched: Searched) -> ExportedProgram:
    """The model with its normalisation as a graph, for any number of images.

    Raises:
        SearchError: the model cannot be traced.
    """
    size = searched.description.image_size
    # torch keeps the example in the file, and takes a batch of one for a constant.
    example = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    module = Normalised(searched.network, searched.description)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            return torch.export.export(module, (example,), dynamic_shapes=({0: Dim("batch")},))
    except Exception as error:  # of many kinds, by what the model does
        raise SearchError(
            f"torch.export cannot trace {searched.description.model}: {first_line(error)}"
        ) from error


def write_program(searched: Searched, path: Path, card: str) -> None:
    """Write the traced model, with labels, normalisation and model card in its extra files.

    Raises:
        SearchError: the model cannot be traced.
    """
    program = trace(searched)
    for node in program.graph.nodes:
        for note in _SOURCE_NOTES:  # source lines and paths of this machine
            node.meta.pop(note, None)
    extra = searched.description.to_strings() | {README: card}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path, extra_files=extra)


def open_program(path: Path) -> Classifier:
    """Load an exported program; from people you trust only, for torch's loader can run code.

    Raises:
        UserError: it cannot be loaded, or carries no labels.
    """
    extra = dict.fromkeys(_KEYS, "")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(path, extra_files=extra)
        module = program.module()
    # A file that is no program makes the loader raise errors of many kinds.
    except Exception as error:
        raise UserError(f"cannot open {str(path)!r}: {first_line(error)}") from None
    try:
        return TorchClassifier(module, Description.from_strings(extra))
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{str(path)!r} has no labels in its extra files: `revo-ray export` did not write it"
        ) from None
