"""Formats that other libraries than Pillow read, or that Pillow reads wrongly."""

from __future__ import annotations

import importlib.util
import io
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin

from revo_ray.data.files.decode import (
    explain,
    facts,
    halved_finding,
    pages_finding,
    square,
)
from revo_ray.data.files.decode_error import DecodeError
from revo_ray.data.files.formats import is_image, open_image
from revo_ray.data.image_records import Topic
from revo_ray.installation import install_command

pydicom = pytest.importorskip("pydicom")
pillow_heif = pytest.importorskip("pillow_heif")

SAMPLES = Path(pydicom.__file__).parent / "data" / "test_files"  # those in the wheel
GREY = np.linspace(0, 1, 48 * 48).reshape(48, 48)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def photo(side: int = 64) -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side + side // 2), Image.Resampling.BICUBIC)


def heic(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=95, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_heic_is_read(mode: str) -> None:
    image = photo().convert(mode)
    opened = open_image(heic(image))
    assert (opened.size, opened.format) == (image.size, "HEIF")
    difference = square(opened, 32).astype(int) - square(image, 32)
    assert np.abs(difference).mean() < 4


def test_a_turned_heic_stands_upright() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    turned = photo().transpose(Image.Transpose.ROTATE_90)
    buffer = io.BytesIO()
    pillow_heif.encode(
        "RGB", turned.size, turned.tobytes(), buffer, quality=95, exif=exif.tobytes()
    )
    opened = open_image(buffer.getvalue())
    assert opened.size == photo().size
    assert np.abs(square(opened, 32).astype(int) - square(photo(), 32)).mean() < 4


@pytest.mark.slow
def test_without_the_libraries_the_line_names_ending_and_extra(tmp_path: Path) -> None:
    """In a process of its own, in which the libraries cannot be imported."""
    (tmp_path / "a.HEIC").write_bytes(heic(photo()))
    (tmp_path / "b.dcm").write_bytes(sample("CT_small.dcm"))
    script = """
import sys
for name in ("pi_heif", "pillow_heif", "pydicom"):
    sys.modules[name] = None
from revo_ray.data.files.decode import explain
from revo_ray.data.files.image_files import ImageFiles
for file in ImageFiles.open(sys.argv[1]).images():
    try:
        file.open()
    except Exception as error:
        print(file.path, explain(error))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    heif, dicom = done.stdout.splitlines()
    assert heif.startswith(f"a.HEIC a .heic image; {install_command('heif')}")
    assert dicom.startswith(f"b.dcm a DICOM file (.dcm); {install_command('dicom')}")


def test_endings() -> None:
    for name in ("a.HEIC", "b.heif", "c.hif", "d.dcm", "e.DICOM"):
        assert is_image(name)


WINDOWED = [
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
]


@pytest.mark.parametrize("name", WINDOWED)
def test_a_window_makes_8_bits(name: str) -> None:
    """Center 600 and width 1600, by PS3.3 C.11.2.1.2."""
    values = pydicom.dcmread(SAMPLES / "MR_small.dcm").pixel_array.astype(float)
    expected = (((values - 599.5) / 1599 + 0.5) * 255).clip(0, 255)
    opened = open_image(sample(name))
    assert (opened.size, opened.mode, opened.format) == ((64, 64), "L", "DICOM")
    made = square(opened, 64)
    assert made.dtype == np.uint8
    assert np.abs(made[0] - expected).max() <= 0.5 + 1e-9


def test_values_are_rescaled() -> None:
    """A slope of 1 and an intercept of -1024."""
    values = pydicom.dcmread(SAMPLES / "CT_small.dcm").pixel_array
    deep = square(open_image(sample("CT_small.dcm")), 128)
    assert deep.dtype == np.float32
    assert np.array_equal(deep[0], values - 1024.0)


def changed(name: str, **values: object) -> bytes:
    file = pydicom.dcmread(SAMPLES / name)
    for key, value in values.items():
        setattr(file, key, value)
    buffer = io.BytesIO()
    file.save_as(buffer)
    return buffer.getvalue()


def test_monochrome1_is_inverted() -> None:
    plain = square(open_image(sample("MR_small.dcm")), 64)
    inverted = changed("MR_small.dcm", PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(square(open_image(inverted), 64), 255 - plain)
    deep = square(open_image(sample("CT_small.dcm")), 128)
    inverted = changed("CT_small.dcm", PhotometricInterpretation="MONOCHROME1")
    again = square(open_image(inverted), 128)
    assert np.ptp(again + deep) == 0


def test_windows_and_rescales_of_an_enhanced_file() -> None:
    from pydicom.dataset import Dataset

    group, window, rescale = Dataset(), Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = 40, 400
    rescale.RescaleSlope, rescale.RescaleIntercept = 2, -1024
    group.FrameVOILUTSequence = [window]
    group.PixelValueTransformationSequence = [rescale]
    values = pydicom.dcmread(SAMPLES / "CT_small.dcm").pixel_array * 2.0 - 1024
    expected = (((values - 39.5) / 399 + 0.5) * 255).clip(0, 255)
    data = changed("CT_small.dcm", SharedFunctionalGroupsSequence=[group])
    assert np.abs(square(open_image(data), 128)[0] - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_rle.dcm",
        "SC_rgb_rle_16bit.dcm",
        "SC_rgb_rle_32bit.dcm",
        "SC_rgb_rle_2frame.dcm",
        "SC_rgb_small_odd_big_endian.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "ExplVR_BigEnd.dcm",
        "examples_rgb_color.dcm",
        "examples_palette.dcm",
        "image_dfl.dcm",
        "liver_1frame.dcm",
    ],
)
def test_colours_palettes_and_bits(name: str) -> None:
    from pydicom.pixels import apply_color_lut, pixel_array

    file = pydicom.dcmread(SAMPLES / name)
    expected = pixel_array(file, index=0)
    if file.PhotometricInterpretation == "PALETTE COLOR":
        expected = apply_color_lut(expected, file)
    elif name == "liver_1frame.dcm":
        expected = expected * 255
    most = {1: 255, 2: 65_535, 4: 2**32 - 1}[expected.itemsize]
    expected = expected / most * 255
    opened = open_image(sample(name))
    opened.load()
    assert opened.mode in ("RGB", "L")
    assert np.abs(np.asarray(opened) - expected).max() <= 0.5 + 1e-9


def test_frames_are_counted() -> None:
    single, many = (facts(open_image(sample(n))).pages for n in ("CT_small.dcm", "rtdose.dcm"))
    assert (single, many) == (1, 15)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("MR_small_jpeg_ls_lossless.dcm", "JPEG-LS Lossless.*; pip install pyjpegls"),
        ("SC_rgb_jpeg_gdcm.dcm", "JPEG Lossless.*; pip install pylibjpeg pylibjpeg-libjpeg"),
        ("JPGExtended.dcm", "JPEG Extended; pip install pylibjpeg pylibjpeg-libjpeg"),
        ("rtplan.dcm", "a DICOM file without an image: RT Plan"),
        ("test-SR.dcm", "a DICOM file without an image: Comprehensive SR"),
    ],
)
def test_what_pydicom_cannot_show_is_named(name: str, said: str) -> None:
    with pytest.raises(DecodeError, match=said):
        square(open_image(sample(name)), 32)


def test_damaged_dicom_files_are_told() -> None:
    for data in (
        sample("MR_truncated.dcm"),
        sample("badVR.dcm"),
        sample("CT_small.dcm")[:4000],
        b"\0" * 128 + b"DICM" + b"junk" * 100,
    ):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever pydicom raises
            square(open_image(data), 32)
        assert 3 < len(explain(caught.value)) <= 200


def test_old_dicom_files_are_known_by_their_ending() -> None:
    file = pydicom.dcmread(SAMPLES / "CT_small.dcm")
    for implicit in (True, False):
        buffer = io.BytesIO()
        file.remove_private_tags()
        with pydicom.filebase.DicomFileLike(buffer) as out:
            out.is_implicit_VR, out.is_little_endian = implicit, True
            plain = pydicom.Dataset(file)
            pydicom.filewriter.write_dataset(out, plain)
            data = buffer.getvalue()
        assert square(open_image(data, "a.dcm"), 32).dtype == np.float32


def test_a_deflated_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sample("image_dfl.dcm")
    start = 144 + int.from_bytes(whole[140:144], "little")
    pack = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = whole[:start] + pack.compress(bytes(300_000_000)) + pack.flush()
    with pytest.raises(DecodeError, match="unpacks to over"):
        open_image(data)


def tiff(pixels: NDArray[np.generic], **tags: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "TIFF", **tags)
    return buffer.getvalue()


def plain_tiff(
    pixels: NDArray[np.generic], photometric: int, order: str = "<", *extra: tuple[int, int]
) -> bytes:
    """An uncompressed TIFF (H, W) or (H, W, C) of any type, written by hand."""
    height, width = pixels.shape[:2]
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    kind = {"u": 1, "i": 2, "f": 3, "c": 6}[pixels.dtype.kind]
    content = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    ifd = TiffImagePlugin.ImageFileDirectory_v2(
        b"II*\0\0\0\0\0" if order == "<" else b"MM\0*\0\0\0\0"
    )
    entries = {256: width, 257: height, 259: 1, 262: photometric, 277: samples, 278: height}
    entries |= {258: (8 * pixels.itemsize,) * samples, 339: (kind,) * samples}
    entries |= {
        273: 0,  # Pillow adds the place of the end
        279: len(content),
    } | dict(extra)
    for tag, value in entries.items():
        ifd[tag] = value
    head = (b"II*\0" if order == "<" else b"MM\0*") + (8).to_bytes(
        4, "little" if order == "<" else "big"
    )
    return head + ifd.tobytes(8) + content


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        (np.uint32, 0, 4e9),
        (np.int8, -128, 127),
        (np.int16, -1000, 3000),
        (np.int32, -70_000, 70_000),
        (np.uint16, 0, 65_535),
        (np.float32, -1, 1),
        (np.float64, -1e9, 1e9),
    ],
)
def test_grey_tiffs_of_every_type(kind: type, low: float, high: float, order: str) -> None:
    pixels = (low + GREY * (high - low)).astype(kind)
    deep = square(open_image(plain_tiff(pixels, 1, order)), 48)
    assert deep.dtype == np.float32
    assert np.allclose(deep[0], pixels.astype(np.float32), rtol=1e-6)


@pytest.mark.parametrize("order", ["<", ">"])
def test_white_may_be_zero(order: str) -> None:
    pixels = (GREY * 4095).astype(np.uint16)
    deep = square(open_image(plain_tiff(pixels, 0, order)), 48)
    assert np.array_equal(deep[0], 65_535.0 - pixels)


@pytest.mark.parametrize(
    "compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma", "raw"]
)
def test_packed_floats(compression: str) -> None:
    pixels = GREY.astype(np.float32)
    assert np.array_equal(square(open_image(tiff(pixels, compression=compression)), 48)[0], pixels)


def test_big_endian_packed_floats() -> None:
    """Pillow takes their bytes in the wrong order."""
    content = io.BytesIO()
    pixels = GREY.astype(np.float32)
    packed = zlib.compress(pixels.astype(">f4").tobytes())
    content = plain_tiff(pixels, 1, ">", (259, 8), (279, len(packed)))
    data = content[: -pixels.nbytes] + packed
    assert np.array_equal(square(open_image(data), 48)[0], pixels)


def test_gdals_pixels_without_data_are_no_values() -> None:
    pixels = GREY.astype(np.float32)
    pixels[:20] = -9999
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[42113] = "-9999"
    deep = square(open_image(tiff(pixels, tiffinfo=tags)), 48)
    assert np.isnan(deep[0, :20]).all()
    assert np.array_equal(deep[0, 20:], pixels[20:])


UNUSUAL = [
    pytest.param(GREY.astype(np.float16), 1, "1 × 16 bits (float, grey)", id="half"),
    pytest.param((GREY * 2**60).astype(np.uint64), 1, "1 × 64 bits (unsigned, grey)", id="64"),
    pytest.param(
        np.dstack([GREY] * 3).astype(np.float32), 2, "3 × 32 bits (float, RGB)", id="RGB of floats"
    ),
    pytest.param(
        (np.dstack([GREY] * 3) * (2**32 - 1)).astype(np.uint32), 2, "3 × 32 bits", id="RGB of 32"
    ),
    pytest.param(
        (np.dstack([GREY] * 2) * 65_535).astype(np.uint16), 1, "2 × 16 bits", id="grey and alpha"
    ),
]


@pytest.mark.parametrize(("pixels", "photometric", "said"), UNUSUAL)
def test_tiffs_that_pillow_cannot_read_are_read_or_named(
    pixels: NDArray[np.generic], photometric: int, said: str
) -> None:
    data = plain_tiff(pixels, photometric)
    if importlib.util.find_spec("tifffile") is None:
        with pytest.raises(DecodeError) as caught:
            open_image(data)
        assert explain(caught.value).startswith(f"a TIFF of {said}")
        assert install_command("tiff") in explain(caught.value)
        return
    made = square(open_image(data), 48)
    if photometric == 2:
        assert np.abs(made[0] - GREY * 255).max() <= 1
    else:
        first = pixels if pixels.ndim == 2 else pixels[..., 0]
        assert np.allclose(made[0], first.astype(np.float32))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.complex64])
def test_tiffs_that_are_no_pictures_are_named(kind: type) -> None:
    pixels = GREY.astype(kind) if kind == np.complex64 else np.dstack([GREY * 99] * 5).astype(kind)
    with pytest.raises(DecodeError, match=r"a TIFF of \d × \d+ bits \((unsigned|complex), grey\)"):
        square(open_image(plain_tiff(pixels, 1)), 48)


def test_pages_are_counted_and_named() -> None:
    buffer = io.BytesIO()
    photo().save(buffer, "TIFF", save_all=True, append_images=[photo(32), photo(16)])
    paged = open_image(buffer.getvalue())
    found = facts(paged)
    assert (found.size, found.kind, found.pages) == ((64, 96), "TIFF RGB", 3)
    assert np.array_equal(square(paged, 32), square(photo(), 32))
    assert pages_finding([]) == []
    (finding,) = pages_finding(["a.tif", "b.tif"])
    assert finding.text.startswith("2 files have several pages or frames, of which the first")
    assert "'a.tif'" in finding.text


def test_an_animation_has_one_page() -> None:
    buffer = io.BytesIO()
    photo().save(buffer, "GIF", save_all=True, append_images=[photo(32)])
    assert facts(open_image(buffer.getvalue())).pages == 1


@pytest.mark.parametrize("mode", [3, 2])
def test_colours_of_16_bits_are_told(mode: int) -> None:
    """Pillow reads their upper half only; a PNG of 16 bits for each colour is written by hand."""
    grey = np.tile(np.arange(0, 4096, 64, dtype=">u2"), (8, 1))
    pixels = np.repeat(grey[..., None], mode, axis=2)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", 64, 8, 16, {3: 2, 2: 4}[mode], 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )
    kind = facts(open_image(data)).kind
    assert kind.endswith("of 16 bits")
    (finding,) = halved_finding([kind, "PNG RGB"])
    assert finding.text.startswith("1 image has 16 bits")
    assert finding.topic is Topic.INTENSITY
    assert halved_finding(["PNG RGB", "PNG I;16"]) == []


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_planes_of_16_bits_are_read_or_named(compression: str | None) -> None:
    tifffile = pytest.importorskip("tifffile")
    planes = np.random.default_rng(1).integers(0, 65_536, (3, 24, 24), dtype=np.uint16)
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, planes, photometric="rgb", planarconfig="separate", compression=compression
    )
    pixels = square(open_image(buffer.getvalue()), 24)
    assert np.abs(pixels.astype(float) - planes / 257).mean() < 1


def test_a_chain_of_pages_is_counted_to_an_end() -> None:
    buffer = io.BytesIO()
    photo(8).save(buffer, "TIFF", save_all=True, append_images=[photo(8)] * 1200)
    assert facts(open_image(buffer.getvalue())).pages == 1000


def test_a_video_behind_a_photograph_is_no_scan() -> None:
    buffer = io.BytesIO()
    photo().save(buffer, "JPEG", progressive=True)
    video = b"\xff\xda" * 10**6
    pixels = square(open_image(buffer.getvalue()), 48)
    assert np.array_equal(square(open_image(buffer.getvalue() + video), 48), pixels)
