"""DICOM files, where pydicom is installed: the first frame, as the file says it should look."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from revo_ray.data.files.decode_error import DecodeError
from revo_ray.data.files.jpeg import refuse_scans_within
from revo_ray.data.files.late_image import LateImage
from revo_ray.installation import install_command

if TYPE_CHECKING:
    from pydicom import Dataset

logging.getLogger("pydicom").addHandler(logging.NullHandler())

EXTENSIONS = frozenset({".dcm", ".dicom"})

_MOST_INFLATED = 2**28
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_DECODERS = {
    "JPEG-LS": ("pyjpegls", "jpeg_ls"),
    "JPEG 2000": ("pylibjpeg pylibjpeg-openjpeg", "openjpeg"),
    "High-Throughput": ("pylibjpeg pylibjpeg-openjpeg", "openjpeg"),
    "JPEG": ("pylibjpeg pylibjpeg-libjpeg", "libjpeg"),
}
"""Packages with which pydicom decodes transfer syntaxes, and the module that shows that they are
installed, by the beginning of the syntax's name."""


def is_dicom(data: bytes, ending: str) -> bool:
    """Whether these are the bytes of a DICOM file; old ones are only known by the ending."""
    return data[128:132] == b"DICM" or (ending in EXTENSIONS and b"\0" in data[:2])


def open_dicom(data: bytes) -> Image.Image:
    """The first frame of a DICOM file.

    Colours become RGB. Grey images get the rescale or the modality table; with a window
    or a table of values of interest they have 8 bits, otherwise these are intensities (mode F)
    where the file has more than 8 bits. MONOCHROME1, whose low values are white, is inverted.

    Raises:
        DecodeError: pydicom is not installed, or the file has no pixels that can be decoded.
        Exception: whatever pydicom raises for a damaged file.
    """
    try:
        from pydicom import dcmread
    except ImportError:
        raise DecodeError(
            f"a DICOM file (.dcm); {install_command('dicom')} to read such files"
        ) from None
    _refuse_bomb(data)
    file = dcmread(io.BytesIO(data), force=True)
    if not any(name in file for name in _PIXELS):
        kind = getattr(file.get("SOPClassUID"), "name", "")
        raise DecodeError("a DICOM file without an image" + (f": {kind}" if kind else ""))
    _name_transfer_syntax(file)
    _lift_groups(file)
    frames = int(file.get("NumberOfFrames") or 1)
    colour = file.get("SamplesPerPixel", 1) == 3 or "PALETTE" in file.PhotometricInterpretation
    grey = "L" if _shown_by_file(file) or _is_8_bit(file) else "F"
    return LateImage(
        (int(file.Columns), int(file.Rows)),
        "RGB" if colour else grey,
        "DICOM",
        frames,
        lambda: _decode(file),
    )


def _decode(file: Dataset) -> Image.Image:
    from pydicom.encaps import get_frame
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
    from pydicom.pixels.utils import pixel_array

    syntax = file.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated and syntax.name.startswith("JPEG"):
        frames = int(file.get("NumberOfFrames") or 1)
        refuse_scans_within(get_frame(file.PixelData, 0, number_of_frames=frames))
    try:
        pixels = pixel_array(file, index=0)
    except RuntimeError as error:  # no decoder, or none that succeeds
        found = (way for name, way in _DECODERS.items() if syntax.name.startswith(name))
        packages, module = next(found, ("", ""))
        if not packages or find_spec(module):
            raise
        raise DecodeError(
            f"a DICOM file in {syntax.name.partition(' (')[0]}; pip install {packages} to read it"
        ) from error
    if file.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, file)
        return Image.fromarray(_whole(pixels, 8 * pixels.itemsize))
    if pixels.ndim == 3:
        return Image.fromarray(_whole(pixels, int(file.BitsStored)))
    inverted = file.PhotometricInterpretation == "MONOCHROME1"
    if _shown_by_file(file):
        shown = _windowed(apply_modality_lut(pixels, file), file)
        return Image.fromarray(255 - shown if inverted else shown)
    if inverted and pixels.dtype.kind in "iu":
        top = 2 ** int(file.BitsStored) - 1
        pixels = (-1 if pixels.dtype.kind == "i" else top) - pixels.astype(np.int64)
    if _is_8_bit(file):
        return Image.fromarray(_whole(pixels, int(file.BitsStored)))
    return Image.fromarray(apply_modality_lut(pixels, file).astype(np.float32))


def _windowed(values: NDArray[Any], file: Dataset) -> NDArray[np.uint8]:
    """Apply the file's first window or table; its ends become black and white."""
    from pydicom.pixels.processing import apply_voi_lut

    ends = np.array([np.iinfo(np.int32).min, np.iinfo(np.int32).max])
    if file.get("VOILUTSequence") and values.dtype.kind == "f":
        values = np.rint(values).astype(np.int64)
    black, white = apply_voi_lut(ends.astype(np.result_type(values, np.int64)), file).tolist()
    shown = apply_voi_lut(values, file).astype(np.float64)
    shown = (shown - black) / ((white - black) or 1) * 255
    return np.rint(shown.clip(0, 255)).astype(np.uint8)


def _whole(pixels: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Scale unsigned integers of that many bits to 8."""
    if bits == 8:
        return pixels.astype(np.uint8)
    return np.rint(pixels * (255 / (2**bits - 1))).astype(np.uint8)


def _is_8_bit(file: Dataset) -> bool:
    """Whether the values are unsigned, of at most 8 bits, and not rescaled."""
    rescaled = (file.get("RescaleSlope", 1), file.get("RescaleIntercept", 0)) != (1, 0)
    return (
        "PixelData" in file
        and int(file.get("BitsStored", 16)) <= 8
        and not file.get("PixelRepresentation")
        and not rescaled
        and not file.get("ModalityLUTSequence")
    )


def _shown_by_file(file: Dataset) -> bool:
    """Whether a grey file has a window or a table of values of interest."""
    if not file.PhotometricInterpretation.startswith("MONOCHROME"):
        return False
    window = file.get("WindowCenter") is not None and file.get("WindowWidth") is not None
    return bool(file.get("VOILUTSequence")) or window


def _name_transfer_syntax(file: Dataset) -> None:
    """Name the encoding that pydicom has found in a file that does not say it."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if "TransferSyntaxUID" not in file.file_meta:
        implicit, little = file.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        file.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def _lift_groups(file: Dataset) -> None:
    """Bring the rescale and the window of an enhanced file's first frame to where others have them.

    Those that are for all frames come first, and the frame's own may replace them.
    """
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in list(file.get(name) or ())[:1]:
            for kind in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
                for item in list(group.get(kind) or ())[:1]:
                    file.update(item)


def _refuse_bomb(data: bytes) -> None:
    """Refuse a deflated file that would fill the memory, which pydicom inflates whole."""
    if _DEFLATED in data[:2048] and data[132:136] == b"\2\0\0\0":
        (length,) = struct.unpack_from("<I", data, 140)
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        inflate.decompress(data[144 + length :], _MOST_INFLATED)
        if inflate.unconsumed_tail:
            raise DecodeError(f"a DICOM file that unpacks to over {_MOST_INFLATED:,} bytes")
