"""Two ways of training are told apart after a few steps, unless they differ by rounding alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from benchmarks import agreement
from revo_ray.data.table.image_table import Table, prepare_table
from revo_ray.finetune.plan import Plan
from revo_ray.settings.schema import SearchConfig
from tests.model.export.runs import SMALL

RATES = (0.1, 0.001, 0.01)
"""Rates of the units, in turn; every fifth is frozen."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return prepare_table(config().data, tmp_path_factory.mktemp("tables"))


def config(*overrides: str) -> SearchConfig:
    return SearchConfig.load(None, [*SMALL, "model.name=timm/test_efficientnet", *overrides])


def rates(units: int) -> tuple[float, ...]:
    return tuple(0.0 if n % 5 == 1 else RATES[n % len(RATES)] for n in range(units))


@pytest.mark.parametrize(
    "train",
    [
        ("optimizer=adamw", "schedule=constant", "batch_norm=precise"),
        ("optimizer=sgd", "schedule=cosine", "batch_norm=running"),
    ],
    ids=lambda train: train[0],
)
def test_the_plain_program_trains_as_the_project_does(table: Table, train: tuple[str, ...]) -> None:
    settings = config(*(f"train.{each}" for each in train))
    units = len(agreement.short_tuner(settings, table).units)
    agreement.check(settings, table, rates(units))


def half_as_fast_again(plan: Plan) -> Plan:
    return replace(plan, unit_lrs=tuple(1.5 * rate for rate in plan.unit_lrs))


def nothing_frozen(plan: Plan) -> Plan:
    """Frozen layers keep their weights to rounding, but their BatchNorm is that of training."""
    return replace(plan, unit_lrs=tuple(rate or 1e-12 for rate in plan.unit_lrs))


def as_it_is(plan: Plan) -> Plan:
    return plan


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("other", "train"),
    [
        pytest.param(half_as_fast_again, {}, id="rate"),
        pytest.param(nothing_frozen, {}, id="frozen"),
        pytest.param(as_it_is, {"seed": 1}, id="order"),
        pytest.param(as_it_is, {"batch_norm": "running"}, id="statistics"),
        pytest.param(as_it_is, {"schedule": "cosine"}, id="schedule"),
        pytest.param(as_it_is, {"batch_size": 20}, id="batch"),
        pytest.param(as_it_is, {"optimizer": "sgd"}, id="optimizer"),
    ],
)
def test_another_way_of_training_is_caught(
    table: Table, other: Callable[[Plan], Plan], train: dict[str, object]
) -> None:
    tuner = agreement.short_tuner(config(), table)
    tuner.train = tuner.train.model_copy(update=train)
    plain = agreement.plain_program(config(), table, "torch")

    def way(plan: Plan) -> torch.Tensor:
        for _ in tuner.run(other(plan)):
            pass
        return tuner.predict("validation")

    with pytest.raises(RuntimeError, match="plain torch trains otherwise"):
        agreement.compare(plain, way, rates(len(tuner.units)))
