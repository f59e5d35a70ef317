"""The parts of which checks are made: their list, and a driver that plays Ray Tune.

A check is a function of a maker, which makes a searcher; it raises if the searcher lacks the
property. A maker takes `space`, `metric`, `mode`, `seed`, `points_to_evaluate` and
`evaluated_rewards`, all by keyword and all optional.
"""

from __future__ import annotations

import copy
import math
import random
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ray import tune
from ray.tune.search import Searcher
from ray.tune.search.sample import Domain
from ray.tune.utils.util import merge_dicts  # type: ignore[attr-defined]

Config = dict[str, Any]
Maker = Callable[..., Searcher]
Objective = Callable[[Config], float]

MIXED: Config = {
    "lr": tune.loguniform(1e-4, 1.0),
    "depth": tune.randint(1, 9),
    "kind": tune.choice(["a", "b", "c"]),
    "drop": tune.quniform(0, 0.5, 0.1),
    "constant": 7,
}
"""A flat space with some of each, in which every searcher is at home."""


@dataclass(frozen=True)
class Check:
    """One property of a searcher.

    Attributes:
        group: its subject.
        name: short and unique.
        sentence: the property.
        run: raises if a maker's searchers lack it.
        own: it starts a process or a Ray of its own, and takes seconds.
    """

    group: str
    name: str
    sentence: str
    run: Callable[[Maker], None]
    own: bool = False


LONGEST = 120
"""Characters of a failure that are kept."""
REFUSALS = (ValueError, TypeError, RuntimeError, NotImplementedError, AssertionError)
"""Types of errors that say no to a setting; others are crashes."""
CHECKS: dict[str, Check] = {}
"""All checks by name, in the order in which their modules are imported."""


def check(
    group: str, *, own: bool = False
) -> Callable[[Callable[[Maker], None]], Callable[[Maker], None]]:
    """Enter a function as a check: its name is the check's, its docstring the sentence."""

    def enter(function: Callable[[Maker], None]) -> Callable[[Maker], None]:
        sentence = (function.__doc__ or "").strip().replace("\n    ", " ")
        add(group, function.__name__.replace("_", " "), sentence, function, own=own)
        return function

    return enter


def add(
    group: str, name: str, sentence: str, run: Callable[[Maker], None], *, own: bool = False
) -> None:
    """Enter a check."""
    assert name not in CHECKS, name
    CHECKS[name] = Check(group, name, sentence, run, own)


def failure(each: Check, make: Maker) -> str | None:
    """The first line of a searcher's failure at a check; None if it passes."""
    try:
        each.run(make)
    except Exception as error:
        return said(error)
    return None


def said(error: Exception) -> str:
    """The first line of an error, without addresses of objects, and its type unless it is ours."""
    first = (str(error).strip() or "no message").splitlines()[0]
    first = re.sub(r" object at 0x[0-9a-f]+", "", first)
    first = first if len(first) <= LONGEST else f"{first[:LONGEST]}…"
    return (
        first
        if isinstance(error, AssertionError | StuckError)
        else f"{type(error).__name__}: {first}"
    )


def loss(config: Config) -> float:
    """A smooth value of any configuration, the same in every process."""
    total = 0.0
    for path, value in leaves(config):
        if isinstance(value, int | float) and not isinstance(value, bool):
            total += abs(math.atan(value) - 0.3)
        else:
            total += zlib.crc32(f"{path}{value!r}".encode()) / 2**32
    return total


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The values of nested dictionaries, lists and tuples, each with its path."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list | tuple) and value:
        for place, item in enumerate(value):
            yield from leaves(item, (*path, place))
    else:
        yield path, value


class StuckError(Exception):
    """A searcher proposes nothing although no trial is live, so that Tune would wait for ever."""


class Driver:
    """Makes trials of a searcher's suggestions and reports their values, as a `Tuner` does.

    Args:
        searcher: the searcher.
        space: what a `Tuner` has as `param_space`; None if the searcher has one already.
        objective: gives a trial's value.
    """

    def __init__(
        self, searcher: Searcher, space: Config | None, objective: Objective = loss
    ) -> None:
        self.searcher, self.objective = searcher, objective
        self.base = copy.deepcopy(space) if space else {}
        self.configs: dict[str, Config] = {}
        """Configuration of every trial, in the order of the suggestions."""
        self.live: list[str] = []
        self.prefix = "trial"
        """The beginning of every trial's name."""
        if space is not None:
            taken = searcher.set_search_properties("loss", "min", copy.deepcopy(space))
            assert taken, "set_search_properties did not take the search space"

    def ask(self) -> str | None:
        """Begin a trial; None if there is no suggestion now."""
        trial = f"{self.prefix}{len(self.configs)}"
        suggestion = self.searcher.suggest(trial)
        if suggestion is None:
            return None
        assert isinstance(suggestion, dict), f"suggest gave {suggestion!r}"
        # As `SearchGenerator` makes the configuration of a trial.
        self.configs[trial] = merge_dicts(copy.deepcopy(self.base), copy.deepcopy(suggestion))
        self.live.append(trial)
        return trial

    def begin(self) -> str:
        """Begin a trial.

        Raises:
            StuckError: there is no suggestion.
        """
        trial = self.ask()
        if trial is None:
            raise StuckError(f"no suggestion, and {len(self.live)} trials are live")
        return trial

    def end(self, trial: str, **report: Any) -> None:
        """End a trial, with its value unless `result` or `error` are given."""
        self.live.remove(trial)
        if not report:
            report = {"result": self.result(trial)}
        self.searcher.on_trial_complete(trial, **report)

    def result(self, trial: str) -> dict[str, Any]:
        """The result of a trial, as Tune has it."""
        return {"loss": self.objective(self.configs[trial]), "training_iteration": 1}

    def run(self, count: int, at_once: int = 1, shuffled: random.Random | None = None) -> None:
        """Run so many more trials; of several at once, the first or a random one ends next."""
        goal = len(self.configs) + count
        while len(self.configs) < goal or self.live:
            while len(self.live) < at_once and len(self.configs) < goal:
                if self.ask() is None:
                    break
            if not self.live:
                self.begin()
            place = shuffled.randrange(len(self.live)) if shuffled else 0
            self.end(self.live[place])

    @property
    def seen(self) -> list[str]:
        """Every configuration, as text that does not depend on the order of keys."""
        return [repr(sorted(leaves(each), key=repr)) for each in self.configs.values()]


def start(
    make: Maker, space: Config | None = None, objective: Objective = loss, **options: Any
) -> Driver:
    """Make a searcher as for a `Tuner` that has the search space, metric and mode."""
    return Driver(make(seed=3, **options), space or MIXED, objective)


def run(make: Maker, space: Config | None = None, count: int = 30, **options: Any) -> Driver:
    """Make a searcher, and run so many trials one after the other."""
    driver = start(make, space, **options)
    driver.run(count)
    return driver


def error_of(call: Callable[[], object]) -> Exception | None:
    """The error with which a call is refused; crashes and unknown arguments are raised."""
    try:
        call()
    except REFUSALS as error:
        if "unexpected keyword" in str(error):
            raise
        return error
    return None


def refusal(make: Maker, space: Config) -> Exception | None:
    """The error with which a searcher refuses a search space, at the latest when asked first."""
    return error_of(lambda: start(make, space).ask())


def fault(space: Any, config: Any, path: str = "") -> str | None:
    """The first place where a configuration is none of a space, in words."""
    if isinstance(space, Domain):
        why = domain_fault(space, config)
        return why and f"{path or 'the value'}: {why}"
    if type(space) is not type(config):
        return f"{path or 'the configuration'} is a {type(config).__name__}"
    if isinstance(space, dict):
        if space.keys() != config.keys():
            return f"{path or 'the configuration'} has the keys {sorted(config)}"
        pairs = [(key, space[key], config[key]) for key in space]
    elif isinstance(space, list | tuple):
        if len(space) != len(config):
            return f"{path} has {len(config)} items"
        pairs = [(place, *pair) for place, pair in enumerate(zip(space, config, strict=True))]
    else:
        return None if space is config or space == config else f"{path} is {config!r}"
    inner = (fault(part, value, f"{path}/{key}".lstrip("/")) for key, part, value in pairs)
    return next(filter(None, inner), None)


def domain_fault(domain: Any, value: Any) -> str | None:
    """The reason why a value is none of a domain of Tune."""
    if isinstance(value, Domain) or callable(value):
        return f"{value!r} is not resolved"
    name = type(domain).__name__
    sampler = domain.get_sampler()
    step = getattr(sampler, "q", None)
    if name == "Categorical":
        if any(type(each) is type(value) and each == value for each in domain.categories):
            return None
        return f"{value!r} of type {type(value).__name__} is no choice"
    wanted = float if name == "Float" else int
    if type(value) is not wanted:
        return f"{value!r} is a {type(value).__name__}, not a {wanted.__name__}"
    # Tune's upper bounds of integers are exclusive, but not with a step.
    last = domain.upper - 1 if wanted is int and step in (None, 1) else domain.upper
    if not domain.lower <= value <= last:
        return f"{value!r} is not in {domain.lower} to {last}"
    if step and not math.isclose(value / step, round(value / step), abs_tol=1e-9):
        return f"{value!r} is no multiple of {step}"
    return None
