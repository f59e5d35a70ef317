"""Input and output of a model. Every exported form carries this description with it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from revo_ray.data.files.decode import Fit
from revo_ray.data.files.intensity import Range
from revo_ray.errors import UserError
from revo_ray.settings.limits import LARGEST, LARGEST_SIDE, MAX_PIXELS
from revo_ray.settings.safe_json import read_json

INPUT = "images"
OUTPUT = "logits"
INTERPOLATION = "bicubic"


@dataclass(frozen=True)
class Description:
    """Input and output of an image classifier.

    Attributes:
        model: `timm/NAME` or `torchvision/NAME`.
        labels: (C,) names of the classes, in the order of the logits.
        image_size: side S in pixels. Images become squares of S × S.
        mean, std: normalisation of RGB in [0, 1].
        fit: `data.fit` of the search.
        intensity: values that became black and white in images of more than 8 bits, signed or
            float; None if the search saw none.
        max_pixels: `data.max_pixels` of the search.
    """

    model: str
    labels: tuple[str, ...]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: Fit = "crop"
    intensity: Range | None = None
    max_pixels: int = MAX_PIXELS

    @property
    def library(self) -> str:
        """`timm` or `torchvision`."""
        return self.model.partition("/")[0]

    @property
    def architecture(self) -> str:
        """The model's name in its library, without the tag of pretrained weights."""
        return self.model.partition("/")[2].partition(".")[0]

    def to_strings(self) -> dict[str, str]:
        """Convert to text by name, with lists and numbers in JSON; `from_strings` reads it."""
        size = self.image_size
        return {
            "model": self.model,
            "labels": json.dumps(self.labels, ensure_ascii=False),
            "image_size": str(size),
            "mean": json.dumps(self.mean),
            "std": json.dumps(self.std),
            "interpolation": INTERPOLATION,
            "fit": self.fit,
            "intensity": json.dumps(self.intensity),
            "max_pixels": str(self.max_pixels),
            "input": f"{INPUT}: (N, 3, {size}, {size}) uint8, RGB, 0 to 255; the model normalises",
            "output": f"{OUTPUT}: (N, {len(self.labels)}) float32; softmax makes probabilities",
        }

    @classmethod
    def from_strings(cls, values: Mapping[str, str], path: str) -> Description:
        """Read the text that `to_strings` wrote into the metadata of the file `path`.

        Raises:
            UserError: a value is missing or malformed.
        """
        try:
            return checked_description(
                model=values["model"],
                labels=read_json(values["labels"]),
                image_size=read_json(values["image_size"]),
                mean=read_json(values["mean"]),
                std=read_json(values["std"]),
                fit=values.get("fit"),
                intensity=read_json(values.get("intensity") or "null"),
                max_pixels=read_json(values.get("max_pixels") or "null"),
            )
        except (KeyError, TypeError, ValueError):
            raise UserError(
                f"{path!r} has no labels in its metadata: `revo-ray export` did not write it"
            ) from None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Description:
        """Read the `config.json` of an exported folder.

        Raises:
            KeyError, TypeError, ValueError: a value is missing or malformed.
        """
        preprocessing = config["pretrained_cfg"]
        return checked_description(
            model=f"{config['library_name']}/{config['architecture']}",
            labels=config["label_names"],
            image_size=preprocessing["input_size"][-1],
            mean=preprocessing["mean"],
            std=preprocessing["std"],
            fit=config.get("fit"),
            intensity=config.get("intensity"),
            max_pixels=config.get("max_pixels"),
        )


def checked_description(
    model: Any,
    labels: Any,
    image_size: Any,
    mean: Any,
    std: Any,
    fit: Any,
    intensity: Any,
    max_pixels: Any,
) -> Description:
    """A description of values that a file holds.

    Raises:
        TypeError, ValueError: one of them is malformed.
    """
    if not isinstance(labels, list) or not labels or not all(type(x) is str for x in labels):
        raise ValueError("labels are a list of texts")
    "".join(labels).encode()  # half of a surrogate pair cannot be written
    if type(image_size) is not int or not 1 <= image_size <= LARGEST_SIDE:
        raise ValueError("an image size is a number of pixels")
    deviations = _floats(std, 3)
    if min(deviations) <= 0:
        raise ValueError("deviations are above 0")
    limits = None
    if intensity is not None:
        low, high = _floats(intensity, 2)
        if low > high:
            raise ValueError("black is not above white")
        limits = low, high
    most = MAX_PIXELS if max_pixels is None else max_pixels  # older files lack it
    if type(most) is not int or not 1 <= most <= LARGEST:
        raise ValueError("the most pixels are a number from 1 on")
    return Description(
        model=str(model),
        labels=tuple(labels),
        image_size=image_size,
        mean=_floats(mean, 3),
        std=deviations,
        fit=fit if fit in ("pad", "stretch") else "crop",  # files of older searches lack it
        intensity=limits,
        max_pixels=most,
    )


def _floats(values: Any, count: int) -> tuple[float, ...]:
    """So many finite numbers."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != count:
        raise ValueError(f"{count} numbers are needed")
    try:
        numbers = tuple(float(value) for value in values)
    except OverflowError:
        raise ValueError("numbers are finite") from None
    if not all(map(math.isfinite, numbers)):
        raise ValueError("numbers are finite")
    return numbers
