"""Pretrained weights on every machine of a cluster: the driver reads them, the others copy them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping

import torch
from torch import Tensor

from revo_ray.data.shared_files import SharedFile, making_folder, share
from revo_ray.data.table.disk import replacing, sweep
from revo_ray.storage import Storage

WEIGHTS = ".weights"
"""Folder of the weights in a storage."""


def share_weights(tensors: Mapping[str, Tensor], storage: Storage) -> SharedFile:
    """Write the tensors of a network as a weights file that the other machines can read.

    The file's name is its checksum, and equal tensors make an equal file, so it is written once.

    Args:
        tensors: `Backbone.loaded`.
        storage: a storage that all machines reach.

    Raises:
        OSError: the storage is full or unreachable.
    """
    content = io.BytesIO()
    torch.save(tensors, content)  # safetensors cannot keep the versions of modules
    sha256 = hashlib.sha256(content.getbuffer()).hexdigest()
    path = making_folder(storage, WEIGHTS) / f"{sha256}.pth"
    if not path.exists() or path.stat().st_size != content.getbuffer().nbytes:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        with replacing(path) as temporary:
            temporary.write_bytes(content.getbuffer())
    return share("weights file", path, sha256, storage, f"{WEIGHTS}/{path.name}")
