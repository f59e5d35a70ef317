"""TPE: what hyperopt itself proposes, in a serial search, and after any interruption."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import hyperopt
import numpy as np
import pytest

from baselines.gradient import Full
from baselines.layer_decay import LayerDecay
from baselines.tpe import TPE
from revo_ray.evolve.proposals import Outcome, Proposals, ReplayError, Sample
from revo_ray.evolve.space import Categorical, Real, Space
from revo_ray.settings.schema import SearchOptions

EVALUATIONS = 40


def searcher(seed: int = 0, method: Any = Full, **options: Any) -> Proposals[Any]:
    made = method(method.Options.model_validate(options))
    return made.searcher(made.space([]), SearchOptions(seed=seed, evaluations=EVALUATIONS))


def value(sample: Sample) -> float:
    """Least at lr 0.01, wd 1e-4."""
    return (math.log10(sample["lr"]) + 2) ** 2 + 0.1 * (math.log10(sample["wd"]) + 4) ** 2


def outcome(number: int, sample: Sample) -> Outcome:
    """Some fail, among them the first two."""
    return Outcome(None if number in (0, 1, 7, 25) else value(sample))


def serial(proposals: Proposals[Any]) -> list[tuple[int, Sample]]:
    made = []
    while (proposal := proposals.ask()) is not None:
        made.append((proposal.evaluation, proposal.sample))
        proposals.tell(proposal.evaluation, outcome(*made[-1]))
    return made


def by_hyperopt(seed: int, startup: int) -> list[Sample]:
    """The same search by hyperopt's own means, seeds drawn as Ray draws them."""
    space = {
        "lr": hyperopt.hp.loguniform("lr", np.log(1e-6), np.log(1.0)),
        "wd": hyperopt.hp.loguniform("wd", np.log(1e-6), np.log(1e-1)),
    }
    domain, trials = hyperopt.Domain(lambda sample: 0.0, space), hyperopt.Trials()
    seeds = np.random.RandomState(seed)
    samples: list[Sample] = []
    losses: list[float | None] = []
    for number in range(EVALUATIONS):
        (document,) = hyperopt.tpe.suggest(
            trials.new_trial_ids(1),
            domain,
            trials,
            seeds.randint(2**31 - 1),
            n_startup_jobs=startup,
            gamma=0.25,
        )
        samples.append({name: float(v) for name, (v,) in document["misc"]["vals"].items()})
        trials.insert_trial_docs([document])
        trials.refresh()
        losses.append(outcome(number, samples[-1]).value)
        finite = [loss for loss in losses if loss is not None]
        for each in trials._dynamic_trials:
            if finite and each["state"] != hyperopt.JOB_STATE_DONE:
                loss = losses[each["tid"]]
                worst = max(finite)
                each["result"] = {"loss": worst if loss is None else loss, "status": "ok"}
                each["state"] = hyperopt.JOB_STATE_DONE
        trials.refresh()
    return samples


@pytest.mark.parametrize(("seed", "startup"), [(0, 20), (7, 20), (3, 1)])
def test_a_serial_search_proposes_what_hyperopt_does(seed: int, startup: int) -> None:
    made = serial(searcher(seed, startup=startup))
    assert [number for number, _ in made] == list(range(EVALUATIONS))
    assert [sample for _, sample in made] == by_hyperopt(seed, startup)


@pytest.mark.parametrize("cut", [0, 2, 8, 20, 26, 39, 40])
@pytest.mark.parametrize("method", [Full, LayerDecay])
def test_a_search_cut_anywhere_goes_on_exactly(method: Any, cut: int) -> None:
    options = {"decay": "searched"} if method is LayerDecay else {}
    whole = serial(searcher(4, method, **options))
    rows = json.loads(json.dumps(whole[:cut]))  # as the ledger keeps them
    resumed = searcher(4, method, **options)
    resumed.replay({number: (sample, outcome(number, sample)) for number, sample in rows})
    assert serial(resumed) == whole[cut:]


def test_adopting_leaves_the_state_that_asking_had_left_whoever_ended_first() -> None:
    space = Space({"lr": Real(1e-5, 1, log=True), "decay": Real(0.5, 1)})
    asked, adopting = (TPE(space, seed=1, startup=3) for _ in range(2))
    rng = random.Random(0)
    suggestions, running, told = [], [], []
    for number in range(30):  # four at a time, which end in any order
        suggestions.append(asked.ask())
        running.append(number)
        if len(running) == 4:
            told.append(running.pop(rng.randrange(4)))
            asked.tell([(suggestions[told[-1]], float(told[-1] % 7))])
    assert told != sorted(told)
    adopted = [adopting.adopt(suggestion.sample) for suggestion in suggestions]
    assert [candidate.sample for candidate in adopted] == [s.sample for s in suggestions]
    adopting.tell([(adopted[number], float(number % 7)) for number in sorted(told)])
    for _ in range(5):
        ours, theirs = adopting.ask(), asked.ask()
        assert ours.sample == theirs.sample
        adopting.tell([(ours, 1.0)])
        asked.tell([(theirs, 1.0)])


def test_a_record_of_another_search_is_refused() -> None:
    with pytest.raises(ReplayError, match=r"of lr is recorded, but .* proposes lr, wd"):
        searcher().replay({0: ({"lr": 0.1}, Outcome(1.0))})


@pytest.mark.parametrize("variable", [Categorical((1, 2)), Real(0, 1, step=0.5)])
def test_only_real_variables(variable: Any) -> None:
    with pytest.raises(ValueError, match="'x'"):
        TPE(Space({"x": variable}), seed=0)
