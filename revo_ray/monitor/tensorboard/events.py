"""TensorBoard's events as bytes, made without a writer, so that equal rows make equal files."""

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
"""Number of bins of a histogram, as in TensorBoard's own summaries."""


def record(event: Event) -> bytes:
    """An event as TensorFlow's record, with its two checksums.

    tensorboardX's `SummaryWriter` starts a thread and makes a folder for each file, which takes
    longer than everything else that is done for a row.
    """
    content = event.SerializeToString()
    size = struct.pack("<Q", len(content))
    crcs = (struct.pack("<I", masked_crc32c(part)) for part in (size, content))
    return size + next(crcs) + content + next(crcs)


def version(at: float) -> Event:
    """The first event of every file."""
    return Event(wall_time=at, file_version="brain.Event:2")


def scalars(at: float, step: int, values: Mapping[str, float | None]) -> Event:
    """An event with numbers by tag; missing and infinite ones are left out."""
    shown = [
        Summary.Value(tag=tag, simple_value=value)
        for tag, value in values.items()
        if value is not None and math.isfinite(value)
    ]
    return Event(wall_time=at, step=step, summary=Summary(value=shown))


def histogram(tag: str, values: np.ndarray) -> Summary.Value:
    """A histogram with bins of equal width; values: finite, at least one, shape (values,)."""
    least, most = float(values.min()), float(values.max())
    ulp = np.spacing(max(abs(least), abs(most)))
    narrowest = 4 * BINS * float(max(ulp, np.finfo(float).tiny))
    if most - least < narrowest:  # bins that floating point cannot tell apart
        margin = max(0.5, narrowest)
        least, most = least - margin, most + margin
    counts, edges = np.histogram(values, bins=BINS, range=(least, most))
    found = HistogramProto(
        min=values.min(),
        max=values.max(),
        num=len(values),
        sum=values.sum(),
        sum_squares=values @ values,
        # TensorBoard names a bucket by its right edge, so the first one is empty.
        bucket_limit=edges,
        bucket=[0.0, *counts],
    )
    return Summary.Value(tag=tag, histo=found)


def layout(layout: Layout) -> Summary.Value:
    """The layout of the page of custom scalars."""
    content, shape = layout.SerializeToString(), TensorShapeProto()
    tensor = TensorProto(dtype="DT_STRING", string_val=[content], tensor_shape=shape)
    metadata = _metadata("custom_scalars")
    return Summary.Value(tag="custom_scalars__config__", metadata=metadata, tensor=tensor)


def hparams(tag: str, data: HParamsPluginData) -> Summary.Value:
    """Data for the page of hyperparameters: the experiment, or one session."""
    content = data.SerializeToString(deterministic=True)  # else maps have any order
    return Summary.Value(tag=f"_hparams_/{tag}", metadata=_metadata("hparams", content))


def _metadata(plugin: str, content: bytes = b"") -> SummaryMetadata:
    data = SummaryMetadata.PluginData(plugin_name=plugin, content=content)
    return SummaryMetadata(plugin_data=data)
