"""Pictures of all modes, orientations and sizes, as files that Pillow writes."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image


def write_pictures(folder: Path) -> list[Path]:
    """Write a picture of each kind; gives their paths, sorted."""
    folder.mkdir()
    rng = np.random.default_rng(7)
    colours = rng.integers(0, 256, (6, 8, 4), np.uint8)
    rgba = Image.fromarray(colours).resize((50, 37), Image.Resampling.BICUBIC)
    rgb, grey = rgba.convert("RGB"), rgba.convert("L")
    palette = rgb.quantize(16)
    deep = np.linspace(0, 65535, 41 * 33).reshape(41, 33).astype(np.uint16)

    rgb.save(folder / "rgb.png")
    rgb.save(folder / "rgb.bmp")
    rgb.save(folder / "rgb.ppm")
    rgb.save(folder / "rgb.webp", lossless=True)
    rgb.save(folder / "rgb.tif")
    rgb.resize((300, 9)).save(folder / "wide.png")
    rgb.resize((9, 300)).save(folder / "tall.png")
    rgb.resize((1, 1)).save(folder / "one.png")
    rgb.resize((700, 531)).save(folder / "large.jpg")
    rgb.resize((531, 700)).save(folder / "progressive.jpg", progressive=True)
    rgba.save(folder / "rgba.png")
    rgba.save(folder / "rgba.webp", lossless=True)
    rgba.save(folder / "rgba.tif")
    rgba.convert("LA").save(folder / "la.png")
    grey.save(folder / "grey.png")
    grey.save(folder / "grey.jpg")
    grey.save(folder / "grey_key.png", transparency=int(np.asarray(grey)[18, 20]))
    rgb.save(folder / "rgb_key.png", transparency=rgb.getpixel((20, 18)))
    grey.convert("1").save(folder / "bits.png")
    palette.save(folder / "palette.png")
    palette.save(folder / "palette_key.png", transparency=3)
    palette.save(folder / "palette_alpha.png", transparency=bytes(range(0, 256, 16)))
    palette.save(folder / "palette.gif", transparency=5)
    palette.save(
        folder / "frames.gif", save_all=True, append_images=[palette.transpose(Image.ROTATE_90)]
    )
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    rgb.convert("CMYK").save(folder / "cmyk.tif")
    rgb.convert("YCbCr").save(folder / "ycbcr.jpg")
    rgb.convert("LAB").save(folder / "lab.tif")
    Image.fromarray(deep).save(folder / "deep.png")
    Image.fromarray(deep).save(folder / "deep.tif")
    Image.fromarray(deep.astype(np.int32)).save(folder / "deep_32.tif")
    Image.fromarray(deep.astype(np.float32)).save(folder / "float.tif")
    (folder / "rgb_16.png").write_bytes(_png_of_16_bits(rng.integers(0, 2**16, (20, 30, 3))))
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = turn
        rgb.resize((300, 200)).save(folder / f"turned_{turn}.jpg", exif=exif)
        rgba.save(folder / f"turned_{turn}.png", exif=exif)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(deep).save(folder / "deep_turned.png", exif=exif)
    rgb.save(folder / "turned.tif", tiffinfo={ExifTags.Base.Orientation: 8})
    return sorted(folder.iterdir())


def _png_of_16_bits(pixels: np.ndarray) -> bytes:  # type: ignore[type-arg]
    """An RGB file of 16 bits a colour, which Pillow can read and cannot write."""
    height, width, _ = pixels.shape
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    return start + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
