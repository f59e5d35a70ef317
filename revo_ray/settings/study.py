"""A study: one search for each combination of method, model, data set, fraction and seed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from revo_ray.errors import UserError
from revo_ray.settings.loading import explain
from revo_ray.settings.places import KeysOf
from revo_ray.settings.schema import (
    DataConfig,
    MethodConfig,
    ModelConfig,
    SearchConfig,
    Section,
)
from revo_ray.storage import Storage

SEEDED = ("data", "train", "search")
"""Sections whose seed `study.seeds` sets."""

Variant = str | dict[str, Any]
"""A name, or a mapping of the section's keys. Its key `label` names the variant."""
MethodVariant = str | Annotated[dict[str, Any], KeysOf(MethodConfig)]
ModelVariant = str | Annotated[dict[str, Any], KeysOf(ModelConfig)]
DataVariant = str | Annotated[dict[str, Any], KeysOf(DataConfig)]


class StudyOptions(Section):
    """The values that vary. All searches share the other keys of the file."""

    methods: list[MethodVariant] = Field(min_length=1)
    """Values of `method:`. Each is a name, or a mapping with `name` and the method's own keys."""
    models: list[ModelVariant] = Field([])
    """Values of `model:`. Empty: the file's own."""
    data: list[DataVariant] = Field([])
    """Values of `data:`. Each is a source, or a mapping with `source`, `root` and so on. Empty: the
    file's own."""
    fractions: list[float | Literal["rest", "auto"]] = Field([])
    """Values of `data.train_fraction`. Empty: the file's own."""
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field([])
    """Values of `data.seed`, `train.seed` and `search.seed`, the same for all three. Empty: the
    file's own."""

    @model_validator(mode="after")
    def _varied_once(self) -> StudyOptions:
        for variant in self.data:
            if isinstance(variant, dict) and (twice := {"train_fraction", "seed"} & set(variant)):
                raise ValueError(
                    f"study.data sets {min(twice)}; use study.fractions or study.seeds instead"
                )
        return self


class StudyConfig(SearchConfig):
    """Configuration of one study: the keys of a search, and `study:` with the values that vary.

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
        """The searches. Those that share images and network follow one another.

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
                fraction if isinstance(fraction, str) else f"{fraction:g}",
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
        line = explain(error, SearchConfig)
        raise UserError(f"{changes['name']}: {line}", key="study") from None
