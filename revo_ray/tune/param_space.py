"""ParamSpace: the `param_space` of a `Tuner` as a space of variables."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ray.tune.search.variant_generator import assign_value, parse_spec_vars

from revo_ray.evolve.space import Categorical, Sample, Space
from revo_ray.tune.domains import KeyPath, from_json, to_json, to_variable


class ParamSpace:
    """Constants and domains of Tune, nested in dictionaries and lists.

    A variable's name is the path of its domain, with slashes.

    Raises:
        ValueError: there are grid searches, functions or unbounded domains, or no domain at all.
    """

    def __init__(self, template: Mapping[str, Any]) -> None:
        self._template = copy.deepcopy(dict(template))
        _, domains, grids = parse_spec_vars(self._template)
        if grids:
            raise ValueError(
                f"{_name(grids[0][0])}: a grid_search cannot be evolved; use tune.choice"
            )
        if not domains:
            raise ValueError("the search space has nothing to search: no tune.uniform or the like")
        self._paths: dict[str, KeyPath] = {_name(path): tuple(path) for path, _ in domains}
        self._blank = copy.deepcopy(self._template)  # without domains, which are slow to copy
        for path in self._paths.values():
            assign_value(self._blank, path, None)
        self.space = Space({_name(path): to_variable(path, domain) for path, domain in domains})

    def config(self, sample: Sample) -> dict[str, Any]:
        """The configuration of a trial."""
        config = copy.deepcopy(self._blank)
        for name, value in sample.items():
            assign_value(config, self._paths[name], value)
        return config

    def encode(self, sample: Sample) -> dict[str, Any]:
        """A sample with the indices of its choices, since a choice need not be JSON."""
        return {
            name: variable.index(sample[name])
            if isinstance(variable, Categorical)
            else sample[name]
            for name, variable in self.space.items()
        }

    def decode(self, coded: Mapping[str, Any]) -> Sample:
        """The sample that `encode` took."""
        return {
            name: variable.at(coded[name]) if isinstance(variable, Categorical) else coded[name]
            for name, variable in self.space.items()
        }

    def to_json(self) -> Any:
        """The template as plain JSON values, or None if it holds objects or functions."""
        try:
            return to_json(self._template)
        except TypeError:
            return None

    @classmethod
    def from_json(cls, values: Any) -> ParamSpace:
        """The search space that `to_json` wrote.

        Raises:
            ValueError: `to_json` does not write such values.
        """
        return cls(from_json(values))


def _name(path: KeyPath) -> str:
    return "/".join(map(str, path))
