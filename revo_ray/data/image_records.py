"""Image records: every source returns its images in this form, not yet decoded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GivenSplit = Literal["train", "validation", "test"]


class Picture(Protocol):
    """An image that is not yet decoded: a file, an entry of an archive or an array in memory."""

    @property
    def stamp(self) -> str | None:
        """Text that changes whenever the content may have changed; None: `digest` is cheap."""

    def digest(self) -> str:
        """Hash of the content, which may have to be read for it."""

    def load(self) -> Picture:
        """The same picture in memory: its `digest` and `open` read nothing more."""

    def open(self) -> Image.Image:
        """Open the image, in any mode and size; raises whatever the decoder raises."""


@dataclass(frozen=True, slots=True)
class Record:
    """One image with its label.

    Attributes:
        name: name for messages, unique in its source, in valid UTF-8.
        label: name of the class.
        picture: the image itself.
        group: name of the group, such as a patient, which must stay in one split; None for an
            image that stands alone.
        split: split in which the data set's authors put the image, if they did.
    """

    name: str
    label: str
    picture: Picture
    group: str | None = None
    split: GivenSplit | None = None


class Problem(NamedTuple):
    """An image that cannot be used.

    The name of an image table is a hash of these too: another wording makes another table.

    Attributes:
        name: name of the image.
        cause: clause that says why it cannot be used.
    """

    name: str
    cause: str


class Topic(IntEnum):
    """Subjects of findings, in the order in which users see them: the worst first."""

    TWO_LABELS = 1
    """One picture stands in two classes."""
    UNREADABLE = 2
    SPLITS = 3
    """Folders or values that look like splits; images left out of them."""
    GROUPS = 4
    """Images that may belong together: patients, subjects, scenes."""
    NEAR_DUPLICATES = 5
    """Near-duplicates in two splits."""
    LABELS = 6
    """Labels that differ little, or say that there is none."""
    MASKS = 7
    """Images that may be masks of others."""
    CLASSES = 8
    """Rare classes, and classes of very different sizes."""
    INTENSITY = 9
    """The range of pixels of more than 8 bits."""
    SHAPES = 10
    """Sizes, aspects and modes."""
    OTHER = 11


@dataclass(frozen=True)
class Finding:
    """Something about the images that a user should know before a search.

    Attributes:
        topic: its subject.
        text: one line, which names the key that settles it, if one does.
        key: that key, such as `data.splits`.
    """

    topic: Topic
    text: str
    key: str | None = None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Source:
    """A data set.

    Attributes:
        classes: class names; labels are positions in this tuple.
        records: one record per image, in a fixed order.
        problems: images that the source names and cannot return, such as a missing file.
        warnings: findings that the user should see.
    """

    classes: tuple[str, ...]
    records: tuple[Record, ...]
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Finding, ...] = ()


@dataclass(frozen=True, eq=False)
class ArrayPicture:
    """An image in memory.

    Attributes:
        pixels: (H, W) or (H, W, 3) uint8.
    """

    pixels: NDArray[np.uint8]
    stamp: str | None = None

    def digest(self) -> str:
        """SHA-256 of the pixels and their shape."""
        shape = str(self.pixels.shape).encode()
        return hashlib.sha256(shape + self.pixels.tobytes()).hexdigest()

    def load(self) -> ArrayPicture:
        """Return the picture, which is in memory."""
        return self

    def open(self) -> Image.Image:
        """Return the pixels as an image."""
        return Image.fromarray(self.pixels)
