"""What tells the searches of a study apart: method, model, data, fraction and seed, in words."""

from __future__ import annotations

import json
import os.path
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from revo_ray.settings.schema import SearchConfig

SEEDS = ("data.seed", "train.seed", "search.seed")


class Identity(NamedTuple):
    """Where a search stands in its study.

    Attributes:
        method, model, data: the name, with the options in which the study's searches of that
            name differ: `random (encoding binary)`.
        fraction: training images, as a fraction of the data set.
        seed: the value of those seeds that vary over the study; `1/0` where they disagree.
    """

    method: str
    model: str
    data: str
    fraction: float
    seed: str


def identify(configs: Sequence[SearchConfig]) -> list[Identity]:
    """The identity of each search among the others.

    Options of the method and the kind of budget are part of the method's name wherever they
    differ; what else a search or a training may vary, only where two searches would otherwise
    be the same.
    """
    identities = _identify(configs, ())
    if len(set(identities)) < len(identities):
        identities = _identify(configs, ("search", "train"))
    return identities


def _identify(configs: Sequence[SearchConfig], more: Iterable[str]) -> list[Identity]:
    values = [config.model_dump(mode="json") for config in configs]
    methods = []
    for value in values:
        options = {k: v for k, v in value["method"].items() if k != "name"}
        options["budget"] = value["search"]["budget"]
        for section in more:
            options |= {k: v for k, v in value[section].items() if k != "seed"}
        methods.append((value["method"]["name"], options))
    models = [_named(value["model"], "name") for value in values]
    sources = [_named(value["data"], "source", "seed", "train_fraction") for value in values]
    fractions = [config.data.train_fraction for config in configs]
    columns = _labels(methods), _labels(models), _labels(sources), fractions, _seeds(values)
    return [Identity(*row) for row in zip(*columns, strict=True)]


def _named(section: Mapping[str, Any], name: str, *without: str) -> tuple[str, dict[str, Any]]:
    options = {key: value for key, value in section.items() if key not in (name, *without)}
    return section[name], options


def _labels(named: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """Each name, with those options whose values differ among the entries of that name."""
    seen: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    keys = {name: set[str]() for name, _ in named}
    for name, options in named:
        keys[name] |= set(options)
    for name, options in named:
        for key in keys[name]:
            seen[name][key].add(json.dumps(options.get(key), sort_keys=True))
    labels = []
    for name, options in named:
        differ = sorted(key for key, values in seen[name].items() if len(values) > 1)
        told = [f"{key} {_short(options.get(key), seen[name][key])}" for key in differ]
        labels.append(f"{name} ({', '.join(told)})" if told else name)
    return labels


def _short(value: Any, peers: set[str]) -> str:
    """A value in a label; a path by its last part, where that says enough."""
    if not isinstance(value, str):
        return "none" if value is None else json.dumps(value)
    lasts = {os.path.basename(str(json.loads(peer)).rstrip("/")) for peer in peers}
    return os.path.basename(value.rstrip("/")) if len(lasts) == len(peers) else value


def _seeds(values: Sequence[Mapping[str, Any]]) -> list[str]:
    found = {key: [_get(value, key) for value in values] for key in SEEDS}
    varying = [key for key in SEEDS if len(set(found[key])) > 1] or ["search.seed"]
    return [
        "/".join(dict.fromkeys(str(found[key][index]) for key in varying))
        for index in range(len(values))
    ]


def _get(values: Mapping[str, Any], dotted: str) -> Any:
    section, _, key = dotted.partition(".")
    return values[section][key]
