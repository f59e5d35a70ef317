"""Searchers with one fault each, and the checks that must find it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune

from revo_ray.tune import CMAMVSearch
from tests.tune.conformance.kit import Config, Maker


class Pointless(CMAMVSearch):
    """Ignores the points to begin with."""

    def __init__(
        self, *, points_to_evaluate: Any = None, evaluated_rewards: Any = None, **options: Any
    ) -> None:
        super().__init__(**options)


class Retyped(Pointless):
    """Gives NumPy's numbers, capital letters and lists for tuples."""

    def suggest(self, trial_id: str) -> Config | None:
        return retyped(super().suggest(trial_id))


def retyped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: retyped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [retyped(item) for item in value]
    if isinstance(value, str):
        return value.upper()
    return value if value is None else np.array(value)[()]


class Partial(Pointless):
    """Looks at the variable `x` alone."""

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: Config, **spec: Any
    ) -> bool:
        return super().set_search_properties(metric, mode, {"x": config["x"]})


class Padded(Pointless):
    """Adds a variable to a `Tuner`'s search space, in the caller's own dictionary."""

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: Config, **spec: Any
    ) -> bool:
        config["more"] = tune.uniform(0, 1)
        return super().set_search_properties(metric, mode, config)


class Stubborn(Pointless):
    """Proposes its first configuration for ever."""

    first: Config | None = None

    def suggest(self, trial_id: str) -> Config | None:
        self.first = self.first or super().suggest(trial_id)
        return self.first


class Sharing(Pointless):
    """Hands out the same dictionary each time that a value comes up."""

    def suggest(self, trial_id: str) -> Config | None:
        known: dict[str, Any] = self.__dict__.setdefault("known", {})
        config = super().suggest(trial_id) or {}
        return {
            key: known.setdefault(str(value.get("a", "")), value)
            if isinstance(value, dict)
            else value
            for key, value in config.items()
        } or None


class Fragile(Pointless):
    """Wants a finite float of each trial."""

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        if error or not result or type(result["loss"]) is not float:
            raise TypeError("no float")
        if not math.isfinite(result["loss"]):
            raise ValueError("not finite")
        super().on_trial_complete(trial_id, dict(result))


class Optimist(Pointless):
    """Takes infinity for the best."""

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        infinite = result and result.get("loss") == math.inf
        super().on_trial_complete(trial_id, {"loss": -1e9} if infinite else dict(result or {}))


class Strict(Pointless):
    """Knows trials while they are live, and each only until eight others were asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.trials: list[str] = []

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        if trial_id not in self.trials[-9:]:
            raise KeyError(trial_id)
        self.trials[self.trials.index(trial_id)] = "ended"
        super().on_trial_complete(trial_id, dict(result or {}), error)

    def on_trial_result(self, trial_id: str, result: Config) -> None:
        self.trials.index(trial_id)

    def suggest(self, trial_id: str) -> Config | None:
        config = super().suggest(trial_id)
        self.trials += [trial_id] if config else []
        return config


class Hasty(Pointless):
    """Learns the first result of each trial."""

    def on_trial_result(self, trial_id: str, result: Config) -> None:
        self.on_trial_complete(trial_id, result)


class Seedless(Pointless):
    """Draws its seed from the system."""

    def __init__(self, *, seed: int = 0, **options: Any) -> None:
        super().__init__(seed=int.from_bytes(os.urandom(4)), **options)


class Hashed(Pointless):
    """Makes its seed of a hash that each process has its own of."""

    def __init__(self, *, seed: int = 0, **options: Any) -> None:
        super().__init__(seed=abs(hash("seed")) % 2**32, **options)


class GlobalRandom(Pointless):
    """Draws from NumPy's global generator."""

    def suggest(self, trial_id: str) -> Config | None:
        np.random.random()
        return super().suggest(trial_id)


class OneWay(Pointless):
    """Keeps its own metric and mode, and searches for the least value if it has none."""

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: Config, **spec: Any
    ) -> bool:
        mine = self.metric or metric, self.mode or "min"
        return super().set_search_properties(*mine, config)


class Spoiled(Pointless):
    """Changes its proposals once it was saved, limited, or asked in vain."""

    spoiled = False

    def suggest(self, trial_id: str) -> Config | None:
        config = super().suggest(trial_id)
        self.spoiled |= config is None
        return {**config, "depth": 1} if config and self.spoiled else config

    def save(self, checkpoint_path: str) -> None:
        super().save(checkpoint_path)
        self.spoiled = True

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        self.spoiled = True
        return True


class Impatient(Pointless):
    """Raises where it should wait."""

    def suggest(self, trial_id: str) -> Config | None:
        config = super().suggest(trial_id)
        if config is None:
            raise RuntimeError("the generation has not ended")
        return config


class Stuck(Pointless):
    """Waits for ever for trials that failed."""

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        if not error and result and result["loss"] == result["loss"]:
            super().on_trial_complete(trial_id, dict(result))


class Wanting(Pointless):
    """Takes no value without an iteration."""

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        known = result and "training_iteration" in result
        super().on_trial_complete(
            trial_id, dict(result or {}) if known else None, error or not known
        )


class Forgetful(Pointless):
    """Saves nothing."""

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).write_text("nothing")

    def restore(self, checkpoint_path: str) -> None:
        pass


class Renewed(Pointless):
    """Begins anew with each search space, and needs none."""

    begun = False

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: Config, **spec: Any
    ) -> bool:
        self.__init__()  # type: ignore[misc]
        self.begun = super().set_search_properties(metric, mode, config)
        return self.begun

    def suggest(self, trial_id: str) -> Config | None:
        return super().suggest(trial_id) if self.begun else {"x": 1}


class TunerOnly(Pointless):
    """Forgets its own metric and mode, or says no if it has some."""

    def __init__(self, *, metric: str | None = None, mode: str | None = None, **more: Any) -> None:
        super().__init__(**more)
        self.own = metric

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: Config, **spec: Any
    ) -> bool:
        return not (self.own and metric) and super().set_search_properties(metric, mode, config)


class Changing(Pointless):
    """Empties the caller's points."""

    def __init__(self, *, points_to_evaluate: Any = None, **options: Any) -> None:
        super().__init__(**options)
        for point in points_to_evaluate or ():
            point.clear()


FAILS: dict[Maker, list[str]] = {
    Pointless: [
        "points come first",
        "points on the searchers own space",
        "more points than a generation",
        "a point twice is two trials",
        "points of a nested space",
        "points in the flat spelling",
        "points beside constants",
        "points with many workers",
        "a point outside the space is not altered",
        "a point with an unknown key is refused",
        "known rewards count",
        "rewards must fit the points",
    ],
    Retyped: [
        *("uniform", "loguniform", "quniform", "qloguniform"),
        *("randint", "lograndint", "qrandint", "qlograndint"),
        *("choice of texts", "choice of numbers", "choice of equal values", "choice of tuples"),
        *("mixed", "nested dictionaries", "odd keys", "wide bounds", "one value", "tuples"),
        *("60 variables", "1,000 choices", "an experiment with failures comes to its end"),
    ],
    Partial: ["grid_search", "nested grid_search", "sample_from", "nested sample_from"],
    Padded: [
        "nothing to search is refused",
        "the space may be given to the searcher",
        "the callers space stays as it was",
    ],
    Stubborn: [
        "every variable varies",
        "the values decide",
        "points are learned from",
        "better than random on real numbers",
        "better than random on choices",
        "better than random on a mixed space",
    ],
    Sharing: ["a trial may change its configuration"],
    Fragile: [
        *("NaN", "infinity", "minus infinity", "NumPy's NaN", "an empty result"),
        *("neither result nor error", "an error", "an error with a result"),
        *("numbers of numpy and of python are one", "a repeater goes on after errors"),
    ],
    Optimist: ["infinity is not the best"],
    Strict: [
        "a trial may end twice",
        "a trial may report after its end",
        "a trial that ends very late still counts",
        "trials that end twice across a restore count once",
    ],
    Hasty: ["only the last result counts"],
    Seedless: ["the same seed gives the same search", "points are reproducible"],
    Hashed: ["another seed gives another search", "another process gives the same search"],
    GlobalRandom: ["the global random state is left alone"],
    OneWay: [
        "mode max mirrors mode min",
        "the tuners mode counts or is refused",
        "the tuners metric counts or is refused",
        "a search without a mode is refused",
    ],
    Spoiled: [
        "asking in vain changes nothing",
        "saving changes nothing",
        "a limiter holds the trials",
        "a limiter of one changes nothing",
    ],
    Impatient: ["many questions are no error"],
    Stuck: ["an idle search always proposes", "a limiter in batches comes to an end"],
    Wanting: ["a repeater tells means"],
    Forgetful: [
        *("a search of 0 trials goes on", "a search of 7 trials goes on"),
        *("a search of 25 trials goes on", "a searcher without a search space goes on"),
        *("points to begin with go on", "the newest of several files counts"),
        *("a damaged file is refused", "another process goes on"),
    ],
    Renewed: ["a second search space changes nothing", "a search without a space is refused"],
    TunerOnly: [
        "metric and mode of the searcher count",
        "the same metric and mode twice is once",
    ],
    Changing: ["points stay as they were"],
}
"""For each of them the checks that it must fail."""
