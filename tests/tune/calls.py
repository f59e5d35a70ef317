"""A searcher driven as Tune drives it, without Ray."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.search import Searcher

Value = Callable[[dict[str, Any]], Any]


def known(
    trial_id: str,
    status: str = Trial.RUNNING,
    result: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
) -> Any:
    """What the callback reads of Tune's trials."""
    return SimpleNamespace(trial_id=trial_id, status=status, last_result=result, config=config)


def trajectory(
    searcher: Searcher, value: Value, count: int = 30, prefix: str = "t"
) -> list[dict[str, Any]]:
    """The configurations of so many trials, one after the other."""
    configs = []
    for number in range(count):
        config = searcher.suggest(f"{prefix}{number}")
        assert isinstance(config, dict)
        configs.append(config)
        searcher.on_trial_complete(f"{prefix}{number}", {"loss": value(config), "more": 1})
    return configs


def leaves(config: Any) -> list[Any]:
    """The values of nested dictionaries, lists and tuples, in order."""
    if isinstance(config, dict):
        return [leaf for item in config.values() for leaf in leaves(item)]
    if isinstance(config, list | tuple):
        return [leaf for item in config for leaf in leaves(item)]
    return [config]


def plain(config: Any) -> Any:
    return json.loads(json.dumps(config))
