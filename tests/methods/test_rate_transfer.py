"""Rates of one network for another: by depth, head to head, and back into a method's genome."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import make_interp_spline

from revo_ray.methods import RevoBinary, RevoContinuous, RevoMixed, make_method
from revo_ray.methods.rate_transfer import filled, mapped
from revo_ray.settings.schema import MethodConfig, SearchOptions
from tests.properties import examples
from tests.search.core.by_hand import FakeUnit

RATES = st.floats(1e-5, 1e-1)
PLANS = st.lists(RATES | st.just(0.0), min_size=2, max_size=12)
TRAINED = st.lists(RATES, min_size=3, max_size=12)

WARM: list[dict[str, Any]] = [
    {"name": "revo-continuous"},
    {"name": "revo-continuous", "scale": "relative", "spread": 6},
    {"name": "revo-mixed", "spread": 6},
    {"name": "revo-binary"},
]


def units(count: int) -> list[FakeUnit]:
    return [*(FakeUnit(f"body{i}") for i in range(count - 1)), FakeUnit("head", head=True)]


@given(PLANS)
@examples(30)
def test_the_same_network_keeps_its_rates(rates: list[float]) -> None:
    assert mapped(rates, units(len(rates))) == rates


@given(TRAINED, st.integers(2, 30))
@examples(60)
def test_a_unit_has_the_rate_at_its_depth(rates: list[float], count: int) -> None:
    """As by SciPy's linear spline through the logarithms of the body's rates."""
    found = mapped(rates, units(count))
    assert found[-1] == rates[-1]
    if count != len(rates):
        body = np.linspace(0, 1, len(rates))[:-1]
        line = make_interp_spline(body, np.log10(rates[:-1]), k=1)
        at = np.clip(np.linspace(0, 1, count)[:-1], 0, body[-1])
        assert np.log10(found[:-1]) == pytest.approx(line(at), abs=1e-9)


@given(PLANS, st.integers(2, 4))
@examples(60)
def test_frozen_units_stay_frozen_at_their_depth(rates: list[float], factor: int) -> None:
    """A network of so many units for each one has units at the same depths."""
    found = mapped(rates, units(factor * (len(rates) - 1) + 1))
    assert found[::factor] == pytest.approx(rates, rel=1e-9)
    trained = [rate for rate in rates[:-1] if rate]
    for rate in found[:-1]:
        assert rate == 0 or min(trained) * 0.999 <= rate <= max(trained) * 1.001


@given(PLANS.filter(any))
@examples(60)
def test_a_frozen_unit_is_given_a_rate_like_those_around_it(rates: list[float]) -> None:
    found = filled(rates, units(len(rates)))
    body = [rate for rate in rates[:-1] if rate] or [rates[-1]]
    for before, after in zip(rates, found, strict=True):
        assert after == before or (before == 0 and min(body) * 0.999 <= after <= max(body) * 1.001)


@pytest.mark.parametrize("options", WARM, ids=lambda o: f"{o['name']} {o.get('scale', '')}")
@given(st.lists(RATES, min_size=4, max_size=4))
@examples(20)
def test_the_genome_of_a_winner_has_its_rates(options: dict[str, Any], rates: list[float]) -> None:
    """Every genome can say them but a binary one, which has no different rates."""
    if options["name"] == "revo-binary":
        rates = [rates[0], 0.0, rates[0], rates[0]]
    elif options["name"] == "revo-mixed":
        rates[1] = 0.0
    method = make_method(MethodConfig.model_validate(options))
    assert isinstance(method, RevoBinary | RevoContinuous | RevoMixed)
    of = units(4)
    space = method.space(of)
    winner = method.genome_type.winner(rates, of, space)
    whole = space.random(np.random.default_rng(0)) | winner
    space.validate(whole)
    assert method.plan(whole, of).unit_lrs == pytest.approx(rates, rel=1e-9)


@pytest.mark.parametrize("options", WARM, ids=lambda o: f"{o['name']} {o.get('scale', '')}")
def test_a_warm_search_has_no_sweep_and_begins_among_its_winners(options: dict[str, Any]) -> None:
    """Ten like winners: all plans of the first generation lie within two decades of them."""
    rng = np.random.default_rng(1)
    of, centre = units(30), np.geomspace(1e-4, 1e-2, 30)
    if options["name"] == "revo-binary":
        centre[:] = 1e-3
    winners = [list(centre * 10 ** rng.normal(0, 0.1, 30)) for _ in range(10)]
    method = make_method(MethodConfig.model_validate(options))
    proposals = method.searcher(method.space_around(winners, of), SearchOptions())
    for number in range(10):
        proposal = proposals.ask()
        assert proposal is not None
        assert (proposal.evaluation, proposal.generation) == (number, 0)
        rates = np.array(method.plan(proposal.sample, of).unit_lrs)
        trains = rates > 0
        assert trains.sum() > 20  # no winner froze anything
        assert np.all(np.abs(np.log10(rates[trains] / centre[trains])) < 2)
        if options["name"] != "revo-binary":
            assert len(set(rates[trains])) > 1


def test_methods_that_cannot_begin_at_rates_say_so() -> None:
    def warm(**options: Any) -> bool:
        return make_method(MethodConfig.model_validate(options), ["baselines"]).starts_warm

    assert all(warm(**options) for options in WARM)
    assert not warm(name="revo-continuous", scale="linear")
    assert not warm(name="revo-binary", global_lr=0.1)
    assert not any(warm(name=name) for name in ("random", "full", "set-encoding", "auto-rgn"))
