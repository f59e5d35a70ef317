"""Fashion-MNIST: 70,000 articles of clothing, 28×28 grey pixels, in four idx files."""

from __future__ import annotations

import math
import os
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from revo_ray.data.files.image_files import File, ImageFiles, root_error
from revo_ray.data.image_records import ArrayPicture, GivenSplit, Record, Source
from revo_ray.data.sources.root import read_file
from revo_ray.settings.schema import DataConfig

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
SIDE = 28
Pixels = NDArray[np.uint8]
PARTS: dict[str, tuple[GivenSplit, int]] = {"train": ("train", 60_000), "t10k": ("test", 10_000)}
"""Split and number of images of each part, by the prefix of the names of its files."""
FOLDERS = ("", "raw", "FashionMNIST/raw")
"""Folders below the root that may hold the files: those of Debian's package and torchvision."""
IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"
DEBIAN = "/usr/share/datasets/fashion-mnist"


def read(config: DataConfig) -> Source:
    """Read the images into memory; the training and test splits are given.

    Args:
        config: if its root is null, the folder of Debian's package is read.

    Raises:
        UserError: files are missing, damaged, or not Fashion-MNIST's.
    """
    root = config.root
    if root is None:
        root = DEBIAN
        if not os.path.isdir(root):
            raise root_error(
                f"is null and {DEBIAN} is not there: install the Debian package "
                "dataset-fashion-mnist, or give the folder of the idx files"
            )
    files = _find_files(ImageFiles.open(root), root)
    records: list[Record] = []
    for part, (split, whole) in PARTS.items():
        images, labels = _read_part(files[f"{part}-{IMAGES}"], files[f"{part}-{LABELS}"], whole)
        records += (
            Record(f"{split}-{i:05d}", CLASSES[label], ArrayPicture(image), split=split)
            for i, (image, label) in enumerate(zip(images, labels, strict=True))
        )
    return Source(CLASSES, tuple(records))


def _read_part(images_file: File, labels_file: File, whole: int) -> tuple[Pixels, list[int]]:
    """Read at most `whole` images and their labels."""
    images = _read_idx(images_file, (whole, SIDE, SIDE))
    labels = _read_idx(labels_file, (whole,)).tolist()
    if len(images) != len(labels):
        raise root_error(
            f"{images_file.path!r} holds {len(images):,} images and {labels_file.path!r} "
            f"{len(labels):,} labels"
        )
    if labels and max(labels) >= len(CLASSES):
        raise root_error(
            f"{labels_file.path!r} holds the label {max(labels)}; Fashion-MNIST's are 0 to 9"
        )
    return images, labels


def _find_files(image_files: ImageFiles, root: str) -> dict[str, File]:
    """Find the four files by name without `.gz`, all in the first folder that holds any."""
    files = {file.path: file for file in image_files.all}
    names = [f"{part}-{content}" for part in PARTS for content in (IMAGES, LABELS)]
    for folder in FOLDERS:
        found = {}
        for name in names:
            path = f"{folder}/{name}".lstrip("/")
            if file := files.get(path) or files.get(f"{path}.gz"):
                found[name] = file
        if found:
            break
    if missing := [name for name in names if name not in found]:
        below = " or ".join(f"{folder}/" for folder in FOLDERS if folder)
        raise root_error(
            f"no {' and no '.join(missing)} (nor the same with .gz) at {root!r} or in {below} there"
        )
    return found


def _read_idx(file: File, whole: tuple[int, ...]) -> Pixels:
    """Read an idx file of bytes: at most `whole[0]` items of shape `whole[1:]`."""
    start = 4 + 4 * len(whole)
    content = read_file(file)
    if file.path.endswith(".gz"):
        content = _inflate(content, start + math.prod(whole), file.path)
    if len(content) < start:
        raise root_error(f"{file.path!r} is truncated")
    magic, *shape = struct.unpack_from(f">{1 + len(whole)}I", content)
    if magic != 0x800 + len(whole):
        raise root_error(f"{file.path!r} is no idx{len(whole)} file")
    if shape[0] > whole[0] or shape[1:] != list(whole[1:]):
        raise root_error(
            f"{file.path!r} declares {'×'.join(map(str, shape))} bytes; Fashion-MNIST's are "
            f"{'×'.join(map(str, whole))}"
        )
    size = math.prod(shape)
    if len(content) != start + size:
        raise root_error(
            f"{file.path!r} declares {size:,} bytes and holds {len(content) - start:,}: "
            "it is truncated or damaged"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _inflate(packed: bytes, most: int, path: str) -> bytes:
    """Decompress a gzip file of at most `most` bytes."""
    stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        content = stream.decompress(packed, most + 1)
    except zlib.error as error:
        raise root_error(f"{path!r} is damaged ({error})") from None
    if not stream.eof:
        cause = "truncated" if len(content) <= most else f"larger than {most:,} bytes"
        raise root_error(f"{path!r} is {cause}")
    return content
