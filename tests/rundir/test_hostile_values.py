"""Each value of each JSON file in a run directory, replaced by one that nobody writes."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from revo_ray.errors import UserError
from revo_ray.finetune.network import UNIT_RULES
from revo_ray.model.train import read_plan
from revo_ray.objective import METRICS
from revo_ray.report.loaded_run import load_run
from revo_ray.rundir import RunDirectory
from revo_ray.rundir.evaluation import Evaluation, seal_row
from revo_ray.rundir.outcome import FormResult, SearchResult
from revo_ray.rundir.warm_start import WarmStart, Winners
from revo_ray.settings.schema import SearchConfig

ROW = {
    "evaluation": 0,
    "generation": 0,
    "sample": {"a": 0.5, "b": 0.1},
    "genome": [0.5, 0.1],
    "plan": {"weight_decay": 0.0, "policy": None},
    "unit_lrs": [0.1, 0.01],
    "status": "ok",
    "val_loss": 0.5,
    "curve": [{"epoch": 1, "val_loss": 0.5}],
    "seconds": 1.0,
    "started_at": 1.0,
    "finished_at": 2.0,
}
CARD = {
    "classes": ["a", "b"],
    "image_size": 32,
    "mean": [0.5] * 3,
    "std": [0.5] * 3,
    "units": ["a", "b"],
    "evaluation": 0,
    "validation": {"loss": 0.5},
}
CONFIG = {
    "name": "run",
    "data": {"root": "x", "image_size": 32, "intensity": "auto"},
    "search": {"evaluations": 4, "warm_start": ["x"]},
    "recorded": {"versions": {"torch": "2"}, "sha256": {"table": "0"}, "rules": {"units": 2}},
}
HOSTILE = (
    *("1" + "0" * 400, "9" * 5000, "1e999", "NaN", "-1", "1e308", '""', '"x"', "null", "true"),
    *("[" * 5000 + "]" * 5000, "[" * 40 + "]" * 40, "{}", "[]", '{"a": {"b": [1]}}', '["a", {}]'),
    *(json.dumps([0.1] * 2001), json.dumps({f"k{n}": n for n in range(10_001)}), '"\\ud800"'),
)
"""JSON texts."""


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = RunDirectory(str(tmp_path / "run"))
    made.write_config(SearchConfig(), {}, {"units": UNIT_RULES})
    row = Evaluation.model_validate(ROW)
    made.ledger().append(row)
    made.best.describe(CARD)
    made.storage.write("best/plan.json", json.dumps(row.whole_plan).encode())
    made.write_warm_start(WarmStart([Winners("x", "timm/y", [0], [[0.1, 0.01]])]))
    form = FormResult({0: 1.0}, {"loss": 0.5}, None, {"loss": 0.5}, {"loss": (0.4, 0.6)})
    result = SearchResult.of_rows("run", made.uri, [row], METRICS["loss"])
    made.write_outcome(SearchResult(**vars(result) | {"forms": {"best": form}}))
    return made


def read_rows(run: RunDirectory) -> object:
    return load_run(run).units


FILES: dict[str, Callable[[RunDirectory], object]] = {
    "ledger/000000.json": read_rows,
    "best/config.json": lambda run: run.best.card(),
    "best/plan.json": lambda run: read_plan(f"{run.uri}/best/plan.json"),
    "result.json": lambda run: (read_rows(run), run.outcome(), run.earlier_looks),
    "warm_start.json": lambda run: run.warm_start(2),
    "config.yaml": lambda run: run.config(),
}


@pytest.mark.sample(3)
@pytest.mark.parametrize("file", FILES)
def test_a_value_that_nobody_writes_is_read_or_refused_in_one_line(
    file: str, run: RunDirectory
) -> None:
    read, began = FILES[file], time.monotonic()
    read(run)
    if file == "config.yaml":
        values = CONFIG
    else:
        values = json.loads(run.storage.read(file))
        values.pop("sha256", None)
    refused = 0
    for text in spoilt(values):
        content = text.encode()
        if file.startswith("ledger"):
            content = resealed(text)
        run.storage.write(file, content)
        outcome = outcome_of(read, run)
        refused += outcome == "refused"
        assert outcome in ("read", "refused"), f"{text[:300]}: {outcome}"
    assert refused > 10
    assert time.monotonic() - began < 100


def outcome_of(read: Callable[[RunDirectory], object], run: RunDirectory) -> str:
    """`read`, `refused`, or the error that a user would see as a traceback."""
    try:
        read(run)
    except UserError as error:
        return "refused" if len(str(error).splitlines()) == 1 else str(error)
    except Exception as error:  # without its traceback, which may be endless
        return f"{type(error).__name__}: {str(error)[:200]}"
    return "read"


def spoilt(values: Any) -> Iterator[str]:
    """The values as JSON, with one of them replaced; each place sees a quarter of the texts."""
    for number, place in enumerate([(), *places(values)]):
        for text in HOSTILE[number % 4 :: 4]:
            yield replaced(values, place).replace('"\\u0000"', text)


def replaced(values: Any, place: tuple[Any, ...]) -> str:
    """The values as JSON, with a mark in a place."""
    whole = {"": copy.deepcopy(values)}
    inner: Any = whole
    for key in ("", *place[:-1]):
        before, inner = inner, inner[key]
    if place:
        inner[place[-1]] = "\0"
    else:
        before[""] = "\0"
    return json.dumps(whole[""])


def places(values: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to all values; of a list to the first one."""
    inner = values.items() if isinstance(values, dict) else enumerate(values[:1])
    for key, value in inner:
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from places(value, (*above, key))


def resealed(text: str) -> bytes:
    """A row of the ledger with its checksum."""
    assert seal_row(Evaluation.model_validate(ROW)).endswith(b'"}')
    body = text.removesuffix("}").encode()
    return body + f', "sha256": "{hashlib.sha256(body).hexdigest()}"}}'.encode()
