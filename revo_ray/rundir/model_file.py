"""Weight files: safetensors whose header names the evaluations that the weights are of."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING

from revo_ray.settings.safe_json import read_json
from revo_ray.storage import Storage

if TYPE_CHECKING:
    from torch import Tensor


def owner_of(storage: Storage, path: str) -> int | None:
    """The evaluation whose weights a file holds; None without a readable weight file of one."""
    owners = owners_of(storage, path)
    return owners[0] if len(owners) == 1 else None


def owners_of(storage: Storage, path: str) -> tuple[int, ...]:
    """The evaluations whose weights a file holds, or whose mean; none without a readable file."""
    try:
        (size,) = struct.unpack("<Q", storage.read_head(path, 8))
        header = read_json(storage.read_head(path, min(size, 1 << 26), offset=8))
        return tuple(map(int, header["__metadata__"]["evaluation"].split(",")))
    except (OSError, struct.error, ValueError, LookupError, TypeError, AttributeError):
        return ()
    except (OverflowError, RecursionError):  # a number or a nest without end
        return ()


def read_weights(storage: Storage, path: str) -> dict[str, Tensor]:
    """The weights in a file, on the CPU.

    Raises:
        OSError: there is no such file, or it cannot be read.
        safetensors.SafetensorError: it is damaged.
    """
    from safetensors.torch import load

    return dict(load(storage.read(path)))


def weight_file(weights: Mapping[str, Tensor], *evaluations: int) -> bytes:
    """A safetensors file that names its evaluation, or those that it is the mean of.

    Equal weights make equal bytes: the library alone writes the metadata in another order each
    time.
    """
    from safetensors.torch import save

    names = ",".join(map(str, evaluations))
    content = save(dict(weights), {"evaluation": names, "format": "pt"})
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return content[:8] + text.ljust(size) + content[8 + size :]
