"""The model card in Markdown: how to use an exported model, and all that is known of it."""

from __future__ import annotations

import yaml

from revo_ray.model.description import Description
from revo_ray.model.export.facts import Facts, code
from revo_ray.model.export.snippet import packages, snippet
from revo_ray.words import without_home

_BLACK_AND_WHITE = (
    "Pixels of more than 8 bits, signed or float: {low:g} becomes black and {high:g} white."
)


def model_card(facts: Facts, description: Description, to: str, name: str, members: int = 1) -> str:
    """Write the card of a model in one format.

    Args:
        facts: all that is known of the model.
        description: its input and output.
        to: `safetensors`, `onnx` or `torch-export`.
        name: file name of the exported folder or file.
        members: number of networks in it.
    """
    needs = " ".join(f'"{p}"' if ">" in p else p for p in packages(description, to))
    parts = [
        _front_matter(description),
        f"# {facts.title}",
        facts.about,
        f"## Use\n\nWithout revo-ray, after `pip install {needs}`:\n\n"
        f"```python\n{snippet(description, to, name, members)}```\n\n"
        f"With revo-ray, `revo_ray.load({name!r}).predict(...)` does the same.",
        "## Images\n\n" + _images(description),
        "## Classes\n\n" + ", ".join(f"{i} {code(x)}" for i, x in enumerate(description.labels)),
        *(f"## {heading}\n\n{text}" for heading, text in facts.sections.items()),
    ]
    return without_home("\n\n".join(parts)) + "\n"


def _front_matter(description: Description) -> str:
    values = {
        "library_name": description.library,
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", description.library, "revo-ray"],
    }
    return f"---\n# license: fill in\n{yaml.safe_dump(values, sort_keys=False)}---"


def _images(description: Description) -> str:
    size = description.image_size
    cut = {
        "crop": f"its centre square is cut out and resized to {size} × {size} pixels",
        "pad": f"it is resized to fit into {size} × {size} pixels, between two black bars",
        "stretch": f"it is resized to {size} × {size} pixels, out of proportion",
    }[description.fit]
    low, high = description.intensity or (0, 65535)
    return (
        "The model takes RGB images. `read` does what training did: an image is turned upright by "
        f"its EXIF orientation, transparent pixels are laid over white, and {cut} with Pillow's "
        "bicubic filter. A large JPEG is decoded at a reduced scale of at least twice the size. "
        f"{_BLACK_AND_WHITE.format(low=low, high=high)} Pixels without a value, DICOM, HEIC and "
        "kinds of TIFF that Pillow cannot read need revo-ray.\n\n"
        f"Normalisation is `(images / 255 - mean) / std` with mean {list(description.mean)} and "
        f"std {list(description.std)}. ONNX files and torch programs take uint8 images and "
        "normalise them; the weights in a folder take normalised images."
    )
