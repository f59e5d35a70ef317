"""Names that tell the searches of a study apart: method, model, data, fraction and seed."""

from __future__ import annotations

import json
import os.path
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from revo_ray.settings.schema import SearchConfig

SEEDS = ("data.seed", "train.seed", "search.seed")


class Identity(NamedTuple):
    """Position of a search in its study.

    Attributes:
        method, model, data: name, with the options in which the study's searches of that name
            differ: `random (encoding binary)`.
        fraction: training images, as a fraction of the data set; 1 for all that the other splits
            leave.
        seed: value of the seeds that vary over the study; `1/0` if they disagree.
    """

    method: str
    model: str
    data: str
    fraction: float
    seed: str


def identify(configs: Sequence[SearchConfig]) -> list[Identity]:
    """Name each search so that it differs from all others.

    A method's name carries its options, the kind of budget and the objective if they differ. Other
    settings of `search` and `train` are added only if two searches would have the same name.
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
        options |= {key: value["search"][key] for key in ("budget", "objective")}
        for section in more:
            options |= {k: v for k, v in value[section].items() if k != "seed"}
        methods.append((value["method"]["name"], options))
    models = [_named(value["model"], "name") for value in values]
    sources = [_named(value["data"], "source", "seed", "train_fraction") for value in values]
    given = [config.data.train_fraction for config in configs]
    fractions = [1.0 if isinstance(value, str) else value for value in given]
    columns = (
        _distinct_names(methods),
        _distinct_names(models),
        _distinct_names(sources),
        fractions,
        _seeds(values),
    )
    return [Identity(*row) for row in zip(*columns, strict=True)]


def _named(section: Mapping[str, Any], name: str, *without: str) -> tuple[str, dict[str, Any]]:
    options = {key: value for key, value in section.items() if key not in (name, *without)}
    return section[name], options


def _distinct_names(named: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """Each name with the options whose values differ among the entries of that name."""
    seen: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    keys = {name: set[str]() for name, _ in named}
    for name, options in named:
        keys[name] |= set(options)
    for name, options in named:
        for key in keys[name]:
            seen[name][key].add(json.dumps(options.get(key), sort_keys=True))
    names = []
    for name, options in named:
        differ = sorted(key for key, values in seen[name].items() if len(values) > 1)
        told = [f"{key} {_short(options.get(key), seen[name][key])}" for key in differ]
        names.append(f"{name} ({', '.join(told)})" if told else name)
    return names


def _short(value: Any, peers: set[str]) -> str:
    """A value in a name; a path by its last part if that tells it apart from its peers."""
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
