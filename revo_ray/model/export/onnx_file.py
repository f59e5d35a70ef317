"""Export to one ONNX file, with normalisation, labels and model card inside."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from revo_ray.errors import SearchError, UserError, first_line
from revo_ray.installation import install_command
from revo_ray.model.classifier import Classifier
from revo_ray.model.description import INPUT, OUTPUT, Description
from revo_ray.model.export.program import trace
from revo_ray.model.export.quiet import quiet
from revo_ray.model.loaded_model import LoadedModel
from revo_ray.settings.telemetry import no_telemetry

OPSET = 18
"""Version of the ONNX operators: the default of torch's exporter; ONNX Runtime 1.14 runs it."""
SUFFIX = ".onnx"


def write_onnx(model: LoadedModel, path: Path, card: str) -> None:
    """Write the model as one file, and check it with ONNX's own checker.

    Raises:
        UserError: the packages for ONNX are not installed.
        SearchError: the model cannot be expressed in ONNX, or does not fit into one file.
    """
    _need("onnx", "onnxruntime", "onnxscript")
    no_telemetry("ORT")
    import onnx

    program = trace(model)
    try:
        with quiet("torch.onnx"):
            made = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: "batch"},),  # the name of the program's free dimension
                verbose=False,
            )
        assert made is not None
        proto: Any = made.model_proto
        _tidy(proto)
        onnx.helper.set_model_props(proto, model.description.to_strings())
        proto.doc_string = card
        onnx.save_model(proto, str(path))
        onnx.checker.check_model(str(path), full_check=True)
    # The exporter raises its own errors, and those of torch, onnxscript and protobuf.
    except Exception as error:
        root: BaseException = error  # the exporter's own say in which of its steps it failed
        while root.__cause__ is not None:
            root = root.__cause__
        raise SearchError(
            f"{model.description.model} cannot be written as ONNX: {first_line(root)}"
        ) from error


def open_onnx(file: Path | bytes, name: str) -> Classifier:
    """Open an exported file in ONNX Runtime.

    Args:
        file: its path, or its content.
        name: its path or URI, for messages.

    Raises:
        UserError: it cannot be opened, or holds no labels.
    """
    _need("onnxruntime")
    no_telemetry("ORT")
    import onnxruntime

    model = file if isinstance(file, bytes) else str(file)
    try:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        meta = session.get_modelmeta().custom_metadata_map
    except Exception as error:  # onnxruntime has an error class for each cause
        raise UserError(f"cannot open {name!r}: {first_line(error)}") from None

    def logits(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        try:
            (found,) = session.run([OUTPUT], {INPUT: images})
        except Exception as error:
            raise UserError(f"{name!r} takes no images as they are: {first_line(error)}") from None
        return np.asarray(found, np.float32)

    return Classifier(Description.from_strings(meta, name), logits)


def _need(*packages: str) -> None:
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise UserError(
            f"ONNX needs {', '.join(missing)}; `{install_command('export')}` installs it"
        )


def _tidy(proto: Any) -> None:
    """Delete the exporter's notes: they hold source lines and paths of this machine."""
    graph = proto.graph
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for part in (proto, graph, *graph.node, *values, *proto.functions):
        del part.metadata_props[:]
        part.doc_string = ""
