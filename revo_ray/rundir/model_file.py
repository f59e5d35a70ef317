"""Weight files: safetensors whose header names the evaluation that the weights are of."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING

from revo_ray.storage import Storage

if TYPE_CHECKING:
    from torch import Tensor


def owner_of(storage: Storage, path: str) -> int | None:
    """The evaluation whose weights a file holds; None without a readable weight file."""
    try:
        (size,) = struct.unpack("<Q", storage.read_head(path, 8))
        header = json.loads(storage.read_head(path, min(size, 1 << 26), offset=8))
        return int(header["__metadata__"]["evaluation"])
    except (OSError, struct.error, ValueError, LookupError, TypeError):
        return None
    except (OverflowError, RecursionError):  # a number or a nest without end
        return None


def read_weights(storage: Storage, path: str) -> dict[str, Tensor]:
    """The weights in a file, on the CPU.

    Raises:
        OSError: there is no such file, or it cannot be read.
        safetensors.SafetensorError: it is damaged.
    """
    from safetensors.torch import load

    return dict(load(storage.read(path)))


def weight_file(weights: Mapping[str, Tensor], evaluation: int | None) -> bytes:
    """A safetensors file that names its evaluation, if it is of one; equal weights, equal bytes.

    The library writes the metadata in another order each time.
    """
    from safetensors.torch import save

    names = {"format": "pt"} | ({} if evaluation is None else {"evaluation": str(evaluation)})
    content = save(dict(weights), names)
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return content[:8] + text.ljust(size) + content[8 + size :]
