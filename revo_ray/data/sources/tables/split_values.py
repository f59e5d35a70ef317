"""Splits by the values of a table's column, or by the names of its files."""

from __future__ import annotations

import re
from collections.abc import Iterable

from revo_ray.data.image_records import GivenSplit
from revo_ray.data.sources.class_and_split_names import named_splits
from revo_ray.data.sources.root import quoted
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig


def split_values(values: Iterable[str], config: DataConfig, place: str) -> dict[str, GivenSplit]:
    """Map the values of a column to splits; empty if `data.splits` is `drawn` or {}.

    A split of the mapping `data.splits` may name several values: `{train: "0, 1, 2"}`.

    Args:
        values: the values; an empty one has no split.
        config: configuration of the images.
        place: column or files that hold them, for messages.

    Raises:
        UserError: a value is no split's.
    """
    if config.splits in ("drawn", {}):
        return {}
    names = [value for value in dict.fromkeys(values) if value]
    found: dict[str, GivenSplit] = {}
    if isinstance(config.splits, str):
        found = named_splits(names, config.splits)
    else:
        missing: dict[GivenSplit, str] = {}
        for split, text in config.splits.items():
            wanted = {_plain(part) for part in (text, *text.split(","))}
            matches = [name for name in names if _plain(name) in wanted]
            found |= dict.fromkeys(matches, split)
            if not matches:
                missing[split] = text
        others = [name for name in names if name not in found]
        found |= named_splits(others, missing)
        others = [name for name in names if name not in found]
        usual = named_splits(others, "given")
        found |= {n: split for n, split in usual.items() if split not in config.splits}
    if unknown := [name for name in names if name not in found]:
        they = "is no split" if len(unknown) == 1 else "are no splits"
        raise UserError(
            f"{quoted(unknown)} in {place} {they}"
            '; say which are: data.splits: {train: "NAME, NAME", validation: NAME, test: NAME}, or '
            "draw splits with data.splits: drawn",
            key="data.splits",
        )
    return found


def _plain(value: str) -> str:
    """Write whole numbers in one way: `1.0` and `01` are `1`."""
    value = value.strip().casefold()
    number = re.fullmatch(r"0*(\d+)(\.0*)?", value)
    return number[1] if number else value
