"""Small data sets in the layouts in which the real ones come, with real images.

Each `..._files` gives the files of one data set, by relative path; `unpacked` and `zipped` write
them. A class is a tint over coarse noise: easy to learn, and no two images are alike. As many as
there are by default can be split by the default fractions.

Example:
    >>> root = zipped(busi_files(), tmp_path / "Dataset_BUSI.zip")
"""

from __future__ import annotations

import csv
import gzip
import io
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

Files = dict[str, bytes]
"""Content by relative POSIX path; content of a path that ends in / is empty: a folder."""

HAM10000_CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
BUSI_CLASSES = ("benign", "malignant", "normal")
LEAVES_CLASSES = ("Black spot", "canker", "greening", "healthy")
SRSMAS_CLASSES = (
    *("ACER", "APAL", "CNAT", "DANT", "DSTR", "GORG", "MALC"),
    *("MCAV", "MMEA", "MONT", "PALY", "SPO", "SSID", "TUNI"),
)


def picture(
    tint: int, seed: int, size: tuple[int, int] = (40, 30), kind: str = "JPEG", mode: str = "RGB"
) -> bytes:
    """An encoded image of (width, height) `size`; `tint` is its class."""
    generator = np.random.default_rng((tint, seed))
    colour = np.random.default_rng(tint).uniform(30, 225, 3)
    coarse = colour + generator.normal(0, 25, (6, 8, 3))
    small = Image.fromarray(coarse.clip(0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    small.resize(size, Image.Resampling.BICUBIC).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def unpacked(files: Mapping[str, bytes], folder: Path) -> Path:
    """The files, below a folder that need not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def zipped(files: Mapping[str, bytes], path: Path) -> Path:
    """The files, in one archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zip_bytes(files))
    return path


def zip_bytes(files: Mapping[str, bytes]) -> bytes:
    """The archive of the files, for an archive within another."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def below(folder: str, files: Mapping[str, bytes]) -> Files:
    """The same files in a folder."""
    return {f"{folder}/{name}": content for name, content in files.items()}


WAYS: Mapping[str, Callable[[Mapping[str, bytes], Path], Path]] = {
    "unpacked": lambda files, folder: unpacked(files, folder / "set"),
    "zipped": lambda files, folder: zipped(files, folder / "set.zip"),
    "a zip in the folder": lambda files, folder: zipped(files, folder / "set.zip").parent,
    "a zip of a wrapped set": lambda files, folder: zipped(below("x y/z", files), folder / "s.zip"),
}
"""Ways to lay out a data set in a folder; each returns the root."""


def class_folder_files(
    counts: Mapping[str, int] | None = None, kind: str = "PNG", splits: Sequence[str] = ()
) -> Files:
    """`cat/cat 0.png`, or with splits `train/cat/train 0.png`, `counts` images in each folder."""
    counts = {"cat": 24, "dog": 24} if counts is None else counts
    return {
        f"{split}/{label}/{split} {i}.{kind.lower()}".removeprefix("/")
        if split
        else f"{label}/{label} {i}.{kind.lower()}": picture(tint, 1000 * part + i, kind=kind)
        for part, split in enumerate(splits or ("",))
        for tint, label in enumerate(counts)
        for i in range(counts[label])
    }


def table_bytes(rows: Iterable[Sequence[str]], delimiter: str = ",", newline: str = "\n") -> bytes:
    """A delimited text file, its header the first row."""
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator=newline).writerows(rows)
    return buffer.getvalue().encode()


def csv_files(
    counts: Mapping[str, int] | None = None,
    name: str = "list.csv",
    delimiter: str = ",",
    newline: str = "\n",
    groups: int = 0,
    splits: Sequence[str] = (),
) -> Files:
    """`list.csv` beside `images/`; with `groups` images a group, and splits in turn."""
    counts = {"cat": 24, "dog": 24} if counts is None else counts
    header = ["path", "label"] + ["group"] * bool(groups) + ["split"] * bool(splits)
    rows, files = [header], {}
    for tint, label in enumerate(counts):
        for i in range(counts[label]):
            path = f"images/{label} ({i}).png"
            files[path] = picture(tint, i, kind="PNG")
            row = [path, label]
            if groups:
                row.append(f"{label}-{i // groups}")
            if splits:
                row.append(splits[i % len(splits)])
            rows.append(row)
    return {name: table_bytes(rows, delimiter, newline)} | files


def ham10000_files(
    counts: Mapping[str, int] | None = None,
    metadata: str = "HAM10000_metadata.csv",
    images: Literal["folders", "zips", "merged"] = "folders",
    lowercase_copy: bool = False,
    segmentations: bool = False,
) -> Files:
    """HAM10000, lesions of one to three images.

    Args:
        counts: images of each dx.
        metadata: its name; one in `.tab` is as Harvard Dataverse gives it, tabs and quotes.
        images: `folders` as unpacked or in Kaggle's archive, `zips` as Dataverse gives them (no
            folder within), `merged` in one folder.
        lowercase_copy: every image a second time, in `ham10000_images_part_1` and `_2`, beside
            the tables of pixels; so is Kaggle's archive.
        segmentations: with Dataverse's masks.
    """
    counts = dict.fromkeys(HAM10000_CLASSES, 24) if counts is None else counts
    labels = [dx for dx in counts for _ in range(counts[dx])]
    order = np.random.default_rng(0).permutation(len(labels))
    sizes = (1, 1, 2, 1, 3)
    rows, pictures, lesion, left = [], {}, 0, dict.fromkeys(counts, 0)
    lesions = dict.fromkeys(counts, "")
    for number, at in enumerate(order):
        dx = labels[at]
        if left[dx] == 0:  # a class's lesion takes that class's next images
            left[dx] = sizes[lesion % len(sizes)]
            lesions[dx] = f"HAM_{lesion:07d}"
            lesion += 1
        left[dx] -= 1
        name = f"ISIC_{24306 + number:07d}"
        age = "" if number % 9 == 4 else f"{40 + number % 50}.0"
        rows.append([lesions[dx], name, dx, "histo", age, "male", "back", "vidir_modern"])
        tint = HAM10000_CLASSES.index(dx) if dx in HAM10000_CLASSES else 99
        pictures[f"{name}.jpg"] = picture(tint, number, (60, 45))
    columns = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset"]
    files = {metadata: _dataverse(columns, rows, tabs=metadata.endswith(".tab"))}

    half = (len(pictures) + 1) // 2
    parts = [dict(list(pictures.items())[:half]), dict(list(pictures.items())[half:])]
    for number, part in enumerate(parts, 1):
        name = f"HAM10000_images_part_{number}"
        if images == "zips":
            files[f"{name}.zip"] = zip_bytes(part)
        else:
            files |= below(name if images == "folders" else "images", part)
        if lowercase_copy:
            files |= below(name.lower(), part)
    if lowercase_copy:
        files["hmnist_28_28_L.csv"] = b"pixel0000,label\n0,2\n"
    if segmentations:
        folder = "HAM10000_segmentations_lesion_tschandl"
        masks = {
            f"{folder}/{name[:-4]}_segmentation.png": picture(50, i, (60, 45), "PNG", "1")
            for i, name in enumerate(pictures)
        }
        files[f"{folder}.zip"] = zip_bytes(masks)
    return files


def _dataverse(columns: Sequence[str], rows: Sequence[Sequence[str]], *, tabs: bool) -> bytes:
    if not tabs:
        return table_bytes([columns, *rows])
    quoted = [[value if i == 4 else f'"{value}"' for i, value in enumerate(row)] for row in rows]
    return "\n".join("\t".join(row) for row in [columns, *quoted]).encode()


def busi_files(
    counts: Mapping[str, int] | None = None,
    wrapper: str = "Dataset_BUSI_with_GT",
    masks: bool = True,
) -> Files:
    """BUSI: PNG of many sizes, each with a mask, some with two."""
    counts = {"benign": 44, "malignant": 21, "normal": 15} if counts is None else counts
    files = {}
    for tint, label in enumerate(counts):
        for i in range(1, counts[label] + 1):
            size = (44 + i % 7, 36 + i % 5)
            name = f"{label}/{label} ({i})"
            files[f"{name}.png"] = picture(tint, i, size, "PNG")
            for end in ("_mask", "_mask_1")[: (2 if i % 10 == 1 else 1) * masks]:
                files[f"{name}{end}.png"] = picture(tint, i, size, "PNG", "1")
    return below(wrapper, files) if wrapper else files


def leaves_files(
    counts: Mapping[str, int] | None = None,
    wrapper: str = "Citrus/Leaves",
    melanose: int = 3,
    fruits: bool = True,
) -> Files:
    """Leaves: class folders beside those of the fruits, some of the same names.

    Args:
        counts: images of each class, by the folder's name.
        wrapper: the folder of the class folders; the fruits stand beside it.
        melanose: images of the small fifth class; 0 leaves it out, as some distributions do.
        fruits: with the fruits.
    """
    counts = dict.fromkeys(LEAVES_CLASSES, 24) if counts is None else counts
    labels = dict(counts) | ({"Melanose": melanose} if melanose else {})
    files = {
        f"{label}/{label[:2].lower()} ({i}).png": picture(tint, i, (32, 32), "PNG")
        for tint, label in enumerate(labels)
        for i in range(1, labels[label] + 1)
    }
    files = below(wrapper, files) if wrapper else files
    if fruits:
        beside = f"{wrapper}/".rpartition("/")[0].rpartition("/")[0]
        for tint, label in enumerate(("Black spot", "Canker", "Greening", "Scab", "healthy")):
            for i in range(2):
                name = f"{beside}/Fruits/{label}/{i}.jpg".removeprefix("/")
                files[name] = picture(20 + tint, i, (36, 32))
    return files


def srsmas_files(
    counts: Mapping[str, int] | None = None, wrapper: str = "SRSMAS", kind: str = "PNG"
) -> Files:
    """SRSMAS: a folder for each of 14 corals."""
    counts = dict.fromkeys(SRSMAS_CLASSES, 24) if counts is None else counts
    files = {
        f"{label}/{label}_{i:03d}.{kind.lower()}": picture(tint, i, (48 + i % 9, 40), kind)
        for tint, label in enumerate(counts)
        for i in range(counts[label])
    }
    return below(wrapper, files) if wrapper else files


def fashion_mnist_files(
    train: int = 200, test: int = 50, folder: str = "", compressed: bool = True
) -> Files:
    """Fashion-MNIST's four idx files; a label's images are bright where its own square is."""
    files = {}
    for part, count in (("train", train), ("t10k", test)):
        generator = np.random.default_rng(count)
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = generator.integers(0, 120, (count, 28, 28), dtype=np.uint8)
        for i, label in enumerate(labels):
            row, column = divmod(int(label), 5)
            images[i, row * 14 : row * 14 + 10, column * 5 : column * 5 + 5] += 120
        for name, magic, array in (("images-idx3", 2051, images), ("labels-idx1", 2049, labels)):
            content = struct.pack(f">I{array.ndim}I", magic, *array.shape) + array.tobytes()
            path = f"{folder}/{part}-{name}-ubyte".removeprefix("/")
            if compressed:
                files[f"{path}.gz"] = gzip.compress(content, mtime=0)
            else:
                files[path] = content
    return files
