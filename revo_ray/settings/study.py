"""A study: methods × models × data × fractions × seeds, one search for each."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from revo_ray.errors import UserError
from revo_ray.settings.schema import SearchConfig, Section
from revo_ray.storage import Storage

SEEDED = ("data", "train", "search")
"""The sections whose seeds `study.seeds` gives."""

Variant = str | dict[str, Any]
"""A name, or a mapping of the section's keys; `label` in it names the variant."""


class StudyOptions(Section):
    """What is varied; each search takes the other keys of the file as they are."""

    methods: list[Variant] = Field(min_length=1)
    """Of `method:`; a name or a mapping with `name` and the method's own keys."""
    models: list[Variant] = Field([])
    """Of `model:`; empty: the file's own."""
    data: list[Variant] = Field([])
    """Of `data:`; a source or a mapping with `source`, `root` and so on; empty: the file's own."""
    fractions: list[float] = Field([])
    """Of `data.train_fraction`; empty: the file's own."""
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field([])
    """Each is the seed of the split, the training and the search; empty: the file's own seeds."""

    @model_validator(mode="after")
    def _varied_once(self) -> StudyOptions:
        for variant in self.data:
            if isinstance(variant, dict) and (twice := {"train_fraction", "seed"} & set(variant)):
                raise ValueError(
                    f"{min(twice)} stands in study.data; vary it by study.fractions or study.seeds"
                )
        return self


class StudyConfig(SearchConfig):
    """One study, whole: a search's keys, and what is varied.

    Example:
        >>> study = StudyConfig.load("study.yaml")            # doctest: +SKIP
        >>> [search.name for search in study.searches()]      # doctest: +SKIP
    """

    KIND = "study"

    study: StudyOptions

    @model_validator(mode="after")
    def _seeded_once(self) -> StudyConfig:
        own = [name for name in SEEDED if "seed" in getattr(self, name).model_fields_set]
        if self.study.seeds and own:
            raise ValueError(f"{own[0]}.seed would be overridden by study.seeds; give one of them")
        return self

    def searches(self) -> list[SearchConfig]:
        """The searches, with those that share images and network side by side.

        Raises:
            UserError: a variant does not fit its section, or two searches are the same.
        """
        base = self.model_dump(mode="json", exclude={"study"})
        base["storage"] = Storage(self.storage).child(self.name).uri
        found: dict[str, SearchConfig] = {}
        for name, changes in self._grid():
            if name in found:
                raise UserError(
                    f"two searches would be called {name}; give one variant a `label`", key="study"
                )
            found[name] = _merged(base, changes | {"name": name})
        return list(found.values())

    def _grid(self) -> Iterator[tuple[str, dict[str, Any]]]:
        options = self.study
        data = options.data or [self.data.model_dump(mode="json", exclude_unset=True)]
        models = options.models or [self.model.model_dump(mode="json", exclude_unset=True)]
        fractions = options.fractions or [self.data.train_fraction]
        seeds: Sequence[int | None] = options.seeds or [None]
        for source, model, fraction, seed, method in itertools.product(
            data, models, fractions, seeds, options.methods
        ):
            seeded = {} if seed is None else {"seed": seed}
            parts = [
                _label(source, "source", self.data.source),
                f"{fraction:g}",
                _label(model, "name", self.model.name).rpartition("/")[2],
                _label(method, "name", self.method.name),
                f"s{self.data.seed if seed is None else seed}",
            ]
            changes = {
                "data": _keys(source, "source") | {"train_fraction": fraction} | seeded,
                "model": _keys(model, "name"),
                "method": _keys(method, "name"),
                "train": seeded,
                "search": seeded,
            }
            yield re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(parts)).lstrip("._-"), changes


def _label(variant: Variant, key: str, default: str) -> str:
    if isinstance(variant, str):
        return variant
    return str(variant.get("label") or variant.get(key) or default)


def _keys(variant: Variant, key: str) -> dict[str, Any]:
    if isinstance(variant, str):
        return {key: variant}
    return {name: value for name, value in variant.items() if name != "label"}


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> SearchConfig:
    values = {
        key: {**value, **changes.get(key, {})} if isinstance(value, dict) else value
        for key, value in base.items()
    }
    values["name"] = changes["name"]
    try:
        return SearchConfig.model_validate(values)
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(str(part) for part in detail["loc"])
        message = detail["msg"].removeprefix("Value error, ")
        raise UserError(f"{changes['name']}: {where}: {message}", key="study") from None
