"""`CMAMVSearch` and `Proposals` under calls in any order, and of saved states that were spoilt."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray import tune

from revo_ray import CMAMVSearch
from revo_ray.evolve.cmamv import CMAMV
from revo_ray.evolve.proposals import Outcome, Proposals, ReplayError
from revo_ray.evolve.space import Categorical, Real, Space
from revo_ray.tune.space_json import from_json, to_json
from tests.properties import examples

SPACE: dict[str, Any] = {
    "lr": tune.loguniform(1e-4, 1.0),
    "net": {"depth": tune.randint(1, 9), "norm": tune.choice(["batch", ("a", 1), None])},
    "drop": (tune.quniform(0, 0.5, 0.1), math.inf),
    "7": "constant",
}
COUNT = 24
ENDS: list[Any] = [
    *(1.0, -3, 0, math.nan, math.inf, -math.inf, None, "0.5", "x", [1.0], 10**400, 1e308, -1e308),
    *(5e-324, True, 1j, {}, "error", "no metric"),
]


def end(searcher: CMAMVSearch, trial: str, config: dict[str, Any]) -> None:
    """End a trial in one of many ways, which its configuration alone decides."""
    rng = random.Random(repr(config))
    value = rng.choice([*ENDS, *(rng.random() for _ in ENDS)])
    if value == "error":
        searcher.on_trial_complete(trial, None, error=True)
    else:
        searcher.on_trial_complete(trial, {"other" if value == "no metric" else "loss": value})


def new(lookahead: int, space: Any = SPACE) -> CMAMVSearch:
    return CMAMVSearch(space, metric="loss", mode="min", population=4, lookahead=lookahead, seed=3)


def samples(searcher: CMAMVSearch) -> list[Any]:
    """What was proposed, in order; a KeyError where an evaluation was lost."""
    return [searcher._begin().told[n][0] for n in range(COUNT)]


def serial(lookahead: int) -> list[Any]:
    searcher = new(lookahead)
    for number in range(COUNT):
        config = searcher.suggest(str(number))
        assert config is not None
        end(searcher, str(number), config)
    return samples(searcher)


SERIAL = {lookahead: serial(lookahead) for lookahead in (0, 2)}


@given(
    lookahead=st.sampled_from([0, 2]),
    operations=st.lists(
        st.sampled_from(["suggest"] * 4 + ["end"] * 4 + ["return", "noise", "restore"]),
        max_size=60,
    ),
    seed=st.integers(0, 2**32),
)
@examples(20)
def test_calls_in_any_order(
    lookahead: int, operations: list[str], seed: int, tmp_path: Path
) -> None:
    searcher, rng = new(lookahead), random.Random(seed)
    live: dict[str, dict[str, Any]] = {}
    past = ["nobody"]

    def suggest() -> None:
        trial = f"t{len(past) + len(live)}-{rng.random()}"
        if (config := searcher.suggest(trial)) is not None:
            live[trial] = config

    def finish(how: str) -> None:
        if live:
            trial = rng.choice(list(live))
            config = live.pop(trial)
            past.append(trial)
            if how == "end":
                end(searcher, trial, config)
            else:
                searcher.on_trial_complete(trial)

    for operation in operations:
        if operation == "suggest":
            suggest()
        elif operation == "noise":
            end(searcher, rng.choice(past), {"a": rng.random()})
            searcher.on_trial_result(rng.choice(past), {"loss": -1e9})
        elif operation == "restore":
            searcher.save(str(tmp_path / "state"))
            searcher = new(lookahead, rng.choice([None, SPACE]))
            searcher.restore(str(tmp_path / "state"))
            assert {t: searcher.suggest(t) for t in live} == live
        else:
            finish(operation)
    while len(searcher._begin().told) < COUNT + 8:
        suggest()
        finish("end")
    assert samples(searcher) == SERIAL[lookahead]


JUNK: list[Any] = [
    *(None, True, -1, 0, 99, 0.5, 10**30, 1e308, math.nan, math.inf, "x", "", [], {}, [None]),
    *([[]], {"a": 1}, {"dict": [["eval", "1"]]}, {"dict": [["grid_search", [1]]]}, {"choice": []}),
    *({"float": [0, 1, "linear", 0]}, {"float": [1e308, -1e308, "log", None]}, {"tuple": [1]}),
    *({"integer": [0, 10**30, "linear", 7]}, {"number": "x"}, {"dict": [[[], 1]]}, {"float": 1}),
]


def spoil(value: Any, rng: random.Random) -> Any:
    """The same, with one part of it changed, taken away or doubled."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.15:
        return rng.choice(JUNK)
    if isinstance(value, list):
        at = rng.randrange(len(value))
        kind = rng.random()
        middle = [spoil(value[at], rng)] if kind < 0.8 else [] if kind < 0.9 else [value[at]] * 2
        return value[:at] + middle + value[at + 1 :]
    key = rng.choice(list(value))
    changed = {k: v for k, v in value.items() if k != key}
    if rng.random() < 0.9:
        changed[rng.choice(["x", "-1", "99"]) if rng.random() < 0.1 else key] = spoil(
            value[key], rng
        )
    return changed


@given(seed=st.integers(0, 2**32), bare=st.booleans())
@examples(40)
def test_a_spoilt_state_is_refused_or_goes_on(seed: int, bare: bool, tmp_path: Path) -> None:
    rng, path = random.Random(seed), tmp_path / "state"
    searcher = new(2)
    for number in range(rng.randrange(14)):
        config = searcher.suggest(str(number))
        if config is not None and rng.random() < 0.8:
            end(searcher, str(number), config)
    searcher.save(str(path))
    content = path.read_bytes()
    kind = rng.randrange(8)
    if kind == 0:
        content = content[: rng.randrange(len(content))]
    elif kind == 1:
        at = rng.randrange(len(content))
        content = content[:at] + rng.randbytes(1) + content[at + 1 :]
    elif kind == 2:
        content = b"[" * 100_000
    else:
        lines = [json.loads(line) for line in content.splitlines()]
        at = rng.randrange(len(lines))
        lines[at : at + 1] = rng.choice([[spoil(lines[at], rng)], [], [lines[at]] * 2])
        content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    path.write_bytes(content)
    again = new(2, None if bare else SPACE)
    refused = ""
    try:
        again.restore(str(path))
    except ValueError as error:
        refused = str(error)
    if refused:
        assert len(refused.splitlines()) == 1
        assert str(path) in refused
        with pytest.raises(ValueError, match="state"):
            again.suggest("new")
        return
    for trial in list(again._begin().live):
        end(again, trial, {"a": 1})
    for number in range(9):
        config = again.suggest(f"new{number}")
        assert config is not None
        end(again, f"new{number}", config)


PARTS = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False),
        st.text(max_size=5),
        st.just(tune.uniform(0, 1)),
        st.just(tune.qloguniform(1e-3, 1e3, 1e-3)),
        st.just(tune.qlograndint(2, 64, 2)),
        st.just(tune.choice([1, (2, [3]), {"a": None}])),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text(max_size=3), st.integers()), inner, max_size=3),
    ),
    max_leaves=9,
)


@given(space=PARTS)
@examples(20)
def test_a_search_space_comes_back_from_json(space: Any) -> None:
    text = json.dumps(to_json(space), allow_nan=False)
    back = from_json(json.loads(text))
    assert _plain(back) == _plain(space)


def _plain(value: Any) -> Any:
    """Domains by what they hold, which Tune does not compare."""
    if isinstance(value, list | tuple):
        return type(value), [_plain(item) for item in value]
    if isinstance(value, dict):
        return [(key, _plain(item)) for key, item in value.items()]
    if isinstance(value, tune.search.sample.Domain):
        sampler = value.get_sampler()
        inner = getattr(sampler, "sampler", None)
        held = {key: _plain(v) for key, v in vars(value).items() if key != "sampler"}
        return type(value), held, type(sampler), type(inner), getattr(sampler, "q", None)
    return type(value), value


MIXED = Space({f"bit{i}": Categorical((0, 1)) for i in range(3)} | {"rate": Real(0.0, 1.0)})
BITS = Space({f"bit{i}": Categorical((0, 1)) for i in range(3)})


@given(
    bits=st.booleans(),
    lookahead=st.sampled_from([0, 3]),
    kept=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
@examples(20)
def test_proposals_replayed_from_whatever_is_left(
    bits: bool, lookahead: int, kept: float, seed: int
) -> None:
    """Rows may be missing anywhere: they are proposed again, and nothing else is."""
    space = BITS if bits else MIXED

    def make() -> Proposals[Any]:
        optimiser = CMAMV(space, seed=1, population_size=4)
        return Proposals(optimiser, space, budget=COUNT, lookahead=lookahead, reuse=True)

    def value(sample: dict[str, Any]) -> Outcome:
        chance = random.Random(repr(sample))
        return Outcome(
            chance.choice([math.nan, None, 1e300, *(chance.random() for _ in "1234567")])
        )

    def drive(proposals: Proposals[Any], rng: random.Random) -> dict[int, Any]:
        made: dict[int, Any] = {}
        busy: list[Any] = []
        while not proposals.finished:
            if (proposal := proposals.ask()) is not None:
                busy.append(proposal)
            answered = proposals.take_answered()
            assert busy or answered, "it waits for nothing"
            for each in [*answered, *([busy.pop(rng.randrange(len(busy)))] if busy else [])]:
                if each.source is None and rng.random() < 0.2:
                    proposals.requeue(each.evaluation)
                    continue
                assert each.evaluation not in made
                outcome = value(each.sample)
                made[each.evaluation] = (each.sample, outcome)
                assert proposals.tell(each.evaluation, outcome)
                assert not proposals.tell(each.evaluation, Outcome(7.0))
        return made

    rng = random.Random(seed)
    whole = drive(make(), random.Random(0))
    assert sorted(whole) == list(range(COUNT))
    rows = {n: row for n, row in whole.items() if rng.random() < kept}
    resumed = make()
    resumed.replay(rows)
    rest = drive(resumed, rng)
    assert sorted(rest) == sorted(set(whole) - set(rows))
    assert repr({n: rest[n][0] for n in sorted(rest)}) == repr(
        {n: whole[n][0] for n in sorted(rest)}
    )
    if rows:
        spoilt = dict(rows)
        spoilt[min(rows)] = (rng.choice([{}, {"bit0": None}, {"bit0": "x"}]), Outcome(1.0))
        with pytest.raises(ReplayError, match="is recorded with"):
            drive_spoilt(make(), spoilt, value)


def drive_spoilt(proposals: Proposals[Any], rows: dict[int, Any], value: Any) -> None:
    proposals.replay(rows)
    while (proposal := proposals.ask()) is not None or not proposals.finished:
        for each in [*proposals.take_answered(), *([proposal] if proposal else [])]:
            proposals.tell(each.evaluation, value(each.sample))
