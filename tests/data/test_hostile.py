"""Spoilt data sets: one clear line and exit 2 before any trial, or skipped and counted."""

from __future__ import annotations

import gzip
import io
import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from revo_ray.cli.main import main
from revo_ray.data.table.image_table import prepare_table
from revo_ray.settings.schema import DataConfig

FRACTIONS = {"train_fraction": "0.3", "validation_fraction": "0.2", "test_fraction": "0.2"}

Case = Callable[[Path], "dict[str, str] | None"]
"""Spoils the good folder at its argument; returns keys of `data:` that differ, or None."""


def picture(kind: str = "PNG", size: tuple[int, int] = (24, 20), seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def good_folder(folder: Path) -> Path:
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for i in range(12):
            content = picture(seed=i + 100 * (label == "dog"))
            (folder / label / f"{label} ({i}).png").write_bytes(content)
    return folder


def as_zip(folder: Path, *more: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    path = folder.parent / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder).as_posix())
        for name, content in more:
            archive.writestr(name, content)
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares any size and has no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def text_bomb() -> bytes:
    """A PNG whose comment inflates to 100 MB."""
    whole = picture()
    data = b"Comment\0\0" + zlib.compress(b"\0" * 100_000_000)
    bomb = struct.pack(">I", len(data)) + b"zTXt" + data
    bomb += struct.pack(">I", zlib.crc32(b"zTXt" + data))
    return whole[:33] + bomb + whole[33:]


def spoil(content: bytes, at: int, length: int = 4) -> bytes:
    return content[:at] + b"\xff" * length + content[at + length :]


def gif_header(width: int, height: int) -> bytes:
    whole = picture("GIF")
    return whole[:6] + struct.pack("<HH", width, height) + whole[10:]


BAD_IMAGES: dict[str, Callable[[], bytes]] = {
    "empty.jpg": lambda: b"",
    "noise.jpg": lambda: np.random.default_rng(0).bytes(5000),
    "text.jpg": lambda: b"not an image at all\n",
    "page.png": lambda: b"<!doctype html><title>404 Not Found</title>",
    "half.jpg": lambda: picture("JPEG")[:400],
    "start-only.jpg": lambda: b"\xff\xd8\xff",
    "half.png": lambda: picture()[:700],
    "half.webp": lambda: picture("WEBP")[:200],
    "half.bmp": lambda: picture("BMP")[:300],
    "half.gif": lambda: picture("GIF", (200, 200))[:900],
    "half.tif": lambda: picture("TIFF")[:100],
    "crc.png": lambda: spoil(picture(), 29),
    "pixels.png": lambda: spoil(picture(size=(90, 90)), 2000, 200),
    "bomb.png": lambda: png_header(30_000, 30_000),
    "long bomb.png": lambda: png_header(2_000_000_000, 1),
    "nothing.png": lambda: png_header(0, 0),
    "bomb.gif": lambda: gif_header(65_535, 65_535),
    "comment-bomb.png": text_bomb,
    "program.png": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
    "document.jpg": lambda: b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n",
    "drawing.png": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "archive.png": lambda: b"PK\x05\x06" + b"\0" * 18,
}
"""Files that stand in a class folder and cannot be used."""


def missing(folder: Path) -> dict[str, str]:
    return {"root": str(folder / "imgs")}


def empty(folder: Path) -> dict[str, str]:
    (folder.parent / "empty").mkdir()
    return {"root": str(folder.parent / "empty")}


def plain_file(folder: Path) -> dict[str, str]:
    (folder / "notes.md").write_text("# notes")
    return {"root": str(folder / "notes.md")}


def no_images(folder: Path) -> None:
    for file in folder.rglob("*.png"):
        file.rename(file.with_suffix(".txt"))


def one_class(folder: Path) -> None:
    for file in (folder / "dog").iterdir():
        file.unlink()
    (folder / "dog").rmdir()


def empty_class(folder: Path) -> None:
    (folder / "emu").mkdir()


def rare_class(folder: Path) -> None:
    (folder / "emu").mkdir()
    for i in range(2):
        (folder / "emu" / f"{i}.png").write_bytes(picture(seed=500 + i))


def no_class(folder: Path) -> None:
    (folder / "stray.png").write_bytes(picture())


def broken_link(folder: Path) -> None:
    (folder / "cat" / "gone.png").symlink_to(folder / "nowhere.png")


def class_in_test_only(folder: Path) -> dict[str, str]:
    root = folder.parent / "given"
    for split, labels in (("train", ("cat",)), ("test", ("cat", "dog"))):
        for label in labels:
            (root / split).mkdir(parents=True, exist_ok=True)
            (root / split / label).symlink_to(folder / label)
    return {"root": str(root)}


def truncated_zip(folder: Path) -> dict[str, str]:
    path = as_zip(folder)
    path.write_bytes(path.read_bytes()[:-60])
    return {"root": str(path)}


def no_zip(folder: Path) -> dict[str, str]:
    path = folder.parent / "set.zip"
    path.write_bytes(b"<html>please log in</html>")
    return {"root": str(path)}


def zip_with_parent(folder: Path) -> dict[str, str]:
    return {"root": str(as_zip(folder, ("../../dog/out.png", picture())))}


def zip_with_absolute(folder: Path) -> dict[str, str]:
    return {"root": str(as_zip(folder, ("/cat/out.png", picture())))}


def zip_with_drive(folder: Path) -> dict[str, str]:
    return {"root": str(as_zip(folder, ("C:/cat/out.png", picture())))}


def zip_with_link(folder: Path) -> dict[str, str]:
    link = zipfile.ZipInfo("cat/link.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    return {"root": str(as_zip(folder, (link, b"/etc/passwd")))}


def encrypted_zip(folder: Path) -> dict[str, str]:
    path = as_zip(folder)
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        content[at + flags] |= 1
    path.write_bytes(content)
    return {"root": str(path)}


def zip_with_wrong_sum(folder: Path) -> dict[str, str]:
    path = as_zip(folder)
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)
    return {"root": str(path)}


def listed(text: str | bytes) -> Case:
    def write(folder: Path) -> dict[str, str]:
        path = folder / "list.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return {"source": "csv", "root": str(path)}

    return write


def rows(*more: str, header: str = "path,label", extra: str = "") -> str:
    good = [
        f"{label}/{label} ({i}).png,{label}{extra}" for label in ("cat", "dog") for i in range(12)
    ]
    return "\n".join([header, *good, *more]) + "\n"


def crossed_groups(folder: Path) -> dict[str, str] | None:
    text = rows(header="path,label,group,split", extra=",g,train").splitlines()
    text[1:9] = [line.replace("train", "test") for line in text[1:9]]
    text[13:17] = [line.replace("train", "test") for line in text[13:17]]
    return listed("\n".join(text))(folder)


def source(name: str, *files: tuple[str, bytes]) -> Case:
    def write(folder: Path) -> dict[str, str]:
        root = folder.parent / name
        root.mkdir()
        for path, content in files:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        return {"source": name, "root": str(root)}

    return write


def idx(kind: int, *shape: int, data: bytes | None = None) -> bytes:
    content = bytes(int(np.prod(shape))) if data is None else data
    return gzip.compress(struct.pack(f">I{len(shape)}I", kind, *shape) + content)


def idx_files(*, images: bytes, labels: bytes) -> tuple[tuple[str, bytes], ...]:
    return tuple(
        (f"{part}-{what}-ubyte.gz", content)
        for part in ("train", "t10k")
        for what, content in (("images-idx3", images), ("labels-idx1", labels))
    )


HAM = b"lesion_id,image_id,dx,dx_type,age,sex,localization\nHAM_1,ISIC_1,%s,histo,80,male,scalp\n"

BAD_SETS: dict[str, tuple[Case, str]] = {
    "no such folder": (missing, "no such folder"),
    "an empty folder": (empty, "data.root"),
    "a file that is no data set": (plain_file, "data.root"),
    "no image in any class": (no_images, "data.root"),
    "one class only": (one_class, "one class"),
    "an empty class": (empty_class, "'emu'"),
    "a class with too few images": (rare_class, "'emu'"),
    "a class in the test split only": (class_in_test_only, "'dog'"),
    "no root": (lambda folder: {"root": "null"}, "data.root"),
    "an unknown source": (lambda folder: {"source": "foldr"}, "did you mean folder"),
    "an unknown kind of URI": (lambda folder: {"root": "gopher://host/set"}, "gopher"),
    "fewer images than classes": (lambda folder: {"max_images": "1"}, "data.max_images"),
    "fractions above one": (lambda folder: {"train_fraction": "0.9"}, "together"),
    "a misspelt key": (lambda folder: {"on_bad_images": "skip"}, "on_bad_image"),
    "a truncated zip": (truncated_zip, "set.zip"),
    "a page in place of a zip": (no_zip, "set.zip"),
    "an empty csv": (listed(""), "list.csv"),
    "a csv without rows": (listed("path,label\n"), "list.csv"),
    "a csv without the column": (listed("what,whose\na.png,cat\n"), "data.columns"),
    "a listed split of another name": (
        listed(rows("x.png,cat,fold 7", header="path,label,split", extra=",")),
        "fold 7",
    ),
    "a csv in another encoding": (listed(b"path,label\nb\xe4r.png,b\xe4r\n"), "UTF-8"),
    "one image with two labels": (listed(rows("cat/cat (0).png,dog")), "cat (0).png"),
    "a group in two given splits": (crossed_groups, "'g'"),
    "ham10000 without metadata": (source("ham10000"), "HAM10000_metadata"),
    "busi with masks only": (source("busi", ("benign/b (1)_mask.png", picture())), "busi"),
    "leaves elsewhere": (source("leaves", ("Fruits/canker/1.png", picture())), "Leaves"),
    "srsmas without classes": (source("srsmas", ("1.png", picture())), "data.root"),
    "fashion-mnist without files": (source("fashion-mnist"), "train-images-idx3-ubyte"),
    "fashion-mnist cut short": (
        source(
            "fashion-mnist",
            *idx_files(images=idx(2051, 9, 28, 28, data=b"\0" * 99), labels=idx(2049, 9)),
        ),
        "train-images-idx3-ubyte",
    ),
    "fashion-mnist of two sizes": (
        source("fashion-mnist", *idx_files(images=idx(2051, 9, 28, 28), labels=idx(2049, 8))),
        "8 labels",
    ),
    "fashion-mnist in another form": (
        source("fashion-mnist", *idx_files(images=b"\x1f\x8b junk", labels=idx(2049, 9))),
        "train-images-idx3-ubyte",
    ),
}
"""A whole set that cannot be used, and what the line must name."""

BAD_MEMBERS: dict[str, tuple[Case, str]] = {
    "an image in no class": (no_class, "stray.png"),
    "a broken link": (broken_link, "gone.png"),
    "a zip entry above its root": (zip_with_parent, "out.png"),
    "a zip entry with an absolute path": (zip_with_absolute, "out.png"),
    "a zip entry on a drive": (zip_with_drive, "out.png"),
    "a zip entry that is a link": (zip_with_link, "link.png"),
    "an encrypted zip entry": (encrypted_zip, "encrypted"),
    "a zip entry with a wrong sum": (zip_with_wrong_sum, "cat (0).png"),
    "a listed file that is missing": (listed(rows("cat/none.png,cat")), "none.png"),
    "a listed image without label": (listed(rows("cat/cat (0).png,".replace("(0)", "(11)"))), "26"),
}
"""A set with one image that cannot be used, and what the line must name."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return good_folder(tmp_path / "pets")


def keys(folder: Path, case: Case) -> dict[str, str]:
    base = {"source": "folder", "root": str(folder), "image_size": "16"} | FRACTIONS
    return base | (case(folder) or {})


def refusal(keys: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """Return the answer of `revo-ray search`, which must be one line with exit code 2."""
    sets = [f"data.{key}={value}" for key, value in keys.items()] + [f"storage={tmp_path}/runs"]
    before = sys.argv
    sys.argv = ["revo-ray", "search", *(part for item in sets for part in ("--set", item))]
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    out, err = capfd.readouterr()
    assert ended.value.code == 2, out + err
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("revo-ray: ")
    assert not list((tmp_path / "runs").glob("*/ledger/*"))
    return lines[0]


def skipped(keys: dict[str, str], tmp_path: Path) -> list[str]:
    """Return the images left out under `skip`; all others are in the table."""
    config = DataConfig.model_validate(keys | {"on_bad_image": "skip"})
    table = prepare_table(config, tmp_path / "tables")
    assert len(table.images) == len(table.labels) >= 23
    return [f"{problem.name}: {problem.cause}" for problem in table.skipped]


@pytest.mark.sample(8)
@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_file_that_is_no_good_image(
    name: str, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "cat" / name).write_bytes(BAD_IMAGES[name]())
    settings = keys(folder, lambda folder: None)
    line = refusal(settings, tmp_path, capfd)
    assert name in line
    assert "on_bad_image" in line
    (left_out,) = skipped(settings, tmp_path)
    assert name in left_out


def test_a_pipe_in_a_class_folder_is_no_image_and_blocks_nothing(
    folder: Path, tmp_path: Path
) -> None:
    os.mkfifo(folder / "cat" / "pipe.png")
    settings = keys(folder, lambda folder: None) | {"on_bad_image": "skip"}
    table = prepare_table(DataConfig.model_validate(settings), tmp_path / "tables")
    assert len(table.images) == 24


@pytest.mark.parametrize("name", BAD_SETS)
def test_a_set_that_cannot_be_used(
    name: str, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    case, named = BAD_SETS[name]
    assert named in refusal(keys(folder, case), tmp_path, capfd)


@pytest.mark.parametrize("name", BAD_MEMBERS)
def test_a_set_with_a_bad_member(
    name: str, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    case, named = BAD_MEMBERS[name]
    settings = keys(folder, case)
    line = refusal(settings, tmp_path, capfd)
    assert named in line
    assert "on_bad_image" in line
    (left_out,) = skipped(settings, tmp_path)
    assert named in left_out


def test_all_bad_images_are_named_at_once(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, content in BAD_IMAGES.items():
        (folder / "dog" / name).write_bytes(content())
    (folder / "stray.png").write_bytes(picture())
    line = refusal(keys(folder, lambda folder: None), tmp_path, capfd)
    assert all(name in line for name in [*BAD_IMAGES, "stray.png"])
    assert f"{len(BAD_IMAGES) + 1} " in line
