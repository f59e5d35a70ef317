"""The one form in which every source hands over its images: nothing is decoded yet."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GivenSplit = Literal["train", "validation", "test"]


class Picture(Protocol):
    """Where one image is: a file, an entry of an archive, or an array in memory."""

    @property
    def stamp(self) -> str | None:
        """Changes when the content may have; None: `digest` costs nothing."""

    def digest(self) -> str:
        """A hash of the content; may have to read it."""

    def open(self) -> Image.Image:
        """The image, in any mode and size; may raise whatever the decoder raises."""


@dataclass(frozen=True)
class Record:
    """One image with its label.

    Attributes:
        name: what the image is called in messages, unique in its source, valid UTF-8.
        label: the name of its class.
        picture: where the image is.
        group: what must not stand in two splits, such as a patient; None for an image alone.
        split: the split that the data set's authors put it in, if they did.
    """

    name: str
    label: str
    picture: Picture
    group: str | None = None
    split: GivenSplit | None = None


class Problem(NamedTuple):
    """An image that cannot be used, and why."""

    name: str
    cause: str


@dataclass(frozen=True)
class Source:
    """A data set.

    Attributes:
        classes: the names of the classes; a class's position is its label.
        records: one per image, in a fixed order.
        problems: images that the source knows of and cannot hand over, such as a missing file.
        warnings: what a user should know, each in one line.
    """

    classes: tuple[str, ...]
    records: tuple[Record, ...]
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ArrayPicture:
    """An image that is in memory already.

    Attributes:
        pixels: (H, W) or (H, W, 3) uint8.
    """

    pixels: NDArray[np.uint8]
    stamp: str | None = None

    def digest(self) -> str:
        """A hash of the pixels and their shape."""
        shape = str(self.pixels.shape).encode()
        return hashlib.sha256(shape + self.pixels.tobytes()).hexdigest()

    def open(self) -> Image.Image:
        """The pixels as an image."""
        return Image.fromarray(self.pixels)
