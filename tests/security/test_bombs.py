"""Bombs: small files that would fill the memory, which are refused before they are opened."""

from __future__ import annotations

import io
import struct
import time
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from tests.security.commands import revo

pytestmark = pytest.mark.slow

ALIASES = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
)
"""Nine to the power of twelve values."""


def test_a_configuration_of_aliases_within_aliases_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bomb.yaml").write_text(ALIASES)
    began = time.monotonic()
    done = revo("search", "bomb.yaml", folder=tmp_path)
    assert done.returncode == 2
    assert "too many values" in done.stderr
    assert time.monotonic() - began < 60


def test_an_image_of_more_pixels_than_allowed_is_not_decoded(run: Path, tmp_path: Path) -> None:
    sound = io.BytesIO()
    Image.new("L", (40, 40)).save(sound, "PNG")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("bomb.png", png_of_zeros(40_000))
        archive.writestr("sound.png", sound.getvalue())
    assert (tmp_path / "images.zip").stat().st_size < 400_000
    done = revo("predict", run, "images.zip", folder=tmp_path)
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == [
        "images.zip/sound.png"
    ]
    assert "1,600,000,000 pixels" in done.stderr


def png_of_zeros(side: int) -> bytes:
    """A black PNG of one bit a pixel."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = {b"IHDR": header, b"IDAT": zlib.compress(bytes((side // 8 + 1) * side)), b"IEND": b""}
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
