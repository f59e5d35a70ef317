"""Every kind of image comes out right, and nothing else comes out at all."""

from __future__ import annotations

import io
import logging
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin

from revo_ray.data.files import formats
from revo_ray.data.files.decode import MAX_PIXELS, Fit, explain, square
from revo_ray.data.files.decode_error import DecodeError
from revo_ray.data.files.formats import open_image
from revo_ray.data.files.intensity import shown

SIDE = 16
RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
DEEP = RNG.integers(0, 65_536, (SIDE, SIDE), dtype=np.uint16)
BITS = RNG.integers(0, 2, (SIDE, SIDE), dtype=np.uint8)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings, as the table does around all its threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(pixels: NDArray[np.generic], colour: int, *extra: bytes) -> bytes:
    """A PNG written by hand: (H, W) or (H, W, C) of big-endian samples, 1 to 16 bits deep."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    )


def pixels(data: bytes, size: int = SIDE) -> NDArray[np.int64]:
    """(S, S, 3), as signed integers to be subtracted."""
    made = shown(square(open_image(data), size), (0, 65_535))
    assert (made.shape, made.dtype, made.flags.c_contiguous) == ((3, size, size), np.uint8, True)
    return made.transpose(1, 2, 0).astype(np.int64)


def rgb(grey: NDArray[np.generic]) -> NDArray[np.int64]:
    return np.repeat(grey.astype(np.int64)[..., None], 3, axis=2)


def over_white(colours: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.float64]:
    part = alpha[..., None] / 255
    return colours * part + 255 * (1 - part)


DEEP_GREY = rgb(np.rint(DEEP / 65_535 * 255))
GREYS = np.repeat(GREY[..., None], 3, axis=2)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(png(COLOURS, 2), COLOURS, id="RGB"),
        pytest.param(png(GREY, 0), rgb(GREY), id="L"),
        pytest.param(
            encode(Image.fromarray(BITS * 255).convert("1"), "PNG"), rgb(BITS * 255), id="1"
        ),
        pytest.param(png(np.dstack([COLOURS, ALPHA]), 6), over_white(COLOURS, ALPHA), id="RGBA"),
        pytest.param(png(np.dstack([GREY, ALPHA]), 4), over_white(GREYS, ALPHA), id="LA"),
        pytest.param(
            png(GREY, 0, chunk(b"tRNS", struct.pack(">H", GREY[0, 0]))),
            rgb(np.where(GREY[0, 0] == GREY, 255, GREY)),
            id="L with a transparent grey",
        ),
        pytest.param(
            png(COLOURS, 2, chunk(b"tRNS", struct.pack(">3H", *COLOURS[3, 4]))),
            np.where((COLOURS[3, 4] == COLOURS).all(axis=2)[..., None], 255, COLOURS),
            id="RGB with a transparent colour",
        ),
        pytest.param(
            png(GREY % 3, 3, chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60, 70, 80, 90]))),
            np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]])[GREY % 3],
            id="P",
        ),
        pytest.param(
            png(
                *(GREY % 3, 3, chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60, 70, 80, 90]))),
                chunk(b"tRNS", bytes([0, 255, 51])),
            ),
            np.array([[255, 255, 255], [40, 50, 60], [218, 220, 222]])[GREY % 3],
            id="P with transparency",
        ),
        pytest.param(png(DEEP.astype(">u2"), 0), DEEP_GREY, id="16-bit grey PNG"),
        pytest.param(
            png(DEEP.astype(">u2"), 0, chunk(b"tRNS", struct.pack(">H", DEEP[0, 0]))),
            np.where(rgb(DEEP) == DEEP[0, 0], 255, DEEP_GREY),
            id="16-bit grey with a transparent grey",
        ),
        pytest.param(
            png((COLOURS.astype(">u2") * 257).astype(">u2"), 2), COLOURS, id="16-bit colours"
        ),
        pytest.param(encode(Image.fromarray(DEEP), "TIFF"), DEEP_GREY, id="I;16 TIFF"),
        pytest.param(
            encode(Image.frombytes("I;16B", (SIDE, SIDE), DEEP.astype(">u2").tobytes()), "TIFF"),
            DEEP_GREY,
            id="I;16B TIFF",
        ),
        pytest.param(
            encode(Image.fromarray(DEEP.astype(np.int32)), "TIFF"), DEEP_GREY, id="I TIFF"
        ),
        pytest.param(
            b"P5 16 16 65535\n" + DEEP.astype(">u2").tobytes(), DEEP_GREY, id="16-bit PGM"
        ),
        pytest.param(
            encode(
                Image.merge("CMYK", [Image.fromarray(GREY)] * 3 + [Image.new("L", (16, 16))]),
                "TIFF",
            ),
            255 - rgb(GREY),
            id="CMYK without black",
        ),
        pytest.param(
            encode(
                Image.merge("CMYK", [Image.new("L", (16, 16))] * 3 + [Image.fromarray(GREY)]),
                "TIFF",
            ),
            255 - rgb(GREY),
            id="CMYK of black",
        ),
        pytest.param(encode(Image.fromarray(COLOURS), "BMP"), COLOURS, id="BMP"),
        pytest.param(encode(Image.fromarray(COLOURS), "WEBP", lossless=True), COLOURS, id="WebP"),
        pytest.param(encode(Image.fromarray(COLOURS), "TGA"), COLOURS, id="TGA"),
        pytest.param(
            encode(Image.fromarray(COLOURS), "JPEG2000", irreversible=False),
            COLOURS,
            id="JPEG 2000",
        ),
    ],
)
def test_every_mode_comes_out_right(data: bytes, expected: NDArray[np.generic]) -> None:
    assert np.abs(pixels(data) - np.asarray(expected, np.float64)).max() <= 1


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGB", (200, 100, 50), (200, 100, 50)),
        ("L", 77, (77, 77, 77)),
        ("CMYK", (255, 0, 0, 0), (0, 255, 255)),
        ("CMYK", (0, 102, 255, 51), (204, 122, 0)),
    ],
)
def test_jpegs_keep_their_colour(
    mode: str, colour: int | tuple[int, ...], expected: tuple[int, int, int]
) -> None:
    for side in (SIDE, 8 * SIDE):  # the larger is decoded at reduced scale
        data = encode(Image.new(mode, (side, side), colour), "JPEG", quality=95)
        assert open_image(data).mode == mode
        assert np.abs(pixels(data) - expected).max() <= 3


def test_a_16_bit_ramp_stays_a_ramp() -> None:
    ramp = np.broadcast_to(np.linspace(0, 65_535, 256).astype(">u2"), (256, 256))
    made = pixels(png(ramp, 0), 256)
    assert np.array_equal(made, rgb(np.broadcast_to(np.arange(256), (256, 256))))


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_animations_give_their_first_frame(file_format: str) -> None:
    first, second = Image.new("RGB", (20, 20), "blue"), Image.new("RGB", (20, 20), "yellow")
    data = encode(first, file_format, save_all=True, append_images=[second])
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 2
    assert np.abs(pixels(data) - (0, 0, 255)).max() <= 3


STORED: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: np.swapaxes(upright, 0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.swapaxes(np.rot90(upright, 2), 0, 1),
    8: lambda upright: np.rot90(upright, -1),
}
"""Function that turns an upright picture as a camera stores it, for each EXIF orientation."""


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_turned_pictures_stand_upright(file_format: str, orientation: int) -> None:
    upright = np.asarray(photo())[:150, :225]
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"lossless": True} if file_format == "WEBP" else {}
    for size in (24, 100):
        expected = pixels(encode(Image.fromarray(upright), "PNG"), size)
        made = pixels(encode(stored, file_format, exif=exif, **options), size)
        difference = np.abs(made - expected)
        assert (difference.mean() < 3) if file_format == "JPEG" else (difference.max() <= 1)


def test_damaged_metadata_spoils_no_picture() -> None:
    image = Image.fromarray(COLOURS)
    for junk in (b"junk", b"Exif\0\0MM\0*\0\0\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01"):
        assert np.array_equal(pixels(encode(image, "PNG", exif=junk)), COLOURS)


def photo() -> Image.Image:
    return Image.fromarray(sklearn.datasets.load_sample_image("china.jpg"))


@pytest.mark.parametrize("size", [28, 60, 140, 420, 840])
def test_square_is_the_middle_of_the_resized_picture(size: int) -> None:
    wide = photo().crop((0, 0, 630, 420))
    for image in (wide, wide.transpose(Image.Transpose.ROTATE_90)):
        whole = image.resize(
            (image.width * size // 420, image.height * size // 420), Image.Resampling.BICUBIC
        )
        left, top = (whole.width - size) / 2, (whole.height - size) / 2
        expected = np.asarray(whole.crop((left, top, left + size, top + size)))
        made = square(image, size).transpose(1, 2, 0)
        difference = np.abs(made.astype(int) - expected)
        margin = 2 * -(-size // 420)  # where the filter reaches over the edge
        assert difference[margin:-margin, margin:-margin].max() <= 1
        assert difference.mean() < 1


@pytest.mark.parametrize("size", [16, 40, 53, 64, 106, 107, 224])
def test_reduced_decoding_hardly_shows(size: int) -> None:
    path = Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"
    reduced, whole = open_image(path.read_bytes()), open_image(path.read_bytes())
    whole.load()
    difference = square(reduced, size).astype(int) - square(whole, size)
    assert np.abs(difference).mean() < 1
    assert min(reduced.size) >= 2 * size or reduced.size == whole.size == (640, 427)
    assert (reduced.size < whole.size) == (4 * size <= 427)


def declared(file_format: str, width: int, height: int) -> bytes:
    """A file of a few bytes that declares that many pixels."""
    if file_format == "PNG":
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        idat = chunk(b"IDAT", zlib.compress(bytes(100)))
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + idat + chunk(b"IEND", b"")
    tiny = bytearray(encode(Image.new("RGB", (1, 1)), file_format))
    if file_format == "GIF":
        tiny[6:10] = struct.pack("<HH", width, height)
    elif file_format == "BMP":
        tiny[18:26] = struct.pack("<ii", width, height)
    else:
        start = tiny.index(b"\xff\xc0")
        tiny[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(tiny)


@pytest.mark.parametrize("file_format", ["PNG", "GIF", "BMP", "JPEG"])
@pytest.mark.parametrize("side", [9_460, 15_000, 30_000])
@pytest.mark.parametrize("others_limit", [Image.MAX_IMAGE_PIXELS, None])
def test_bombs_are_refused_before_they_are_decoded(
    file_format: str, side: int, others_limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", others_limit)  # as some programs do
    image = open_image(declared(file_format, side, side))
    if file_format == "JPEG":
        square(image, 200)
        assert image.width * image.height <= MAX_PIXELS
    else:
        with pytest.raises(DecodeError) as caught:
            square(image, SIDE)
        assert explain(caught.value) == f"{side**2:,} pixels, over data.max_pixels: {MAX_PIXELS:,}"


def test_a_limit_is_a_limit() -> None:
    image = Image.fromarray(COLOURS)
    for file_format in ("PNG", "TIFF", "WEBP", "GIF"):
        data = encode(image, file_format)
        assert square(open_image(data), SIDE, max_pixels=SIDE**2).shape == (3, SIDE, SIDE)
        with pytest.raises(DecodeError, match=r"256 pixels, over data\.max_pixels: 255"):
            square(open_image(data), SIDE, max_pixels=SIDE**2 - 1)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_jpeg_over_the_limit_is_read_at_a_reduced_scale(progressive: bool, fit: Fit) -> None:
    data = encode(photo(), "JPEG", progressive=progressive)
    whole, reduced = open_image(data), open_image(data)
    limit = 640 * 427 * 2 // 3
    difference = square(whole, 400, fit).astype(int) - square(reduced, 400, fit, limit)
    assert whole.size == (640, 427)
    assert reduced.size == (320, 214)
    assert 0 < np.abs(difference).mean() < 8
    limit = 640 * 427 // 60
    if progressive:  # it is held whole at any scale
        with pytest.raises(DecodeError, match=r"data\.max_pixels"):
            square(open_image(data), 400, fit, limit)
    else:
        assert square(open_image(data), 16, fit, limit).shape == (3, 16, 16)
        with pytest.raises(DecodeError, match=r"data\.max_pixels"):
            square(open_image(data), 16, fit, 640 * 427 // 65)


@pytest.mark.parametrize(("width", "height"), [(300, 30), (30, 300), (31, 17), (64, 64), (1, 900)])
@pytest.mark.parametrize("size", [16, 33])
def test_fits(width: int, height: int, size: int) -> None:
    colours = RNG.integers(100, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(colours)
    whole = image.resize((size, size), Image.Resampling.BICUBIC)
    assert np.array_equal(square(image, size, "stretch").transpose(1, 2, 0), np.asarray(whole))
    padded = square(image, size, "pad").transpose(1, 2, 0)
    inner = (max(1, round(size * side / max(width, height))) for side in (width, height))
    expected = Image.new("RGB", (size, size))
    small = image.resize(tuple(inner), Image.Resampling.BICUBIC)
    expected.paste(small, ((size - small.width) // 2, (size - small.height) // 2))
    assert np.array_equal(padded, np.asarray(expected))


def test_large_metadata_is_read() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", "x" * 30_000_000, zip=True)
    info.add_text("note", "y" * 20_000_000, zip=True)
    profile = RNG.bytes(5_000_000)
    image = Image.fromarray(COLOURS)
    data = encode(image, "PNG", pnginfo=info, icc_profile=profile)
    assert np.array_equal(pixels(data), COLOURS)
    for file_format in ("TIFF", "WEBP"):
        data = encode(image, file_format, icc_profile=profile, xmp=b"x" * 10**6, lossless=True)
        assert np.array_equal(pixels(data), COLOURS)


def test_a_bomb_of_metadata_fills_no_memory() -> None:
    info = PngImagePlugin.PngInfo()
    for number in range(3):
        info.add_text(f"note{number}", "y" * 30_000_000, zip=True)
    data = encode(Image.fromarray(COLOURS), "PNG", pnginfo=info)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="MAX_TEXT_MEMORY"):
            pixels(data)
        assert tracemalloc.get_traced_memory()[1] < 2e8
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_truncated_files_raise(file_format: str) -> None:
    whole = encode(photo().resize((120, 80)), file_format)
    for part in (0.0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever Pillow raises
            pixels(whole[: int(part * len(whole))])
        assert 3 < len(explain(caught.value)) <= 200
        assert "BytesIO" not in explain(caught.value)
    with pytest.raises(OSError, match="truncated") as caught:
        pixels(encode(photo(), "JPEG")[:20_000])
    assert explain(caught.value) == "truncated"


@given(st.binary(max_size=300))
def test_random_bytes_raise(data: bytes) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011
        pixels(data)


@pytest.mark.parametrize(
    "file_format", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "TGA", "ICO", "PCX", "AVIF"]
)
def test_damage_gives_pixels_or_a_short_reason(
    file_format: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as in a program without any
    rng = np.random.default_rng(1)
    whole = encode(Image.fromarray(COLOURS), file_format)
    reasons = set()
    for _ in range(100):
        damaged = bytearray(whole)
        for _ in range(rng.integers(1, 8)):
            damaged[rng.integers(0, min(len(damaged), 200))] = rng.integers(0, 256)
        try:
            pixels(bytes(damaged))
        except Exception as error:
            reasons.add(explain(error))
    assert reasons
    for reason in reasons:
        assert 3 < len(reason) <= 200
        assert "\n" not in reason
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "data",
    [
        encode(Image.fromarray(COLOURS), "EPS"),
        encode(Image.fromarray(COLOURS), "PDF"),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"\xd7\xcd\xc6\x9a\0\0" + bytes(60),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"text\n" * 100,
        bytes(1000),
    ],
)
def test_what_is_no_raster_image_is_refused(data: bytes) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        open_image(data)
    assert explain(caught.value) == "not an image of a format that is read"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DecodeError("an empty file"), "an empty file"),
        (PermissionError(13, "Permission denied", "/truncated.png"), "permission denied"),
        (OSError("image file is truncated (3 bytes not processed)"), "truncated"),
        (OSError("broken\ndata stream"), "broken data stream"),
        (MemoryError(), "too large for the memory"),
        (KeyError(7), "damaged (7)"),
        (ValueError(), "damaged (ValueError)"),
        (OSError("x" * 500), "x" * 199 + "…"),
    ],
)
def test_errors_are_explained_in_a_clause(error: Exception, said: str) -> None:
    assert explain(error) == said


def test_extremes_of_shape() -> None:
    for shape in ((1, 1), (1, 1000), (1000, 1)):
        data = png(np.full(shape, 9, np.uint8), 0)
        assert (pixels(data) == 9).all()


def test_image_endings_are_those_of_the_formats() -> None:
    for name in ("a/b.JPG", "b.Jpeg", "c.tiff", "d.webp", "e.pgm", "f.jp2", "g.mpo"):
        assert formats.is_image(name)
    for name in ("a.eps", "b.ps", "c.pdf", "d.wmf", "e.emf", "f.mpg", "g.h5", "png", ".png", "h"):
        assert not formats.is_image(name)
