"""`CMAMVSearch` as Ray Tune calls it: its conformance, and its search spaces."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import ConcurrencyLimiter, Searcher

from baselines.random import Draws
from revo_ray import CMAMVSearch
from revo_ray.evolve.cmamv import CMAMV
from revo_ray.evolve.proposals import Proposals
from revo_ray.evolve.space import Space
from revo_ray.tune import Reconciler
from revo_ray.tune.domains import to_variable

SPACE: dict[str, Any] = {
    "lr": tune.loguniform(1e-4, 1.0),
    "model": {"width": tune.randint(1, 9), "kind": tune.choice(["a", "b", "c"])},
    "layers": [tune.uniform(0, 1), {"freeze": tune.choice([True, False])}],
    "step": tune.quniform(0, 1, 0.25),
    "batch": tune.qrandint(8, 64, 8),
    "power": tune.lograndint(1, 1000),
    "constant": 7,
    "name": "fixed",
}


def value(config: dict[str, Any]) -> float:
    return (
        (math.log10(config["lr"]) + 2) ** 2
        + (config["model"]["width"] - 4) ** 2
        + (config["model"]["kind"] != "b")
        + (config["layers"][0] - 0.3) ** 2
        + config["layers"][1]["freeze"]
    )


def known(trial_id: str, status: str = Trial.RUNNING, result: dict[str, Any] | None = None) -> Any:
    """What the callback reads of Tune's trials."""
    return SimpleNamespace(trial_id=trial_id, status=status, last_result=result)


def make(**options: Any) -> CMAMVSearch:
    return CMAMVSearch(SPACE, metric="loss", mode="min", **options)


def plain(config: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(config))


def ask_all(searcher: Searcher, prefix: str, limit: int = 50) -> dict[str, dict[str, Any]]:
    asked: dict[str, dict[str, Any]] = {}
    while len(asked) < limit and (config := searcher.suggest(f"{prefix}{len(asked)}")) is not None:
        asked[f"{prefix}{len(asked)}"] = config
    return asked


def generations(searcher: Searcher, count: int, report: Callable[..., None]) -> list[Any]:
    seen = []
    for generation in range(count):
        asked = ask_all(searcher, f"g{generation}t")
        seen.append(plain({"configs": list(asked.values())}))
        for number, (trial_id, config) in enumerate(asked.items()):
            report(searcher, trial_id, config, number)
    return seen


def test_every_kind_of_parameter_keeps_its_type_and_bounds() -> None:
    searcher = make(seed=3)
    seen = []
    for generation in range(12):
        for trial_id, config in ask_all(searcher, f"{generation}-").items():
            seen.append(config)
            searcher.on_trial_complete(trial_id, {"loss": value(config)})
    assert len(seen) == 120
    for config in seen:
        assert set(config) == set(SPACE)
        assert 1e-4 <= config["lr"] <= 1
        assert config["model"]["width"] in range(1, 9)
        assert config["model"]["kind"] in ("a", "b", "c")
        assert 0 <= config["layers"][0] <= 1
        assert config["layers"][1]["freeze"] in (True, False)
        assert config["step"] in (0, 0.25, 0.5, 0.75, 1)
        assert config["batch"] in range(8, 65, 8)
        assert isinstance(config["power"], int)
        assert 1 <= config["power"] < 1000
        assert (config["constant"], config["name"]) == (7, "fixed")
    for path in (("model", "width"), ("model", "kind"), ("step",), ("batch",)):
        values = set()
        for config in seen:
            found: Any = config
            for key in path:
                found = found[key]
            values.add(found)
        assert len(values) > 1, path


def test_it_improves_and_maximises_too() -> None:
    for mode, sign in (("min", 1), ("max", -1)):
        searcher = CMAMVSearch(SPACE, metric="loss", mode=mode)
        means = []
        for generation in range(15):
            asked = ask_all(searcher, f"{generation}-")
            means.append(sum(map(value, asked.values())) / len(asked))
            for trial_id, config in asked.items():
                searcher.on_trial_complete(trial_id, {"loss": sign * value(config)})
        assert means[-1] < means[0] / 2, mode


REPORTS: dict[str, Callable[..., None]] = {
    "no number": lambda s, t, c, n: s.on_trial_complete(t, {"loss": [1.0]}),
    "inf": lambda s, t, c, n: s.on_trial_complete(t, {"loss": math.inf}),
    "-inf": lambda s, t, c, n: s.on_trial_complete(t, {"loss": -math.inf}),
    "none": lambda s, t, c, n: s.on_trial_complete(t, {"loss": None}),
    "no metric": lambda s, t, c, n: s.on_trial_complete(t, {"other": 1}),
    "error": lambda s, t, c, n: s.on_trial_complete(t, None, error=True),
}


@pytest.mark.parametrize("algorithm", ["catcmawm", "cmawm", "sop"])
@pytest.mark.parametrize("failure", REPORTS)
def test_failures_count_as_the_worst_of_their_generation(failure: str, algorithm: str) -> None:
    """All kinds of failure are one kind, and up to nine in ten of them spoil nothing."""

    def report(searcher: Searcher, trial_id: str, config: dict[str, Any], number: int) -> None:
        if number % 10 < 7:
            REPORTS[failure](searcher, trial_id, config, number)
        else:
            searcher.on_trial_complete(trial_id, {"loss": value(config)})

    def worst(searcher: Searcher, trial_id: str, config: dict[str, Any], number: int) -> None:
        loss = math.nan if number % 10 < 7 else value(config)
        searcher.on_trial_complete(trial_id, {"loss": loss})

    seen = generations(make(algorithm=algorithm), 6, report)
    assert seen == generations(make(algorithm=algorithm), 6, worst)
    assert "NaN" not in json.dumps(seen)
    assert all(len(generation["configs"]) == 10 for generation in seen)


def test_late_repeated_and_unknown_completions_change_nothing() -> None:
    def once(searcher: Searcher, trial_id: str, config: dict[str, Any], number: int) -> None:
        searcher.on_trial_complete(trial_id, {"loss": value(config)})

    def noisy(searcher: Searcher, trial_id: str, config: dict[str, Any], number: int) -> None:
        searcher.on_trial_result(trial_id, {"loss": 1e9})
        searcher.on_trial_complete("nobody", {"loss": 0.0})
        searcher.on_trial_complete(trial_id, {"loss": value(config)})
        searcher.on_trial_complete(trial_id, {"loss": -1e9})
        searcher.on_trial_complete(trial_id, None, error=True)
        searcher.on_trial_complete("g0t0", {"loss": 0.0})

    assert generations(make(), 4, once) == generations(make(), 4, noisy)


def test_the_order_of_completion_does_not_matter() -> None:
    forwards, backwards = make(), make()
    for generation in range(4):
        asked = ask_all(forwards, f"{generation}-")
        assert plain(asked) == plain(ask_all(backwards, f"{generation}-"))
        for trial_id, config in asked.items():
            forwards.on_trial_complete(trial_id, {"loss": value(config)})
        for trial_id, config in reversed(asked.items()):
            backwards.on_trial_complete(trial_id, {"loss": value(config)})


def test_it_holds_to_the_concurrency_itself_and_a_lost_trial_frees_its_place() -> None:
    searcher = make()
    limited = ConcurrencyLimiter(searcher, 3)
    assert len(ask_all(limited, "t")) == 3

    trials = [known("t0"), known("t1", Trial.ERROR), known("t2")]
    Reconciler(searcher).on_step_begin(1, trials)
    assert len(ask_all(limited, "more")) == 1


def test_asking_at_the_barrier_costs_nothing() -> None:
    searcher = make()
    ask_all(searcher, "t")
    assert [searcher.suggest(f"waiting{n}") for n in range(100)] == [None] * 100
    assert len(searcher._begin().live) == 10
    assert searcher.suggest("t3") == searcher.suggest("t3")  # one trial, one configuration


def test_a_trial_that_ended_before_it_ran_is_proposed_again() -> None:
    searcher = make()
    asked = ask_all(searcher, "t")
    searcher.on_trial_complete("t4", None, error=False)
    assert plain(searcher.suggest("again") or {}) == plain(asked["t4"])


def test_a_paused_trial_that_a_scheduler_stops_counts_with_its_last_value(tmp_path: Path) -> None:
    """Tune reports no result then; also in a state that was restored while it was paused."""
    ended, stopped = make(), make()
    asked = ask_all(ended, "t")
    assert plain(ask_all(stopped, "t")) == plain(asked)
    for trial_id, config in asked.items():
        ended.on_trial_complete(trial_id, {"loss": value(config)})
        stopped.on_trial_result(trial_id, {"loss": 1e9})
        stopped.on_trial_result(trial_id, {"loss": value(config)})
        if trial_id == "t4":
            stopped.save(str(tmp_path / "state"))
            stopped = make()
            stopped.restore(str(tmp_path / "state"))
    for trial_id in asked:
        stopped.on_trial_complete(trial_id)
    assert plain(ask_all(stopped, "next")) == plain(ask_all(ended, "next"))


@pytest.mark.parametrize("lookahead", [0, 3])
@pytest.mark.parametrize("finished", [0, 4, 10, 23])
def test_save_and_restore_continue_the_trajectory(
    tmp_path: Path, finished: int, lookahead: int
) -> None:
    """Trials that are live when it is saved may report to the restored one."""
    original = make(lookahead=lookahead, seed=5)
    live: dict[str, dict[str, Any]] = {}
    for number in range(finished):
        live |= ask_all(original, f"{number}-")
        trial_id = next(iter(live))
        original.on_trial_complete(trial_id, {"loss": value(live.pop(trial_id))})
    live |= dict(list(ask_all(original, "live").items())[:3])
    original.save(str(tmp_path / "state"))
    restored = make(lookahead=lookahead, seed=5)
    restored.restore(str(tmp_path / "state"))
    for step in range(25):
        for searcher in (original, restored):
            if trial_id := next(iter(live), None):
                searcher.on_trial_complete(trial_id, {"loss": value(live[trial_id])})
        live.pop(next(iter(live), ""), None)
        new = ask_all(original, f"after{step}-")
        assert plain(ask_all(restored, f"after{step}-")) == plain(new)
        live |= new


def test_the_saved_state_is_json_and_belongs_to_its_settings(tmp_path: Path) -> None:
    searcher = make(seed=1)
    ask_all(searcher, "t")
    searcher.save(str(tmp_path / "state"))
    for line in (tmp_path / "state").read_text().splitlines():
        json.loads(line)
    with pytest.raises(ValueError, match="was saved with"):
        make(seed=2).restore(str(tmp_path / "state"))


def test_a_space_with_objects_is_not_saved_and_has_to_be_given_again(tmp_path: Path) -> None:
    """Also where a `Tuner` put a placeholder in the place of the object."""
    path = str(tmp_path / "state")
    for odd in (value, ("__ref_ph", "1a2b3c4d")):
        space = {"x": tune.uniform(0, 1), "odd": tune.choice([odd, None])}
        searcher = CMAMVSearch(space, metric="loss", mode="min")
        ask_all(searcher, "t", limit=3)
        searcher.save(path)
        bare = CMAMVSearch(metric="loss", mode="min")
        with pytest.raises(ValueError, match="holds no search space"):
            bare.restore(path)
        with pytest.raises(ValueError, match="holds no search space"):
            bare.suggest("t")  # or Tune would begin anew
        given = CMAMVSearch(space, metric="loss", mode="min")
        given.restore(path)
        assert [given.suggest(f"t{n}") for n in range(5)] == [
            searcher.suggest(f"t{n}") for n in range(5)
        ]


def test_a_state_that_holds_code_runs_none(tmp_path: Path) -> None:
    path, pwned = tmp_path / "state", tmp_path / "pwned"
    make().save(str(path))
    header, *rest = path.read_text().splitlines(keepends=True)

    def rewrite(**changed: Any) -> None:
        path.write_text("".join([json.dumps(json.loads(header) | changed), "\n", *rest]))

    code = f"open({str(pwned)!r}, 'w')"
    for space in ({"dict": [["x", {"dict": [["eval", code]]}]]}, "gASVIgAAAAAAAACMBXBvc2l4lIwG"):
        rewrite(space=space)
        with pytest.raises(ValueError, match="state"):
            CMAMVSearch(metric="loss", mode="min").restore(str(path))
    rewrite(format=1)
    with pytest.raises(ValueError, match="of another version"):
        make().restore(str(path))
    assert not pwned.exists()


def test_it_takes_space_metric_and_mode_from_the_tuner() -> None:
    searcher = CMAMVSearch()
    with pytest.raises(RuntimeError, match="needs a search space, a metric and a mode"):
        searcher.suggest("t")
    assert ConcurrencyLimiter(searcher, 2).set_search_properties("loss", "max", SPACE)
    assert (searcher.metric, searcher.mode) == ("loss", "max")
    assert searcher.suggest("t") is not None
    assert not searcher.set_search_properties("loss", "max", {"x": tune.uniform(0, 1)})


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({"a": tune.grid_search([1, 2])}, "a: a grid_search cannot be evolved"),
        ({"a": {"b": tune.randn(0, 1)}}, "a/b: CMAMVSearch needs bounds"),
        ({"a": tune.sample_from(lambda _: 1)}, "a: tune.sample_from cannot be evolved"),
        ({"a": 1}, "nothing to search"),
    ],
)
def test_spaces_that_cannot_be_evolved_are_refused(space: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CMAMVSearch(space, metric="loss", mode="min")


def test_a_trial_that_tune_lost_is_told_by_the_reconciler() -> None:
    searcher = make()
    asked = ask_all(searcher, "t")

    for trial_id, config in list(asked.items())[:9]:
        searcher.on_trial_complete(trial_id, {"loss": value(config)})
    assert searcher.suggest("next") is None
    Reconciler(searcher).on_step_begin(1, [known("t9", Trial.ERROR)])
    assert searcher.suggest("next") is not None


def test_a_trial_that_ended_after_the_last_save_counts_with_its_last_result(tmp_path: Path) -> None:
    told, reconciled = make(), make()
    asked = ask_all(told, "t")
    told.save(str(tmp_path / "state"))
    reconciled.restore(str(tmp_path / "state"))
    for trial_id, config in asked.items():
        told.on_trial_complete(trial_id, {"loss": value(config)})
    trials = [known(t, Trial.TERMINATED, {"loss": value(c)}) for t, c in asked.items()]
    Reconciler(reconciled).on_step_begin(1, trials)
    assert ask_all(reconciled, "next") == ask_all(told, "next")


def test_a_trial_that_tune_does_not_know_is_proposed_again() -> None:
    searcher = make()
    asked = ask_all(searcher, "t")
    Reconciler(searcher).on_step_begin(1, [known(t) for t in asked if t != "t3"])
    assert plain(searcher.suggest("again") or {}) == plain(asked["t3"])
    assert searcher.suggest("next") is None


def test_it_is_cmamv_over_the_converted_space() -> None:
    """Nothing between Tune and the optimiser changes a sample."""
    flat = {"x": tune.uniform(-1, 1), "k": tune.choice([0, 1]), "n": tune.randint(0, 5)}
    space = Space({name: to_variable((name,), domain) for name, domain in flat.items()})
    bare = CMAMV(space, seed=9)
    searcher = CMAMVSearch(flat, metric="loss", mode="min", seed=9)
    for generation in range(5):
        candidates = [bare.ask() for _ in range(10)]
        asked = ask_all(searcher, f"{generation}-")
        assert [c.sample for c in candidates] == list(asked.values())
        losses = [float(c.sample["x"]) ** 2 + c.sample["n"] for c in candidates]
        bare.tell(list(zip(candidates, losses, strict=True)))
        for trial_id, loss in zip(asked, losses, strict=True):
            searcher.on_trial_complete(trial_id, {"loss": loss})


def test_random_proposals_never_wait() -> None:
    space = Space({"x": to_variable(("x",), tune.uniform(0, 1))})
    proposals = Proposals(Draws(space, seed=0), space, budget=25)
    asked = [proposals.ask() for _ in range(26)]
    assert [p.evaluation for p in asked[:25] if p] == list(range(25))
    assert asked[25] is None
    assert len({p.sample["x"] for p in asked[:25] if p}) == 25


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.modules['torch'] = None; import revo_ray.tune",
        """
import sys
class Missing:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
from ray import tune
from revo_ray.tune import CMAMVSearch
assert CMAMVSearch({"x": tune.uniform(0, 1)}, "loss", "min").suggest("t")
""",
    ],
    ids=["import", "search"],
)
def test_it_needs_no_torch(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_mean_of_a_repeater_counts_though_its_last_trial_failed() -> None:
    def mean(searcher: Searcher, trial_id: str, config: dict[str, Any], number: int) -> None:
        searcher.on_trial_complete(trial_id, {"loss": value(config)}, error=number % 2 == 0)

    def plain_value(searcher: Searcher, trial_id: str, config: dict[str, Any], number: int) -> None:
        searcher.on_trial_complete(trial_id, {"loss": value(config)})

    assert generations(make(), 3, mean) == generations(make(), 3, plain_value)
