"""Domains of Tune at their edges: searched within what Tune samples, or refused by their key."""

from __future__ import annotations

import math
from typing import Any

import pytest
import ray
from hypothesis import assume, given
from hypothesis import strategies as st
from ray import tune
from ray.tune.search.sample import Categorical as TuneCategorical
from ray.tune.search.sample import Domain, Float, LogUniform, Quantized
from ray.tune.search.sample import Integer as TuneInteger

from revo_ray.evolve.space import Categorical, Integer, Real
from revo_ray.tune import CMAMVSearch
from revo_ray.tune.domains import to_variable
from tests.properties import examples
from tests.tune.calls import trajectory


def quantised(domain: Domain, step: Any) -> Domain:
    """A domain with a step that Tune does not check, as older versions made them."""
    domain.set_sampler(Quantized(domain.get_sampler(), step), allow_override=True)
    return domain


def log_integer(low: Any, high: Any) -> Domain:
    domain = TuneInteger(low, high)
    domain.set_sampler(LogUniform())
    return domain


def log_real(low: Any, high: Any) -> Domain:
    domain = Float(low, high)
    domain.set_sampler(LogUniform())
    return domain


CONSTANTS: list[tuple[Domain, Any]] = [
    (tune.uniform(1, 1), 1.0),
    (tune.uniform(-0.5, -0.5), -0.5),
    (tune.loguniform(0.1, 0.1), 0.1),
    (tune.quniform(2, 2, 0.5), 2.0),
    (tune.qloguniform(2, 2, 2), 2.0),
    (tune.randint(3, 4), 3),
    (tune.lograndint(3, 4), 3),
    (tune.qrandint(4, 4, 2), 4),
    (tune.qrandint(5, 7, 6), 6),
    (tune.qlograndint(5, 7, 6), 6),
    (tune.qrandint(3, 4, 1), 3),
    (tune.choice(["only"]), "only"),
    (tune.choice([[1, 2]]), [1, 2]),
    (quantised(tune.uniform(0.1, 0.4), 0.3), 0.3),
]
REFUSED: list[tuple[Domain, str]] = [
    (tune.choice([]), "tune.choice has no values; give it at least one"),
    (tune.choice([1, 2, 1]), "the choice 1 stands twice; leave it out"),
    (tune.randint(3, 3), "there is no integer from 3 up to 3, which Tune excludes; use 4 as the"),
    (tune.lograndint(3, 3), "there is no integer from 3 up to 3"),
    (tune.qrandint(3, 3, 1), "there is no integer from 3 up to 3"),
    (tune.randint(5, 3), "the lower bound 5 is above the upper one, 3; swap them"),
    (tune.uniform(1, 0), "the lower bound 1 is above the upper one, 0; swap them"),
    (tune.loguniform(1, 0.1), "the lower bound 1 is above the upper one, 0.1; swap them"),
    (tune.qrandint(9, 2, 3), "the lower bound 9 is above the upper one, 2; swap them"),
    (tune.qrandint(1, 3, 5), "no multiple of the step 5 lies within 1 and 3; widen the bounds"),
    (tune.qlograndint(1, 3, 5), "no multiple of the step 5 lies within 1 and 3; widen the bounds"),
    (quantised(tune.uniform(0.1, 0.2), 0.3), "no multiple of the step 0.3 lies within the bounds"),
    (log_integer(0, 9), "a log scale needs a lower bound above 0, not 0; raise it, or use tune.ra"),
    (log_integer(-5, 9), "a log scale needs a lower bound above 0, not -5"),
    (log_real(0.0, 1.0), "a log scale needs a lower bound above 0, not 0.0; .* tune.uniform"),
    (tune.randint(0, math.inf), "inf is no bound; use a finite number"),
    (tune.randint(math.nan, 3), "nan is no bound; use a finite number"),
    (Float(math.nan, 1.0), "nan is no bound; use a finite number"),
    (Float(-math.inf, 1.0), "-inf is no bound; use a finite number"),
    (Float(None, 1.0), "-inf is no bound; use a finite number"),
    (TuneInteger(None, 3), "None is no bound; use a finite number"),
    (TuneInteger("1", 3), "'1' is no bound; use a finite number"),
    (tune.randint(0, 10**30), r"beyond ±1099511627776, .*; use tune.uniform or tune.loguniform"),
    (tune.randint(-(2**63), 2**63), r"beyond ±1099511627776"),
    (tune.lograndint(1, 10**30), r"beyond ±1099511627776"),
    (tune.qrandint(0, 10**30, 10**10), r"beyond ±1099511627776"),
    (tune.randint(0.5, 3), "0.5 is no bound of an integer; use a whole number"),
    (tune.qrandint(0, 10, 2.5), "2.5 is no step of an integer; use a whole number"),
    (tune.qrandint(0, 10, 0), "0 is no step; use a positive number"),
    (tune.qrandint(0, 10, -2), "-2 is no step; use a positive number"),
    (quantised(tune.uniform(0, 1), -0.5), "-0.5 is no step; use a positive number"),
    (quantised(tune.uniform(0, 1), math.nan), "nan is no step; use a positive number"),
    (quantised(tune.uniform(0, 1), math.inf), "inf is no step; use a positive number"),
    (tune.uniform(-1.7e308, 1.7e308), "high - low overflows"),
    (tune.randn(0, 1), "CMAMVSearch needs bounds"),
]


@pytest.mark.parametrize(("domain", "value"), CONSTANTS)
def test_a_domain_of_one_value_is_a_constant(domain: Domain, value: Any) -> None:
    space = {"net": {"one": domain}, "x": tune.uniform(0, 1)}
    for config in trajectory(CMAMVSearch(space, "loss", "min"), lambda c: c["x"], 12):
        assert config["net"]["one"] == value
        assert type(config["net"]["one"]) is type(value)
    with pytest.raises(ValueError, match="nothing to search: one value each for net/one"):
        CMAMVSearch({"net": {"one": domain}}, "loss", "min")


@pytest.mark.parametrize(("domain", "says"), REFUSED)
def test_a_domain_without_values_or_bounds_is_refused(domain: Domain, says: str) -> None:
    with pytest.raises(ValueError, match=rf"^net/odd/0: .*{says}") as refused:
        CMAMVSearch({"net": {"odd": [domain]}, "x": tune.uniform(0, 1)}, "loss", "min")
    assert len(str(refused.value).splitlines()) == 1


NUMBERS = st.one_of(
    st.integers(-20, 20),
    st.floats(-5, 5).map(lambda x: round(x, 2)),
    st.integers(-7000, 7000).map(lambda n: n / 7),
)


@given(low=NUMBERS, high=NUMBERS, step=st.floats(0.01, 3).map(lambda x: round(x, 2)), u=st.data())
@examples(100)
def test_a_quantised_real_stays_on_multiples_within_its_bounds(
    low: float, high: float, step: float, u: st.DataObject
) -> None:
    """As Tune's own: also where the step does not divide the bounds."""
    assume(low <= high and high - low < 1e4)
    domain = quantised(Float(low, high).uniform(), step)
    if math.ceil(low / step - 1e-9) > math.floor(high / step + 1e-9):
        with pytest.raises(ValueError, match="no multiple of the step"):
            to_variable(("q",), domain)
        return
    variable = to_variable(("q",), domain)
    if isinstance(variable, Categorical):
        (value,) = variable.choices
    else:
        assert isinstance(variable, Real)
        value = variable.from_unit(u.draw(st.floats(0, 1)))
    assert low <= value <= high
    multiple = round(value / step) * step
    assert math.isclose(value, multiple, rel_tol=1e-9, abs_tol=1e-9)
    try:
        theirs = [*domain.sample(size=64, random_state=1)]
    except ValueError:  # Tune rounds the bounds away from each other
        return
    if variable.size is not None and variable.size < 8:
        ours = {round(variable.at(index) / step) for index in range(variable.size)}
        assert {round(each / step) for each in theirs} <= ours


@pytest.mark.skipif(
    not ray.__version__.startswith("2.60."), reason="an older Tune leaves some upper bounds out"
)
@given(low=st.integers(-30, 30), high=st.integers(-30, 30), step=st.integers(1, 12))
@examples(150)
def test_integers_have_the_values_that_tune_draws(low: int, high: int, step: int) -> None:
    for domain in (TuneInteger(low, high).uniform(), tune.qrandint(low, high, step)):
        try:
            theirs = set(domain.sample(size=600, random_state=0))
        except ValueError:
            with pytest.raises(ValueError, match=r"^n: "):
                to_variable(("n",), domain)
            continue
        variable = to_variable(("n",), domain)
        assert isinstance(variable, Integer)
        assert {variable.at(index) for index in range(variable.size)} == theirs


def test_a_choice_of_thousands_starts_at_once() -> None:
    space = {"many": TuneCategorical([{"name": [n]} for n in range(4000)]), "x": tune.uniform(0, 1)}
    configs = trajectory(CMAMVSearch(space, "loss", "min"), lambda c: c["x"], 20)
    assert len({config["many"]["name"][0] for config in configs}) > 10
