"""Image folders and tables that were met in the field, made small: examples of kinds.

`python -m tests.data.field_cases FOLDER` writes them all.
"""

from __future__ import annotations

import csv
import shutil
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin


def picture(seed: int, width: int = 48, height: int = 48) -> Image.Image:
    """A smooth random colour picture."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )


def classes(
    folder: Path,
    names: tuple[str, ...] = ("cat", "dog"),
    count: int = 20,
    ending: str = "png",
    seed: int = 0,
) -> Path:
    """Class folders with `count` pictures each."""
    for place, name in enumerate(names):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            picture(seed + 10_000 * place + i).save(folder / name / f"{i:03d}.{ending}")
    return folder


def write(out: Path) -> None:
    """Write all cases below a folder, which is emptied first."""
    shutil.rmtree(out, ignore_errors=True)
    classes(out / "split-dev" / "train"), classes(out / "split-dev" / "dev", count=6, seed=500)
    (
        classes(out / "split-sets" / "train_set"),
        classes(out / "split-sets" / "test_set", count=6, seed=500),
    )
    (
        classes(out / "split-flat-test" / "train"),
        classes(out / "split-flat-test" / "valid", count=6, seed=500),
    )
    (out / "split-flat-test" / "test").mkdir()
    for i in range(10):
        picture(900 + i).save(out / "split-flat-test" / "test" / f"{i}.png")
    for case, low, high, kind in (
        ("deep-12-bit", 0, 4095, np.uint16),
        ("signed", -1000, 3000, np.int32),
    ):
        for place, name in enumerate(("normal", "tumour")):
            folder = out / case / name
            folder.mkdir(parents=True)
            for i in range(20):
                grey = np.asarray(picture(100 * place + i).convert("L"), float) / 255
                array = (low + grey * (high - low)).astype(kind)
                if kind is np.uint16:
                    Image.fromarray(array).save(folder / f"{i}.png")
                else:  # a TIFF of signed integers
                    Image.fromarray(array).save(folder / f"{i}.tif")
    for name in ("benign", "malignant"):
        for patient in range(6):
            folder = out / "patients" / name / f"patient_{name[0]}{patient}"
            folder.mkdir(parents=True)
            for i in range(8):
                picture(zlib.crc32(f"{name}{patient}".encode())).rotate(3 * i).save(
                    folder / f"{i}.png"
                )
    folder = classes(out / "contradictory", count=40)
    for i in range(20):
        shutil.copy(folder / "cat" / f"{i:03d}.png", folder / "dog" / f"x{i}.png")
    folder = classes(out / "many-near-duplicates", count=60)
    for i in range(40):
        shutil.copy(folder / "cat" / f"{i:03d}.png", folder / "cat" / f"copy{i}.png")
    folder = classes(out / "near-labels", ("a",), 60) / "a"
    with (out / "near-labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label"])
        for i, path in enumerate(sorted(folder.iterdir())):
            rows.writerow(
                [
                    path.relative_to(out),
                    ["Cat", "cat", "1", "01", "False", "FALSE", "NaN", "dog"][i % 8],
                ]
            )
    (out / "kaggle" / "train_images").mkdir(parents=True)
    lines = ["id_code,diagnosis"]
    for i in range(60):
        picture(i).save(out / "kaggle" / "train_images" / f"{i:012x}.png")
        lines.append(f"{i:012x},{i % 3}")
    (out / "kaggle" / "train.csv").write_text("\n".join(lines) + "\n")
    folder = classes(out / "long-tail", count=30)
    for i in range(30):
        (folder / f"rare{i:02d}").mkdir()
        picture(7000 + i).save(folder / f"rare{i:02d}" / "0.png")
    classes(out / "imbalance", ("rare",), 5), classes(out / "imbalance", ("common",), 500, seed=77)
    folder = classes(out / "big-xmp")
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", "x" * 3_000_000, zip=True)
    picture(31).save(folder / "cat" / "xmp.png", pnginfo=info)
    folder = classes(out / "huge")
    Image.new("RGB", (10_000, 10_000), (200, 30, 30)).save(folder / "cat" / "huge.jpg", quality=40)
    for part, count in (("train", 80), ("val", 10), ("test", 10)):
        classes(
            out / "given-80-10-10" / part, count=count // 2, seed=zlib.crc32(part.encode()) % 1000
        )
    folder = classes(out / "panorama")
    for i in range(6):
        picture(40 + i, 480, 48).save(folder / "dog" / f"wide{i}.png")
    folder = classes(out / "heic-class") / "bird"
    folder.mkdir()
    for i in range(10):
        path = folder / f"IMG_{i:04d}.HEIC"
        try:
            import pillow_heif

            pillow_heif.from_pillow(picture(3000 + i)).save(path)
        except ImportError:
            path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"x" * 500)
    classes(out / "photos #1")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
