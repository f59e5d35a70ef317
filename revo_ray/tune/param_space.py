"""ParamSpace: the `param_space` of a `Tuner` as a space of variables."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from revo_ray.evolve.space import Categorical, Sample, Space
from revo_ray.tune.domains import to_variable
from revo_ray.tune.key_paths import KeyPath, key_text, slashed, variable_name
from revo_ray.tune.space_json import from_json, to_json
from revo_ray.tune.unresolved import find_domains


class ParamSpace:
    """Constants and domains of Tune, nested in dictionaries, lists and tuples.

    A variable's name is the path of its domain, with slashes; see `variable_name`.

    Raises:
        ValueError: a part of it cannot be evolved, or there is nothing to search.
    """

    def __init__(self, template: Mapping[str, Any]) -> None:
        try:
            self.template = copy.deepcopy(dict(template))
        except TypeError as error:
            raise ValueError(f"the search space cannot be copied: {error}") from None
        try:
            domains = list(find_domains(self.template))
        except RecursionError:
            raise ValueError("the search space holds itself, or is nested too deeply") from None
        if not domains:
            raise ValueError("the search space has nothing to search: no tune.uniform or the like")
        self.paths: dict[KeyPath, str] = {path: variable_name(path) for path, _ in domains}
        self._containers = {path[:depth] for path in self.paths for depth in range(len(path))}
        self.space = Space({self.paths[path]: to_variable(path, each) for path, each in domains})
        if not self.space.searched:
            keys = ", ".join(map(key_text, self.paths))
            raise ValueError(f"the search space has nothing to search: one value each for {keys}")

    def config(self, sample: Sample) -> dict[str, Any]:
        """The configuration of a trial."""
        config: dict[str, Any] = self._filled(self.template, (), sample)
        return config

    def _filled(self, value: Any, path: KeyPath, sample: Sample) -> Any:
        if path in self.paths:
            return copy.deepcopy(sample[self.paths[path]])  # of a choice, it may be any object
        if path not in self._containers:
            return copy.deepcopy(value)
        if isinstance(value, dict):
            filled = copy.copy(value)
            for key, item in value.items():
                filled[key] = self._filled(item, (*path, key), sample)
            return filled
        items = [self._filled(item, (*path, number), sample) for number, item in enumerate(value)]
        if hasattr(value, "_fields"):  # a named tuple
            return type(value)(*items)
        return items if isinstance(value, list) else tuple(items)

    def encode(self, sample: Sample) -> list[Any]:
        """A sample's values in order, with the indices of its choices, which need not be JSON."""
        return [
            variable.index(sample[name]) if isinstance(variable, Categorical) else sample[name]
            for name, variable in self.space.items()
        ]

    def decode(self, coded: Sequence[Any]) -> Sample:
        """The sample that `encode` took.

        Raises:
            ValueError: it has another number of values.
        """
        return {
            name: variable.at(value) if isinstance(variable, Categorical) else value
            for (name, variable), value in zip(self.space.items(), coded, strict=True)
        }

    @property
    def slashed_names(self) -> list[str]:
        """The variables' paths in order, with slashes; two may be equal."""
        return [slashed(path) for path in self.paths]

    def to_json(self) -> Any:
        """The template as plain JSON values, or None if it holds objects or functions."""
        try:
            return to_json(self.template)
        except TypeError:
            return None

    @classmethod
    def from_json(cls, values: Any) -> ParamSpace:
        """The search space that `to_json` wrote.

        Raises:
            ValueError: `to_json` does not write such values.
        """
        return cls(from_json(values))
