"""Input and output of a model. Every exported form carries this description with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from revo_ray.data.files.decode import Fit
from revo_ray.data.files.intensity import Range
from revo_ray.errors import UserError

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
    """

    model: str
    labels: tuple[str, ...]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: Fit = "crop"
    intensity: Range | None = None

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
            "input": f"{INPUT}: (N, 3, {size}, {size}) uint8, RGB, 0 to 255; the model normalises",
            "output": f"{OUTPUT}: (N, {len(self.labels)}) float32; softmax makes probabilities",
        }

    @classmethod
    def from_strings(cls, values: Mapping[str, str], path: Path) -> Description:
        """Read the text that `to_strings` wrote into the metadata of the file `path`.

        Raises:
            UserError: a value is missing or malformed.
        """
        try:
            return cls(
                model=values["model"],
                labels=tuple(map(str, json.loads(values["labels"]))),
                image_size=int(values["image_size"]),
                mean=_floats(json.loads(values["mean"])),
                std=_floats(json.loads(values["std"])),
                fit=_fit(values.get("fit")),
                intensity=_range(json.loads(values.get("intensity") or "null")),
            )
        except (KeyError, TypeError, ValueError):
            raise UserError(
                f"{str(path)!r} has no labels in its metadata: `revo-ray export` did not write it"
            ) from None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Description:
        """Read the `config.json` of an exported folder.

        Raises:
            KeyError, TypeError, ValueError: a value is missing or malformed.
        """
        preprocessing = config["pretrained_cfg"]
        return cls(
            model=f"{config['library_name']}/{config['architecture']}",
            labels=tuple(map(str, config["label_names"])),
            image_size=int(preprocessing["input_size"][-1]),
            mean=_floats(preprocessing["mean"]),
            std=_floats(preprocessing["std"]),
            fit=_fit(config.get("fit")),
            intensity=_range(config.get("intensity")),
        )


def _fit(value: Any) -> Fit:
    """Read `data.fit`; files of older searches lack it."""
    return value if value in ("pad", "stretch") else "crop"


def _range(values: Any) -> Range | None:
    if values is None:
        return None
    low, high = _floats(values)
    return low, high


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
