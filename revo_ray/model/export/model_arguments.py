"""Checks the `model_args` of an exported folder, with which other programs build its network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from revo_ray.model.description import Description
from revo_ray.settings.limits import LARGEST_SIDE

MOST_NUMBERS = 256
"""Most numbers in the value of an argument."""
_POOLING = re.compile("[a-z0-9_]{0,32}")

_FLAGS = ("always_partition", "fc_norm", "use_fc_norm", "distillation")
_SIZES = (
    *("patch_size", "window_size"),
    *("transformer_window_size", "transformer_grid_size", "transformer_partition_ratio"),
)
_TIMM = ("img_size", "in_chans", "num_classes", "global_pool", *_FLAGS, *_SIZES)
"""Arguments that timm records of a network which was given a head and another image size."""
_TORCHVISION = ("image_size", "aux_logits", "init_weights", "transform_input")


def check_arguments(config: Mapping[str, Any], description: Description) -> dict[str, Any]:
    """Check that arguments are of those that `export` writes and agree with the description.

    revo-ray builds the network from the description alone. An argument that says otherwise is
    refused: it would fetch weights, open a file, or belong to another network.

    Args:
        config: the `config.json` of a folder.
        description: the description in it.

    Returns:
        The arguments.

    Raises:
        ValueError: naming the argument.
    """
    arguments = config.get("model_args", {})
    if not isinstance(arguments, dict):
        raise ValueError("its model_args are no mapping")
    known = _TIMM if description.library == "timm" else _TORCHVISION
    size, classes = description.image_size, len(description.labels)
    for name, value in arguments.items():
        if name not in known:
            raise ValueError(
                f"its model_args name {str(name)[:40]!r}, which export does not write; take it out "
                "of config.json if you trust whoever made the folder"
            )
        fits = {
            "img_size": _same(value, (size, [size, size])),
            "image_size": _same(value, (size,)),
            "in_chans": _same(value, (3,)),
            "num_classes": _same(value, (classes,)),
            "aux_logits": value is False,
            "init_weights": value is False,
            "transform_input": type(value) is bool,
            "global_pool": isinstance(value, str) and bool(_POOLING.fullmatch(value)),
        }.get(name, type(value) is bool if name in _FLAGS else _is_size(value))
        if not fits:
            raise ValueError(f"its model_args have a {name} that export does not write")
    return arguments


def _same(value: Any, wanted: tuple[Any, ...]) -> bool:
    return type(value) in (int, list) and value in wanted


def _is_size(value: Any) -> bool:
    """Whether a value is a side in pixels or patches, or a list of sides or of pairs."""
    rows = value if isinstance(value, list) else [value]
    sides = [side for row in rows for side in (row if isinstance(row, list) else [row])]
    return 1 <= len(sides) <= MOST_NUMBERS and all(
        type(side) is int and 1 <= side <= LARGEST_SIDE for side in sides
    )
