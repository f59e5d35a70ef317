"""Images as a user has them: paths, Pillow's images and arrays, each as training reads it."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from revo_ray.credentials import refuse_credentials
from revo_ray.data.files.archive import is_archive
from revo_ray.data.files.decode import explain, facts_and_square
from revo_ray.data.files.decode_error import DecodeError
from revo_ray.data.files.formats import open_image
from revo_ray.data.files.image_files import File, ImageFiles
from revo_ray.data.files.intensity import shown
from revo_ray.data.files.listing import name_as_text
from revo_ray.data.files.room import FILES, file_room
from revo_ray.data.files.stored_file import StoredFile
from revo_ray.data.image_records import Problem
from revo_ray.errors import UserError
from revo_ray.model.description import Description

_CLOSED = "it is closed; open it again, or call its load() before it is closed"


@dataclass(frozen=True)
class Picture:
    """An image that is not decoded yet.

    Attributes:
        name: its path, or its place in a sequence: `image 3`.
        open: opens it; raises whatever a decoder raises.
        size: size of its file in bytes; 0 in memory.
    """

    name: str
    open: Callable[[], Image.Image]
    size: int = 0


def pixels_of(picture: Picture, description: Description) -> NDArray[np.uint8] | Problem:
    """The pixels (3, S, S) that a model sees of an image, or the reason why it cannot be read."""
    try:
        with FILES.taking(file_room(picture.size)):
            size, fit, most = description.image_size, description.fit, description.max_pixels
            _, pixels = facts_and_square(picture.open, size, fit, most)
        return shown(pixels, description.intensity)
    except Exception as error:  # decoders raise anything
        return Problem(picture.name, explain(error))


def pictures_of(images: Any, *, ranged: bool) -> Iterator[Picture | Problem]:
    """Images as a user gives them, one after the other.

    Args:
        images: a path of an image, a folder or an archive, an image of Pillow's, an array, or any
            number of these; see `Model.predict`.
        ranged: whether the model has a range of intensities; see `image_of`.

    Raises:
        UserError: something is none of these, or there is nothing at a path.
    """
    for number, image in enumerate(_each(images)):
        if isinstance(image, str | os.PathLike):
            files, problems = find_images([os.fsdecode(image)])
            yield from problems
            yield from map(picture_of_file, files)
        elif isinstance(image, Image.Image):
            yield _held(image, f"image {number}")
        elif isinstance(image, np.ndarray):
            yield Picture(f"image {number}", partial(image_of, image, ranged=ranged))
        else:
            raise UserError(
                f"image {number} is a {type(image).__name__}; give a path, an image of Pillow's, "
                "or an array of numpy (H, W), (H, W, 3) or (H, W, 4)"
            )


def find_images(names: Sequence[str]) -> tuple[list[File], list[Problem]]:
    """Find image files by name, and those in named folders and archives.

    Returns:
        The images, those of a folder sorted by path, and the files that cannot be used. All have
        paths that begin with the name under which they were found.

    Raises:
        UserError: a name does not exist, or a folder holds no image.
    """
    images: list[File] = []
    problems: list[Problem] = []
    for name in names:
        refuse_credentials(name, "IMAGES")
        path = os.path.abspath(os.path.expanduser(name))
        if "://" not in name and not is_archive(path) and (status := _file_at(path, name)):
            size, stored = status.st_size, StoredFile.on_disk(path, status)
            images.append(File(name_as_text(name), size, stored))
            continue
        try:
            files = ImageFiles.open(name)
        except UserError as error:  # its configuration key says nothing here
            raise UserError(str(error.args[0])) from None
        if not files.images() and not files.problems:
            raise UserError(f"{name!r} holds no image")
        start = name_as_text(name)
        images += [replace(file, path=os.path.join(start, file.path)) for file in files.images()]
        problems += [Problem(os.path.join(start, p.name), p.cause) for p in files.problems]
    return images, problems


def _file_at(path: str, name: str) -> os.stat_result | None:
    """The status of the file that a user names; None if there is something else.

    Raises:
        UserError: there is nothing.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"no such file or folder {name!r}") from None
    except (OSError, ValueError):  # who lists a folder says why
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def picture_of_file(file: File) -> Picture:
    """An image file that was found."""
    return Picture(file.path, file.open, file.size)


def image_of(pixels: NDArray[Any], *, ranged: bool) -> Image.Image:
    """An array as the image that a file of the same pixels would be.

    Grey pixels of 16 bits keep their values, colours of 16 bits lose their lower 8, as those of
    files do. Floats are from 0 (black) to 1 (white). If the model has a range of intensities,
    grey floats and integers are values in it.

    Args:
        pixels: (H, W), (H, W, 1) grey, (H, W, 2) with alpha, (H, W, 3) RGB or (H, W, 4) RGBA.
        ranged: whether the model has a range of intensities.

    Raises:
        DecodeError: the array has another shape, type or range.
    """
    shape, kind = pixels.shape, pixels.dtype
    if pixels.ndim == 3 and shape[2] == 1:
        pixels = pixels[:, :, 0]
    if not pixels.size or (pixels.ndim != 2 and (pixels.ndim != 3 or shape[2] not in (2, 3, 4))):
        raise DecodeError(f"an array of shape {shape}; give (H, W), (H, W, 3) or (H, W, 4)")
    if kind.kind not in "buif":
        raise DecodeError(f"an array of {kind}; give uint8, uint16 or float")
    if kind == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    elif pixels.ndim == 2 and (kind == np.uint16 or (ranged and kind != np.uint8)):
        pixels = pixels.astype(np.float32)
    elif kind == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    elif kind.kind == "f":
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise DecodeError("floats outside 0 … 1; give floats from 0 to 1, or uint8")
        pixels = np.rint(pixels * 255).astype(np.uint8)
    elif kind != np.uint8:
        raise DecodeError(f"an array of {kind}; give uint8, uint16, or floats from 0 to 1")
    return Image.fromarray(np.ascontiguousarray(pixels))


def _each(images: Any) -> Iterable[Any]:
    """The images in what a user gives, which may be a single one."""
    if isinstance(images, str | os.PathLike | Image.Image):
        return [images]
    if isinstance(images, np.ndarray) and images.dtype.kind in "OU":
        return images if images.ndim else [images.item()]
    if isinstance(images, np.ndarray) and images.ndim != 4:
        return [images]
    if isinstance(images, bytes | io.IOBase):
        return [images]
    try:
        return iter(images)
    except TypeError:
        return [images]


def _held(image: Image.Image, name: str) -> Picture | Problem:
    """An image of Pillow's, which is left as it is.

    An image whose file is open and not decoded yet is read from that file again: only so are a
    JPEG's scale and the kinds that Pillow reads in part the same as in training. Others are copied
    at once: an iterator over frames gives the same image again and again.
    """
    file = getattr(image, "fp", None)
    try:
        if getattr(image, "tile", None) and file is not None and image.tell() == 0:
            place = file.tell()
            file.seek(0)
            content = file.read()
            file.seek(place)
            return Picture(name, lambda: open_image(content, str(getattr(image, "filename", ""))))
        copied = image.copy()
    except Exception as error:  # decoders raise anything; of a closed file an assertion fails
        closed = isinstance(error, AssertionError) or "closed" in str(error)
        return Problem(name, _CLOSED if closed else explain(error))
    return Picture(name, lambda: copied)
