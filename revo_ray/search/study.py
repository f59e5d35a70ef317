"""A study: methods × models × data × fractions × seeds, one search for each."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import Field, ValidationError

from revo_ray.config import SearchConfig, Section
from revo_ray.errors import UserError
from revo_ray.storage import Storage

FILE = "study.yaml"

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
    seeds: list[int] = Field([0])
    """Each is the seed of the split, of the training and of the search."""


class StudyConfig(SearchConfig):
    """One study, whole: a search's keys, and what is varied.

    Example:
        >>> study = StudyConfig.load("study.yaml")            # doctest: +SKIP
        >>> [search.name for search in study.searches()]      # doctest: +SKIP
    """

    KIND = "study"

    study: StudyOptions

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
        for source, model, fraction, seed, method in itertools.product(
            data, models, fractions, options.seeds, options.methods
        ):
            parts = [
                _label(source, "source", self.data.source),
                f"{fraction:g}",
                _label(model, "name", self.model.name).rpartition("/")[2],
                _label(method, "name", self.method.name),
                f"s{seed}",
            ]
            changes = {
                "data": _keys(source, "source") | {"train_fraction": fraction, "seed": seed},
                "model": _keys(model, "name"),
                "method": _keys(method, "name"),
                "train": {"seed": seed},
                "search": {"seed": seed},
            }
            yield re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(parts)).lstrip("._-"), changes


def write_study(folder: Storage, config: StudyConfig, *, resume: bool) -> None:
    """Write `study.yaml` into a study's folder, for those who read it later.

    A resumed study may have more searches than before, or fewer; each search checks its own keys.

    Raises:
        UserError: there is a study already, and `resume` is False.
        OSError: the storage is full or unreachable.
    """
    if not resume and folder.exists(FILE):
        raise UserError(
            f"{folder.uri} already holds a study; go on with --resume (resume=True), or choose "
            f"another name with --set name={config.name}-2"
        )
    values = config.model_dump(mode="json")
    folder.write(FILE, yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode())


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
