"""Real images on which an exported model is compared with the original."""

from __future__ import annotations

import warnings
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from revo_ray.data.files.decode import square
from revo_ray.data.files.intensity import shown
from revo_ray.data.sources import read_source
from revo_ray.errors import UserError
from revo_ray.model.description import Description
from revo_ray.settings.schema import DataConfig

COUNT = 32


def sample_images(
    config: DataConfig | None, description: Description
) -> tuple[NDArray[np.uint8], str]:
    """Up to 32 images (N, 3, S, S) of a data set, or parts of photographs that are installed here.

    Args:
        config: configuration of the images; None for the photographs.
        description: says how a model takes them.

    Returns:
        The images, and a description of them for people.
    """
    if config is None:
        return _photographs(description.image_size), f"{COUNT} parts of photographs"
    try:
        records = read_source(config).records
    except (UserError, OSError) as error:
        reason = f"the data set is not available here: {error}"
    else:
        pixels = []
        with warnings.catch_warnings(action="ignore"):  # Pillow warns of odd metadata
            for record in records[:: max(1, len(records) // COUNT)][:COUNT]:
                with suppress(Exception):  # decoders raise anything; the other images suffice
                    image = record.picture.open()
                    made = square(image, config.image_size, config.fit, config.max_pixels)
                    pixels.append(shown(made, description.intensity))
        if pixels:
            return np.stack(pixels), f"{len(pixels)} images of the data set"
        reason = "no image of the data set can be read"
    return _photographs(config.image_size), f"{COUNT} parts of photographs ({reason})"


def _photographs(size: int) -> NDArray[np.uint8]:
    """Cut parts out of scikit-learn's two photographs, which have 427 × 640 pixels."""
    from sklearn.datasets import load_sample_images

    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    parts = []
    for index in range(COUNT):
        left, top = 24 * (index // 2), 12 * (index // 2)
        part = photographs[index % 2].crop((left, top, left + 240, top + 240))
        parts.append(shown(square(part, size), None))
    return np.stack(parts)
