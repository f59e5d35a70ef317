"""Formats of images: the endings of their files, and the library that opens each."""

from __future__ import annotations

import functools
import importlib
import io
import posixpath
import struct
from functools import partial

from PIL import Image, PngImagePlugin, UnidentifiedImageError

from revo_ray.data.files import dicom, tiff, webp
from revo_ray.data.files.decode_error import DecodeError
from revo_ray.data.files.jpeg import refuse_scans
from revo_ray.installation import install_command

_FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "JPEG2000", "AVIF", "HEIF", "PPM"),
    *("QOI", "DDS", "PSD", "ICO", "ICNS", "PCX", "SGI", "SUN", "XBM", "XPM"),
    "TGA",  # last, for it has no mark of its own
)
"""No EPS, PDF or WMF: pages that another program draws."""

_HEIF = frozenset({".heic", ".heics", ".heif", ".heifs", ".hif"})
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1")

_TEXT = 2**26
"""Most bytes of one text or colour profile in a PNG, and of all; Pillow's own limit is 2^20."""

PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, _TEXT)
PngImagePlugin.MAX_TEXT_MEMORY = max(PngImagePlugin.MAX_TEXT_MEMORY, _TEXT)


@functools.cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read, in the order of trying."""
    Image.init()
    for plugin in ("pi_heif", "pillow_heif"):
        if "HEIF" in Image.OPEN:
            break
        try:
            importlib.import_module(plugin).register_heif_opener()
        except ImportError:
            continue
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@functools.cache
def extensions() -> frozenset[str]:
    """The file name endings of images, in lower case with their dot.

    Those of HEIC and DICOM are there without the libraries that read them: such files are told.
    """
    readable = {*formats(), "MPO"}  # MPO: several JPEGs in one file, which JPEG's reader opens
    known = Image.registered_extensions()
    pillow = (ending for ending, name in known.items() if name in readable)
    return frozenset({*pillow, *_HEIF, *dicom.EXTENSIONS})


def is_image(path: str) -> bool:
    """Whether a file's name ends as those of images do."""
    return posixpath.splitext(path)[1].lower() in extensions()


def open_image(data: bytes, path: str = "") -> Image.Image:
    """The image in a file's bytes, whose pixels are not decoded yet.

    Pillow may warn, of odd metadata for instance; a caller who wants silence catches warnings
    around all its threads, because `warnings.catch_warnings` is for the whole process.

    Args:
        data: the bytes.
        path: name of the file; old DICOM files are only known by its ending.

    Raises:
        DecodeError: there are no bytes, or a library that reads them is not installed.
        Exception: whatever a library raises for bytes that it cannot read; see `decode.explain`.
    """
    if not data:
        raise DecodeError("an empty file")
    ending = posixpath.splitext(path)[1].lower()
    if dicom.is_dicom(data, ending):
        return dicom.open_dicom(data)
    image = _identified(data)
    if image is not None:
        return image
    if tiff.is_tiff(data):
        return tiff.open_tiff(data)
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS and "HEIF" not in formats():
        raise DecodeError(
            f"a {ending or 'HEIC'} image; {install_command('heif')} to read HEIC and HEIF"
        )
    raise UnidentifiedImageError


def _identified(data: bytes) -> Image.Image | None:
    """The image as Pillow opens it; None if it knows none.

    `Image.open` would refuse large images by a limit for the whole process.
    """
    file = io.BytesIO(data)
    for name in formats():
        factory, accept = Image.OPEN[name]
        accepted = not accept or accept(data[:16])
        if not accepted or isinstance(accepted, str):  # text: the plugin lacks a library
            continue
        file.seek(0)
        if name == "WEBP":
            return webp.late(data, partial(factory, file, ""))
        try:
            image = factory(file, "")
        except (SyntaxError, IndexError, TypeError, KeyError, struct.error):
            continue
        if image.format in ("JPEG", "MPO"):
            refuse_scans(data, image.width * image.height)
        return tiff.mended(image, data) if image.format == "TIFF" else image
    return None
