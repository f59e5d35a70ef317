"""A run directory read back equals what was written, to the last bit."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from revo_ray.errors import UserError
from revo_ray.finetune.plan import Plan
from revo_ray.objective import LOSS, METRICS
from revo_ray.rundir.evaluation import EpochMetrics, Evaluation, Status
from revo_ray.rundir.ledger import Ledger
from revo_ray.rundir.outcome import SearchResult
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.settings.schema import SearchConfig
from tests.properties import examples

FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [-0.0, 5e-324, -5e-324, 2.2e-308, 1e-300, 1e30, 1.7976931348623157e308, 0.1 + 0.2]
)
COUNTS = st.integers(0, 2**53)
MOMENTS = st.floats(0, 1e11)
RATES = st.floats(0, 1e9) | st.sampled_from([-0.0, 5e-324, 2.2e-308])
SCORES = {metric.column: st.none() | FLOATS for metric in METRICS.values()}
TEXTS = st.text(max_size=8)
VALUES = FLOATS | st.integers(-(2**70), 2**70) | st.booleans() | st.none() | TEXTS
FREE = st.dictionaries(TEXTS, VALUES | st.lists(VALUES, max_size=3), max_size=4)
POINTS = st.builds(
    EpochMetrics, epoch=COUNTS, train_loss=st.none() | FLOATS, images=COUNTS, seconds=MOMENTS
)


def rows_of(number: int) -> st.SearchStrategy[Evaluation]:
    moments = dict.fromkeys(("seconds", "started_at", "finished_at"), MOMENTS)
    words = dict.fromkeys(("trial_id", "node", "device"), TEXTS)
    counts = dict.fromkeys(("attempts", "epochs", "images"), COUNTS)
    return st.builds(
        Evaluation,
        evaluation=st.just(number),
        generation=st.none() | COUNTS,
        source=st.none() | COUNTS,
        status=st.sampled_from(get_args(Status)),
        error=st.none() | TEXTS,
        sample=FREE,
        plan=FREE,
        genome=st.lists(FLOATS, max_size=4),
        unit_lrs=st.lists(RATES, max_size=4),
        curve=st.lists(POINTS, max_size=2),
        **(moments | words | counts | SCORES),
    )


NUMBERS = st.lists(st.sampled_from([0, 1, 2, 9, 10, 99, 999_999, 1_000_000]), unique=True)
ROWS = NUMBERS.flatmap(lambda numbers: st.tuples(*map(rows_of, numbers)))


@pytest.fixture(scope="module", autouse=True)
def quick_disk() -> Any:
    """These tests cut no power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda file: None)
        yield


def exact(rows: Sequence[Evaluation]) -> list[str]:
    """Rows as text that tells -0.0 from 0.0 and 1 from 1.0 and from True."""
    return [repr(row) for row in sorted(rows, key=lambda row: row.evaluation)]


@given(rows=ROWS)
@examples(40)
def test_rows_come_back_from_the_ledger_and_from_its_table(
    rows: tuple[Evaluation, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    run = RunDirectory(str(folder))
    ledger, tail, tailed = run.ledger(), run.tail(), []
    for row in rows:
        ledger.append(row)
        tailed += tail.new_rows() or []
    ledger.write_parquet()
    assert exact(list(run.ledger())) == exact(run.rows()) == exact(tailed) == exact(rows)
    assert exact(run.rows(table_first=True)) == exact(rows)
    assert [row.evaluation for row in run.ledger()] == sorted(row.evaluation for row in rows)
    assert repr(run.ledger().best) == repr(ledger.best) == repr(LOSS.best(rows))
    shutil.rmtree(folder / Ledger.FOLDER, ignore_errors=True)
    assert exact(run.rows()) == exact(rows)


@given(
    best=st.none() | st.fixed_dictionaries({"evaluation": COUNTS, "plan": FREE} | SCORES),
    test=st.none() | st.fixed_dictionaries({name: st.none() | FLOATS for name in METRICS}),
    statuses=st.dictionaries(st.sampled_from(get_args(Status)), COUNTS),
    name=TEXTS,
    counts=st.tuples(COUNTS, COUNTS, COUNTS, COUNTS),
    seconds=st.tuples(MOMENTS, MOMENTS),
    stopped_by=st.sampled_from(["budget", "time"]),
    looks=st.integers(1, 9),
)
@examples(40)
def test_an_outcome_comes_back(
    best: Any,
    test: Any,
    statuses: dict[str, int],
    name: str,
    counts: tuple[int, int, int, int],
    seconds: tuple[float, float],
    stopped_by: Any,
    looks: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    evaluations, epochs, images, cold = counts
    costs = (evaluations, statuses, epochs, images, *seconds, cold)
    run = RunDirectory(str(tmp_path_factory.mktemp("run")))
    written = SearchResult(name, run.uri, best, test, *costs, stopped_by, looks)
    run.write_outcome(written)
    assert repr(run.outcome()) == repr(written)


@given(
    name=st.from_regex("[A-Za-z0-9][A-Za-z0-9._-]{0,3}", fullmatch=True),
    root=st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
    seed=st.integers(0, 2**32 - 1),
    numbers=st.tuples(*[st.floats(1e-300, 1.0, exclude_max=True)] * 2),
    checksums=st.fixed_dictionaries({"weights": st.none() | st.just("a"), "table": st.just("b")}),
)
@examples(10)
def test_a_configuration_comes_back_and_its_resume_is_not_refused(
    name: str,
    root: str | None,
    seed: int,
    numbers: tuple[float, float],
    checksums: Mapping[str, str | None],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    values = SearchConfig.load().model_dump(mode="json")
    values |= {"name": name}
    values["search"] |= {"seed": seed}
    values["data"] |= {"train_fraction": numbers[0] / 4, "root": root}
    values["train"] |= {"momentum": numbers[1]}
    config = SearchConfig.model_validate(values)
    run = RunDirectory(str(tmp_path_factory.mktemp("run")))
    run.write_config(config, checksums, {"units": 1})
    assert repr(run.config().config) == repr(config)
    run.check_config(run.config().config, checksums, {"units": 1})


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int64", "bool"])
def test_weights_come_back_with_what_describes_them(tmp_path: Path, dtype: str) -> None:
    made = torch.tensor([[0.0, -0.0, 1e-40], [float("nan"), float("inf"), -1.5]])
    kind = getattr(torch, dtype)
    weights = {
        "b": made.nan_to_num(1.0).to(kind) if dtype == "int64" else made.to(kind),
        "a.é": torch.ones((), dtype=kind),
        "nothing": torch.zeros((0, 3), dtype=kind),
    }
    row = Evaluation(
        evaluation=7,
        sample={},
        status="ok",
        plan={k: v for k, v in Plan((), 1e-9).to_json().items() if k != "unit_lrs"},
        unit_lrs=[0.1, -0.0, 5e-324],
        val_loss=0.1 + 0.2,
    )
    run = RunDirectory(str(tmp_path))
    best, models = run.best, run.models
    assert (best.owner, best.exists) == (None, False)
    models.write(weights, 7)
    assert (best.owner, best.exists) == (None, False)
    assert [n for n in (0, 7, 70) if models.holds(n)] == [7]
    assert save(models.weights(7)) == save(weights)
    card = {
        "classes": ["é", "b"],
        "image_size": 8,
        "mean": [0.1] * 3,
        "std": [0.2] * 3,
        "units": ["u"],
    }
    best.take(row, models.path(7), card | {"other": 1})
    assert (best.owner, best.exists) == (7, True)
    assert save(best.weights()) == save(weights)
    assert best.card() == card | {"evaluation": 7}
    assert repr(best.plan()) == repr(row.whole_plan)
    assert Plan.from_json(best.plan()) == Plan((0.1, -0.0, 5e-324), 1e-9)
    first = run.storage.read("best/model.safetensors")
    best.write(best.weights(), 7)
    assert run.storage.read("best/model.safetensors") == first
    assert run.storage.read("models/000007.safetensors") == first


@given(
    kind=st.sampled_from(["float32", "float16"]),
    images=st.integers(1, 5),
    classes=st.integers(2, 4),
    seed=st.integers(0, 99),
    scale=st.sampled_from([1, 1e5]),
)
@examples(10)
def test_predictions_are_read_as_they_were_written_and_no_others(
    kind: str,
    images: int,
    classes: int,
    seed: int,
    scale: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    run = RunDirectory(str(tmp_path_factory.mktemp("run")))
    logits = np.random.default_rng(seed).normal(size=(images, classes)).astype(np.float32)
    logits[:, 0] *= scale
    stamp = run.predictions.write(3, logits, kind)
    assert run.predictions.write(3, logits, kind) == stamp  # equal numbers, equal bytes
    own = Evaluation(evaluation=3, sample={}, status="ok", predictions=stamp)
    answered = Evaluation(evaluation=5, sample={}, status="cached", source=3, predictions=stamp)
    for row in (own, answered):
        found = run.predictions.of(row)
        assert found.dtype == np.float32
        if kind == "float32":
            np.testing.assert_array_equal(found, logits)
        else:
            shifted = logits - logits.max(1, keepdims=True)
            np.testing.assert_allclose(found, shifted.clip(-6e4), rtol=1e-3)
            assert np.isfinite(found).all()
    assert run.predictions.of(own.model_copy(update={"predictions": None})) is None
    run.predictions.write(3, np.zeros_like(logits), kind)
    with pytest.raises(UserError, match=r"000003.npz is missing, or not as it was written"):
        run.predictions.of(own)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x" * 99])
def test_predictions_that_are_none_are_one_line(content: bytes, tmp_path: Path) -> None:
    run = RunDirectory(str(tmp_path))
    for name in ("test-best.npz", "images.parquet"):
        run.storage.write(f"predictions/{name}", content)
    with pytest.raises(UserError, match=r"test-best.npz is missing, or not"):
        run.predictions.test("best")
    with pytest.raises(UserError, match=r"images.parquet is missing, or not"):
        run.predictions.images("test")


def test_what_a_search_adds_up_is_its_rows(tmp_path: Path) -> None:
    rows = [
        Evaluation(
            evaluation=n, sample={}, status="ok", val_loss=1.0, epochs=n, images=2, seconds=n
        )
        for n in range(4)
    ]
    found = asdict(SearchResult.of_rows("a", "b", rows, LOSS))
    costs = ("evaluations", "epochs", "images", "device_seconds")
    assert [found[name] for name in costs] == [4, 6, 8, 6.0]
