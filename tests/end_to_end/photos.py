"""Folders of photographs as phones make them: crops of scikit-learn's two pictures, in two classes.

`python -m tests.end_to_end.photos FOLDER` writes 60 JPEGs of 12 megapixels.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import ExifTags, Image
from sklearn.datasets import load_sample_image

PICTURES = {"temple": "china.jpg", "flower": "flower.jpg"}
SIZE = (4000, 3000)
"""Width and height of a photograph of 12 megapixels, as a camera holds it."""
COUNTS = MappingProxyType({"temple": 30, "flower": 30})
_TURNS = {
    1: (),
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_90,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_270,),
}
"""Turns that an upright picture is stored with under each EXIF orientation."""


def write_photos(
    folder: Path, counts: Mapping[str, int] = COUNTS, size: tuple[int, int] = SIZE
) -> Path:
    """Write a folder for each class, with crops in every EXIF orientation; returns `folder`."""
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        picture = Image.fromarray(load_sample_image(PICTURES[name]))
        (folder / name).mkdir(parents=True)
        for number in range(count):
            write_photo(folder / name / f"IMG_{number:04d}.jpg", picture, rng, number % 8 + 1, size)
    return folder


def write_photo(
    path: Path,
    picture: Image.Image,
    rng: np.random.Generator,
    orientation: int,
    size: tuple[int, int],
) -> None:
    """Write a crop of a picture that is upright under its EXIF orientation."""
    width = int(rng.integers(240, 480))
    height = width * size[1] // size[0]
    left, top = rng.integers(0, (picture.width - width, picture.height - height))
    crop = picture.resize(size, box=(left, top, left + width, top + height))
    for turn in _TURNS[orientation]:
        crop = crop.transpose(turn)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    crop.save(path, quality=85, exif=exif)


if __name__ == "__main__":
    write_photos(Path(sys.argv[1]))
