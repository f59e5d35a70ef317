"""TIFF files that Pillow reads wrongly or not at all."""

from __future__ import annotations

import io
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

from revo_ray.data.files.decode_error import DecodeError
from revo_ray.data.files.late_image import LateImage
from revo_ray.installation import install_command

# A damaged file is an error here, which has its own line: tifffile logs nothing.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_RAW_MODES = {
    (b"II", (1,), (32,)): "F;32",  # Pillow would take it for signed
    (b"MM", (1,), (32,)): "F;32B",
    (b"II", (2,), (8,)): "F;8S",  # Pillow would take it for unsigned
    (b"MM", (2,), (8,)): "F;8S",
    (b"II", (3,), (64,)): "F;64F",
    (b"MM", (3,), (64,)): "F;64BF",
}
"""Raw modes of grey by byte order, sample format and bits, where Pillow's reader has none."""

for (_order, _format, _bits), _raw in _RAW_MODES.items():
    TiffImagePlugin.OPEN_INFO.setdefault((_order, 1, _format, 1, _bits, ()), ("F", _raw))

TiffImagePlugin.OPEN_INFO.setdefault((b"MM", 0, (1,), 1, (16,), ()), ("I;16B", "I;16B"))

_NO_DATA = 42113  # GDAL's tag
_WEBP = 50001  # known to Pillow's reader, but not to its libtiff

_KINDS = {1: "unsigned", 2: "signed", 3: "float", 5: "complex", 6: "complex"}
_COLOURS = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "Lab"}
_COMPRESSIONS = {
    **{5: "LZW", 6: "old-style JPEG", 7: "JPEG", 8: "deflate", 32773: "PackBits"},
    **{33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA"},
    **{22610: "JPEG XR", 34933: "PNG", 34934: "JPEG XR", 50000: "Zstandard", _WEBP: "WebP"},
    **{50002: "JPEG XL", 52546: "JPEG XL"},
}


def is_tiff(data: bytes) -> bool:
    """Whether a file begins as TIFF and BigTIFF files do."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def mended(image: Image.Image, data: bytes) -> Image.Image:
    """The image of a TIFF that Pillow has opened, with the raw mode that its tags ask for."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return image
    tags: Any = image.tag_v2
    if tags.get(TiffImagePlugin.COMPRESSION) == _WEBP or _is_misread(image, tags):
        return open_tiff(data)
    if image.mode in ("L", "F") or image.mode.startswith("I"):
        bits = tuple(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
        kind = tuple(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,)))
        raw = _RAW_MODES.get((tags.prefix, kind, bits))
        if raw is not None:
            image._mode = "F"
        image.tile = [_with_raw_mode(tile, raw) for tile in image.tile]
        white_is_zero = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
        if image.mode != "L" and white_is_zero and kind == (1,):
            image.info["white"] = 2 ** bits[0] - 1
        if _NO_DATA in tags:
            image.info["nodata"] = _number(tags[_NO_DATA])
    return image


def _is_misread(image: Image.Image, tags: Any) -> bool:
    """Whether Pillow takes the planes of 16 bits, which lie one after the other, for 8 bits."""
    wide = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) > 8
    planes = tags.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2
    return wide and planes and len(image.getbands()) > 1


def open_tiff(data: bytes) -> Image.Image:
    """The first page of a TIFF that Pillow cannot open, where tifffile is installed.

    Raises:
        DecodeError: it is not, or does not suffice; the error says what the file is.
        Exception: the file is damaged.
    """
    described = _described(data)
    try:
        from tifffile import TiffFile
    except ImportError:
        raise DecodeError(f"{described}; {install_command('tiff')} to read it") from None
    with TiffFile(io.BytesIO(data)) as file:
        pages = file.pages
        first = pages.first
        size = first.imagewidth, first.imagelength
        count = len(pages)
    return LateImage(size, "F", "TIFF", count, lambda: _decode(data, described))


def _with_raw_mode(tile: Any, raw: str | None) -> Any:
    """A tile of that raw mode, or its own; libtiff's pixels are in this machine's byte order."""
    codec, extents, offset, (own, *others) = tile
    raw = raw or own
    if codec == "libtiff" and raw.startswith(("F;", "I;32")):
        raw = raw.replace("B", "N")
    return ImageFile._Tile(codec, extents, offset, (raw, *others))


def _described(data: bytes) -> str:
    """Describe a TIFF in a few words."""
    if data[:4] == b"MM\0+":
        return "a big-endian BigTIFF"
    length = 16 if data[2:3] == b"+" else 8
    tags = TiffImagePlugin.ImageFileDirectory_v2(data[:length])
    file = io.BytesIO(data)
    file.seek(tags.next)
    tags.load(file)
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
    samples = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, len(bits))
    kind = _KINDS.get(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0], "")
    colour = _COLOURS.get(tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 1), "other")
    compression = tags.get(TiffImagePlugin.COMPRESSION, 1)
    packed = _COMPRESSIONS.get(compression, f"compression {compression}")
    text = f"a TIFF of {samples} × {bits[0]} bits ({kind}, {colour}"
    return text + (")" if compression == 1 else f", {packed})")


def _decode(data: bytes, described: str) -> Image.Image:
    from tifffile import TiffFile

    with TiffFile(io.BytesIO(data)) as file:
        page: Any = file.pages[0]
        try:
            pixels = page.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            raise DecodeError(f"{described}; pip install imagecodecs to read it") from None
        axes, colour, palette = page.axes, int(page.photometric), page.colormap
    if "S" in axes:
        pixels = np.moveaxis(pixels, axes.index("S"), -1)
    if pixels.dtype.kind == "c" or pixels.ndim not in (2, 3):
        raise DecodeError(f"{described}, which is no picture")
    if colour == 3 and palette is not None and pixels.ndim == 2:
        return Image.fromarray(_to_8_bits(np.moveaxis(palette[:, pixels], 0, -1), described))
    if pixels.ndim == 3 and colour in (5, 6, 8) and pixels.dtype == np.uint8:
        mode, samples = {5: ("CMYK", 4), 6: ("RGB", 3), 8: ("LAB", 3)}[colour]
        whole = np.ascontiguousarray(pixels[..., :samples])
        return Image.frombytes(mode, whole.shape[1::-1], whole.tobytes())
    if pixels.ndim == 3 and colour in (2, 6):
        return Image.fromarray(_to_8_bits(pixels[..., :3], described))
    if pixels.ndim == 3 and pixels.shape[2] > 2:
        raise DecodeError(f"{described}, of which no three are red, green and blue")
    grey = pixels[..., 0] if pixels.ndim == 3 else pixels
    if colour == 0 and grey.dtype.kind == "u":
        grey = np.iinfo(grey.dtype).max - grey
    return Image.fromarray(grey if grey.dtype == np.uint8 else grey.astype(np.float32))


def _to_8_bits(colours: NDArray[Any], described: str) -> NDArray[np.uint8]:
    """Scale colours by what their type holds; floats are 0 … 1."""
    if colours.dtype.kind == "u":
        most = float(np.iinfo(colours.dtype).max)
    elif colours.dtype.kind == "f" and colours.min() >= 0 and colours.max() <= 1:
        most = 1.0
    else:
        raise DecodeError(f"{described}, whose colours are not in the range 0 … 1")
    return np.rint(colours.astype(np.float64) * (255 / most)).astype(np.uint8)


def _number(text: Any) -> float:
    try:
        return float(str(text).strip("\0 "))
    except ValueError:
        return float("nan")
