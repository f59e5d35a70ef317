"""Fashion-MNIST: the same images as other readers find, wherever the files lie."""

from __future__ import annotations

import gzip
import os
import struct
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import FashionMNIST

from revo_ray.data.image_records import ArrayPicture, Source
from revo_ray.data.sources import fashion_mnist, read_source
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig
from tests.data.layouts import Files, fashion_mnist_files, unpacked, zipped

IMAGES = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"


def read(root: object) -> Source:
    return read_source(DataConfig(source="fashion-mnist", root=root and str(root)))


def idx(*shape: int, data: bytes = b"", magic: int = 0) -> bytes:
    return struct.pack(f">I{len(shape)}I", magic or 0x800 + len(shape), *shape) + data


def test_images_labels_and_classes_are_those_of_torchvision(tmp_path: Path) -> None:
    files = fashion_mnist_files(30, 12, "FashionMNIST/raw", compressed=False)
    source = read(unpacked(files, tmp_path))
    for split, train in (("train", True), ("test", False)):
        reference = FashionMNIST(str(tmp_path), train=train)
        assert list(source.classes) == reference.classes
        records = [record for record in source.records if record.split == split]
        assert len(records) == len(reference) == (30 if train else 12)
        for record, (image, label) in zip(records, reference, strict=True):
            assert source.classes.index(record.label) == label
            assert np.array_equal(np.asarray(record.picture.open()), np.asarray(image))
    assert len({record.name for record in source.records}) == 42


@pytest.mark.parametrize("folder", ["", "raw", "FashionMNIST/raw"])
@pytest.mark.parametrize("compressed", [True, False])
def test_every_place_and_form_gives_the_same(folder: str, compressed: bool, tmp_path: Path) -> None:
    plain = read(unpacked(fashion_mnist_files(20, 10), tmp_path / "plain"))
    files = fashion_mnist_files(20, 10, folder, compressed)
    for root in (unpacked(files, tmp_path / "a b"), zipped(files, tmp_path / "set.zip")):
        source = read(root)
        assert [(r.name, r.label, r.split) for r in source.records] == [
            (r.name, r.label, r.split) for r in plain.records
        ]
        assert [r.picture.digest() for r in source.records] == [
            r.picture.digest() for r in plain.records
        ]


def test_without_a_root_debians_package_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN", str(tmp_path / "package"))
    with pytest.raises(UserError, match="dataset-fashion-mnist") as error:
        read(None)
    assert error.value.key == "data.root"
    unpacked(fashion_mnist_files(20, 10), tmp_path / "package")
    assert len(read(None).records) == 30


@pytest.mark.skipif(not os.path.isdir(fashion_mnist.DEBIAN), reason="its package is not installed")
def test_the_real_files() -> None:
    source = read(None)
    train = Counter(record.label for record in source.records if record.split == "train")
    test = Counter(record.label for record in source.records if record.split == "test")
    assert train == dict.fromkeys(source.classes, 6000)
    assert test == dict.fromkeys(source.classes, 1000)
    assert source.records[0].label == "Ankle boot"
    pixels = np.stack([record.picture.pixels for record in source.records[:60_000]])
    assert pixels.mean() / 255 == pytest.approx(0.2860, abs=5e-5)  # by which many normalise


def unpack() -> list[object]:
    """The least that any reader of the package does: inflate, and an object for every image."""
    made: list[object] = []
    for part in ("train", "t10k"):
        with gzip.open(f"{fashion_mnist.DEBIAN}/{part}-images-idx3-ubyte.gz") as file:
            images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
        with gzip.open(f"{fashion_mnist.DEBIAN}/{part}-labels-idx1-ubyte.gz") as file:
            labels = file.read()[8:]
        pairs = zip(labels, images, strict=True)
        made += ({"label": label, "pixels": image} for label, image in pairs)
    return made


@pytest.mark.nightly
@pytest.mark.skipif(not os.path.isdir(fashion_mnist.DEBIAN), reason="its package is not installed")
def test_the_real_files_cost_little_more_than_unpacking_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def seconds(work: Callable[[], object]) -> float:
        start = time.process_time()
        kept = work()
        spent = time.process_time() - start
        del kept
        return spent

    for name in ("digest", "open"):  # no image is looked at
        monkeypatch.delattr(ArrayPicture, name)
    pairs = [(seconds(lambda: read(None)), seconds(unpack)) for _ in range(4)]
    ours, least = map(min, zip(*pairs, strict=True))
    assert ours < 3 * least  # 1.8


def test_missing_files_are_named(tmp_path: Path) -> None:
    files = fashion_mnist_files(20, 10, "raw")
    del files["raw/t10k-labels-idx1-ubyte.gz"]
    files["t10k-labels-idx1-ubyte.txt"] = b""
    with pytest.raises(UserError, match="no t10k-labels-idx1-ubyte ") as error:
        read(unpacked(files, tmp_path))
    assert "train" not in str(error.value).replace(str(tmp_path), "")
    assert error.value.key == "data.root"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (IMAGES, idx(20, 28, 28, data=bytes(99)), "declares 15,680 bytes and holds 99"),
        (IMAGES, idx(20, 28, 28, data=bytes(15_681)), "holds 15,681"),
        (IMAGES, b"", "truncated"),
        (IMAGES, b"\0\0\x08\x03\0\0", "truncated"),
        (IMAGES, b"<html>" + bytes(99), "no idx3 file"),
        (IMAGES, idx(20, 28, 28, data=bytes(15_680), magic=0xD03), "no idx3 file"),
        (IMAGES, idx(20), "truncated"),
        (IMAGES, idx(20, 32, 32, data=bytes(20_480)), "20×32×32"),
        (IMAGES, idx(2**31, 28, 28), "2147483648×28×28"),
        (IMAGES, idx(19, 28, 28, data=bytes(14_896)), "19 images and 'train-labels-idx1-ubyte' 20"),
        (LABELS, idx(20, data=bytes(19) + b"\x0a"), "the label 10"),
        (LABELS, idx(60_001, data=bytes(60_001)), "60001"),
        (LABELS, idx(20, 28, 28, data=bytes(15_680)), "no idx1 file"),
    ],
)
@pytest.mark.parametrize("compressed", [True, False])
def test_files_that_are_damaged_or_another_s(
    name: str, content: bytes, says: str, compressed: bool, tmp_path: Path
) -> None:
    files = fashion_mnist_files(20, 10, compressed=False)
    del files[name]
    files[f"{name}.gz" if compressed else name] = gzip.compress(content) if compressed else content
    assert says in refusal(files, tmp_path)


def refusal(files: Files, folder: Path) -> str:
    with pytest.raises(UserError) as error:
        read(unpacked(files, folder))
    assert error.value.key == "data.root"
    assert f"'{IMAGES}" in str(error.value) or f"'{LABELS}" in str(error.value)
    return str(error.value)


def test_gzip_files_that_are_damaged(tmp_path: Path) -> None:
    good = fashion_mnist_files(20, 10)
    whole = good[f"{IMAGES}.gz"]
    spoilt = whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:]
    for i, (content, says) in enumerate(
        [
            (whole[:-20], "truncated"),
            (b"PK no gzip", "damaged"),
            (spoilt, "damaged"),
            (b"", "trunc"),
        ]
    ):
        assert says in refusal(good | {f"{IMAGES}.gz": content}, tmp_path / str(i))


def test_a_gzip_bomb_is_not_inflated(tmp_path: Path) -> None:
    bomb = gzip.compress(idx(20) + bytes(50_000_000), compresslevel=1)
    files = fashion_mnist_files(20, 10) | {f"{LABELS}.gz": bomb}
    tracemalloc.start()
    try:
        assert "larger than" in refusal(files, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
