"""Run directories of searches over a network's units, with generations, failures and the rest."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from revo_ray.rundir import Evaluation, Ledger, RunDirectory
from revo_ray.settings.schema import SearchConfig
from tests.report.studies import place, write_result

CAUSE = "torch.OutOfMemoryError: tried to allocate 2 GiB"


def unit_names(count: int) -> list[str]:
    """A stem, blocks of three layers, a head."""
    inner = [f"blocks.{i // 6}.{i // 3 % 2}.conv{i % 3}" for i in range(count - 2)]
    return ["conv_stem", *inner, "classifier"]


def write_evolved(
    study: Path,
    name: str,
    settings: Sequence[str] = (),
    *,
    units: int = 12,
    evaluations: int = 40,
    rows: int | None = None,
    method: str = "revo-continuous",
    seed: int = 0,
    failing: Sequence[int] = (),
    cause: str = CAUSE,
    lookahead: int = 0,
    described: bool = True,
) -> Ledger:
    """A search of generations of ten, in which the first and third unit decide the loss.

    Args:
        settings: `KEY=VALUE` overrides.
        units: of the network.
        rows: how many are there; fewer than `evaluations` are a search that was interrupted.
        failing: evaluations that fail, every other one by diverging.
        cause: of those that end in an error.
        described: whether there is a best model, with its description.
    """
    budget = [f"search.evaluations={evaluations}", f"search.lookahead={lookahead}"]
    overrides = [f"name={name}", f"method.name={method}", "train.epochs=2", *budget, *settings]
    config = SearchConfig.load(None, overrides)
    run = RunDirectory(str(study / name))
    run.write_config(config, {"weights": "1" * 64, "table": "2" * 64}, {})
    rng = np.random.default_rng(seed)
    names, ledger = unit_names(units), run.ledger(config.search.metric)
    sweep = 10 if config.method.options.get("sweep") else 0
    for number in range(evaluations if rows is None else rows):
        row = _row(number, names, method, rng, number in failing, cause, sweep)
        ledger.append(Evaluation.model_validate(row))
    best = ledger.best
    if described and best is not None:
        image = {"image_size": 8, "mean": [0.5] * 3, "std": [0.5] * 3}
        card = {"units": names, "classes": ["a", "b"]} | image
        run.best.describe(card | {"evaluation": best.evaluation})
    if rows is None:
        test = {"loss": 0.7, "accuracy": 0.75, "auc": 0.9}
        if best is not None and best.val_loss is not None:
            test = {"loss": best.val_loss + 0.05, "accuracy": 0.95 - best.val_loss / 4}
            test |= {"auc": 0.99 - best.val_loss / 10, "balanced_accuracy": 0.8}
        write_result(run, config, ledger, test)
    return ledger


def write_study(
    study: Path,
    methods: Sequence[str] = ("full", "random", "revo-binary", "revo-continuous"),
    *,
    data: Sequence[str] = ("busi", "ham10000", "leaves"),
    fractions: Sequence[float] = (0.05, 0.2),
    seeds: Sequence[int] = (0, 1),
    units: int = 12,
    evaluations: int = 20,
) -> None:
    """A finished search for each place."""
    study.mkdir(parents=True, exist_ok=True)
    (study / "study.yaml").write_text(f"name: {study.name}\nstudy: {{methods: {list(methods)}}}\n")
    for source in data:
        for fraction in fractions:
            for seed in seeds:
                for method in methods:
                    write_evolved(
                        study,
                        f"{source}-{fraction:g}-{method}-s{seed}",
                        place(source, fraction, seed),
                        method=method,
                        units=units,
                        evaluations=evaluations,
                        seed=zlib.crc32(f"{source} {fraction} {method} {seed}".encode()),
                    )


def _row(
    number: int, names: list[str], method: str, rng: np.random.Generator, fails: bool, cause: str,
    sweep: int = 0,
) -> dict[str, Any]:  # fmt: skip
    generation = None if method in ("random", "full") else number // 10
    spread = 0.3 / (1 + (generation or 0))
    genes = np.clip(rng.normal(0.6, spread, len(names)), 0, 1)
    if number < sweep:
        genes = np.full(len(names), (number * 3 % sweep + 0.5) / sweep)
    rates = [float(10 ** (-4 + 4 * gene)) for gene in genes]
    sample: dict[str, Any] = dict(zip(names, map(float, genes), strict=True))
    if method == "revo-binary":
        bits = [int(bit) for bit in rng.integers(0, 2, len(names) - 1)] + [1]
        sample = dict(zip(names[:-1], bits, strict=False)) | {"global_lr": rates[0]}
        rates = [rates[0] * bit for bit in bits]
    if method == "full":
        sample, rates = {"lr": rates[0], "wd": 1e-3}, [rates[0]] * len(names)
    row: dict[str, Any] = {
        "evaluation": number,
        "generation": generation,
        "sample": sample,
        "unit_lrs": rates,
        "started_at": 1000.0 + number,
        "finished_at": 1001.5 + number,
        "node": "here",
        "device": "cpu",
    }
    if fails:
        diverged = number % 2 == 1
        return row | {
            "status": "diverged" if diverged else "error",
            "error": None if diverged else cause,
            "attempts": 1 if diverged else 3,
        }
    exponents = [math.log10(rate) if rate else -5.0 for rate in (rates[0], rates[2])]
    loss = 0.3 + 0.2 * (exponents[0] + 2) ** 2 + 0.1 * (exponents[1] + 1) ** 2 + rng.random() / 10
    scores = {"val_accuracy": max(0.1, 0.97 - loss / 4), "val_auc": max(0.5, 0.99 - loss / 10)}
    scores |= {"val_balanced_accuracy": max(0.1, 0.9 - abs(loss - 0.6))}
    cost = {"epochs": 2, "images": 100, "seconds": 1.25}
    return row | {"status": "ok", "val_loss": float(loss)} | scores | cost
