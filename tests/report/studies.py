"""Run directories as searches leave them, written through the project's own code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from revo_ray.rundir import Evaluation, Ledger, RunDirectory
from revo_ray.settings.schema import SearchConfig

TEST = {"loss": 0.5, "accuracy": 0.8, "auc": 0.9}


def write_search(
    study: Path,
    name: str,
    settings: Sequence[str] = (),
    test: dict[str, float | None] | None = TEST,
    *,
    losses: Iterable[float | None] = (0.9, 0.6, 0.7, 0.8),
    done: bool = True,
    **row: Any,
) -> Ledger:
    """A search of a budget of 4 evaluations, 2 epochs each, with one row for each loss.

    Args:
        settings: `KEY=VALUE` overrides.
        losses: None diverged.
        done: with a result.
        row: what every ledger row holds.
    """
    small = ["search.evaluations=4", "search.population=4", "train.epochs=2"]
    config = SearchConfig.load(None, ["name=" + name, *small, *settings])
    run = RunDirectory(str(study / name))
    run.write_config(config, {"weights": None, "table": "0"}, {})
    ledger = run.ledger(config.search.metric)
    values = {
        "val_accuracy": 0.85,
        "val_auc": 0.95,
        "epochs": 2,
        "images": 20,
        "seconds": 1.5,
    } | row
    for number, loss in enumerate(losses):
        status = "ok" if loss is not None else "diverged"
        sample = {"lr": 0.1}
        ledger.append(
            Evaluation.model_validate(
                {"evaluation": number, "sample": sample, "status": status, "val_loss": loss}
                | (values if loss is not None else {})
            )
        )
    if done:
        write_result(run, config, ledger, test)
    return ledger


def write_result(
    run: RunDirectory, config: SearchConfig, ledger: Ledger, test: dict[str, float | None] | None
) -> None:
    """Write the outcome and the table of the rows, as a finished search leaves them."""
    result = replace(run.outcome_so_far(config), stopped_by="budget", test_looks=1)
    ledger.write_parquet()
    run.write_outcome(replace(result, test=test if result.best else None))


def write_grid(
    study: Path,
    methods: Sequence[str],
    score: Callable[[str, str, float, int], float],
    *,
    data: Sequence[str] = ("digits",),
    fractions: Sequence[float] = (0.05,),
    seeds: Iterable[int] = range(3),
) -> None:
    """A finished search for each place; `score` of method, data, fraction and seed is its AUC."""
    for source in data:
        for fraction in fractions:
            for seed in seeds:
                for method in methods:
                    auc = score(method, source, fraction, seed)
                    write_search(
                        study,
                        f"{source}-{fraction:g}-{method}-s{seed}",
                        [
                            f"method.name={method}",
                            "search.evaluations=1",
                            *place(source, fraction, seed),
                        ],
                        {"loss": 1 - auc, "accuracy": auc - 0.1, "auc": auc},
                        losses=(0.5,),
                    )


def place(source: str, fraction: float, seed: int) -> list[str]:
    """The settings of a cell and a seed."""
    seeds = [f"{section}.seed={seed}" for section in ("data", "train", "search")]
    return [f"data.source={source}", f"data.train_fraction={fraction}", *seeds]
