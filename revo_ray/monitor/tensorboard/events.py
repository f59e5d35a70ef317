"""TensorBoard's events as bytes, without a writer: an event file is a function of its rows."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping

import numpy as np
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.layout_pb2 import Layout
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
from tensorboardX.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboardX.proto.tensor_pb2 import TensorProto
from tensorboardX.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboardX.record_writer import masked_crc32c

BINS = 30
"""Of a histogram, as TensorBoard's own summaries have."""


def record(event: Event) -> bytes:
    """An event as it stands in a file: TensorFlow's record, with its two checksums.

    Made here since `SummaryWriter` starts a thread and a folder for each file, which takes longer
    than all else that is done for a row.
    """
    content = event.SerializeToString()
    size = struct.pack("<Q", len(content))
    crcs = (struct.pack("<I", masked_crc32c(part)) for part in (size, content))
    return size + next(crcs) + content + next(crcs)


def version(at: float) -> Event:
    """What every event file begins with."""
    return Event(wall_time=at, file_version="brain.Event:2")


def scalars(at: float, step: int, values: Mapping[str, float | None]) -> Event:
    """Numbers by tag; those that are missing or not finite are left out."""
    shown = [
        Summary.Value(tag=tag, simple_value=value)
        for tag, value in values.items()
        if value is not None and math.isfinite(value)
    ]
    return Event(wall_time=at, step=step, summary=Summary(value=shown))


def histogram(tag: str, values: np.ndarray) -> Summary.Value:
    """The distribution of finite values, shape (values,), at least one, in equal bins."""
    counts, edges = np.histogram(values, bins=BINS)
    found = HistogramProto(
        min=values.min(),
        max=values.max(),
        num=len(values),
        sum=values.sum(),
        sum_squares=values @ values,
        # A bucket is named by its right edge, so the first one is empty.
        bucket_limit=edges,
        bucket=[0.0, *counts],
    )
    return Summary.Value(tag=tag, histo=found)


def layout(layout: Layout) -> Summary.Value:
    """How the page of custom scalars is laid out."""
    return Summary.Value(
        tag="custom_scalars__config__",
        metadata=_metadata("custom_scalars"),
        tensor=TensorProto(
            dtype="DT_STRING",
            string_val=[layout.SerializeToString()],
            tensor_shape=TensorShapeProto(),
        ),
    )


def hparams(tag: str, data: HParamsPluginData) -> Summary.Value:
    """What the page of hyperparameters reads: of the experiment, or of a session."""
    content = data.SerializeToString()
    return Summary.Value(tag=f"_hparams_/{tag}", metadata=_metadata("hparams", content))


def _metadata(plugin: str, content: bytes = b"") -> SummaryMetadata:
    data = SummaryMetadata.PluginData(plugin_name=plugin, content=content)
    return SummaryMetadata(plugin_data=data)
