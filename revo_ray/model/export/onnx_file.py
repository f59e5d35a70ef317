"""One ONNX file: normalisation inside, labels and the model card in its metadata."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from revo_ray.errors import SearchError, UserError
from revo_ray.finetune.network.weights import first_line
from revo_ray.model.export.classifier import Classifier, OnnxClassifier
from revo_ray.model.export.description import INPUT, OUTPUT, Description
from revo_ray.model.export.program import trace
from revo_ray.model.export.searched import Searched

OPSET = 18
"""What torch's exporter speaks by itself, and ONNX Runtime since 1.14."""
SUFFIX = ".onnx"


def write_onnx(searched: Searched, path: Path, card: str) -> None:
    """Write the model as one file and let ONNX's own checker look at it.

    Raises:
        UserError: the packages for ONNX are not installed.
        SearchError: the model cannot be expressed in ONNX, or does not fit into one file.
    """
    _need("onnx", "onnxruntime", "onnxscript")
    import onnx

    program = trace(searched)
    try:
        with _quiet():
            made = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: "batch"},),  # names the program's own free dimension
                verbose=False,
            )
        assert made is not None
        proto: Any = made.model_proto
        _tidy(proto)
        onnx.helper.set_model_props(proto, searched.description.to_strings())
        proto.doc_string = card
        onnx.save_model(proto, str(path))
        onnx.checker.check_model(str(path), full_check=True)
    # The exporter raises errors of its own, of torch, of onnxscript and of protobuf.
    except Exception as error:
        raise SearchError(
            f"{searched.description.model} cannot be written as ONNX: {first_line(error)}"
        ) from error


def open_onnx(path: Path) -> Classifier:
    """Open an exported file in ONNX Runtime.

    Raises:
        UserError: it cannot be opened, or carries no labels.
    """
    _need("onnxruntime")
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own, one for each cause
        raise UserError(f"cannot open {str(path)!r}: {first_line(error)}") from None
    try:
        meta = session.get_modelmeta().custom_metadata_map
        return OnnxClassifier(session, Description.from_strings(meta))
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{str(path)!r} has no labels in its metadata: `revo-ray export` did not write it"
        ) from None


def _need(*packages: str) -> None:
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise UserError(
            f"ONNX needs {', '.join(missing)}; `pip install 'revo-ray[export]'` installs it"
        )


def _tidy(proto: Any) -> None:
    """Take out the exporter's notes: source lines and paths of this machine."""
    graph = proto.graph
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for part in (proto, graph, *graph.node, *values, *proto.functions):
        del part.metadata_props[:]
        part.doc_string = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's messages about itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
