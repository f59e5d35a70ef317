"""Words: durations, plans, counts and values as users read them."""

from __future__ import annotations

import pytest

from revo_ray.words import (
    counted,
    did_you_mean,
    duration,
    listed,
    nearest,
    number_text,
    plan_text,
    shown,
)


def test_a_plan_in_one_line() -> None:
    rates = [0.0] * 12 + [1e-4, 3.1e-2] + [2e-3] * 35 + [1e-2]
    assert plan_text(rates) == "12 of 50 units frozen, rates 1e-4…3e-2, head 1e-2"
    assert plan_text([0.0, 0.0, 0.5]) == "2 of 3 units frozen, head 5e-1"
    assert plan_text([0.1, 0.2, 0.2], head=0) == "0 of 3 units frozen, rate 2e-1, head 1e-1"
    assert plan_text([1.0, 0.0], weight_decay=0.05) == (
        "1 of 2 units frozen, rate 1e0, head frozen, weight decay 5e-2"
    )
    recipe = {"momentum": 0.873, "label_smoothing": 0.1}
    assert plan_text([0.0, 0.5], recipe=recipe) == (
        "1 of 2 units frozen, head 5e-1, momentum 0.87, label smoothing 0.1"
    )
    assert plan_text([]) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (59.6, "1m 00s"), (185, "3m 05s"), (3600, "1h 00m"), (7620, "2h 07m")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_numbers_counts_and_values() -> None:
    assert (number_text(0.5), number_text(None)) == ("0.5000", "–")
    assert (counted(1, "image"), counted(1797, "image")) == ("1 image", "1,797 images")
    assert (shown("ab"), shown("abcdef", 4)) == ("'ab'", "'abc…")


METHODS = ["auto-rgn", "first", "full", "last", "layer-decay", "random", "revo-binary"]
METHODS += ["revo-continuous", "revo-mixed", "set-encoding"]
SOURCES = ["folder", "csv", "parquet", "ham10000", "busi", "leaves", "fashion-mnist", "digits"]
KEYS = ["epochs", "batch_size", "optimizer", "momentum", "schedule", "mixup", "ema", "batch_norm"]
KEYS += ["evaluations", "seed", "granularity", "gpus_per_trial", "weights", "fit", "augment"]


@pytest.mark.parametrize(
    ("name", "known", "wanted"),
    [
        ("bayes", METHODS, []),
        ("fulll", METHODS, ["full"]),
        ("ful", METHODS, ["full"]),
        ("lsat", METHODS, ["last"]),
        ("list", METHODS, ["last"]),
        ("frist", METHODS, ["first"]),
        ("revo-continous", METHODS, ["revo-continuous"]),
        ("revo_continuous", METHODS, ["revo-continuous"]),
        ("REVO-Binary", METHODS, ["revo-binary"]),
        ("binary", METHODS, ["revo-binary"]),
        ("mixed", METHODS, ["revo-mixed"]),
        ("revo", METHODS, ["revo-binary", "revo-continuous", "revo-mixed"]),
        ("rgn", METHODS, ["auto-rgn"]),
        ("autorgn", METHODS, ["auto-rgn"]),
        ("random-search", METHODS, ["random"]),
        ("randm", METHODS, ["random"]),
        ("layerdecay", METHODS, ["layer-decay"]),
        ("llrd", METHODS, []),
        ("tpe", METHODS, []),
        ("cma", METHODS, []),
        ("", METHODS, []),
        ("💥", METHODS, []),
        ("foldr", SOURCES, ["folder"]),
        ("folders", SOURCES, ["folder"]),
        ("ham", SOURCES, ["ham10000"]),
        ("fashion", SOURCES, ["fashion-mnist"]),
        ("mnist", SOURCES, ["fashion-mnist"]),
        ("digts", SOURCES, ["digits"]),
        ("tsv", SOURCES, ["csv"]),
        ("imagenet", SOURCES, []),
        ("lr", KEYS, []),
        ("learning_rate", KEYS, []),
        ("epoch", KEYS, ["epochs"]),
        ("batch", KEYS, ["batch_size", "batch_norm"]),
        ("batchsize", KEYS, ["batch_size"]),
        ("bs", KEYS, []),
        ("optimiser", KEYS, ["optimizer"]),
        ("optim", KEYS, ["optimizer"]),
        ("momentun", KEYS, ["momentum"]),
        ("evals", KEYS, ["evaluations"]),
        ("evaluatons", KEYS, ["evaluations"]),
        ("gpus", KEYS, ["gpus_per_trial"]),
        ("seeds", KEYS, ["seed"]),
        ("granularty", KEYS, ["granularity"]),
        ("mix_up", KEYS, ["mixup"]),
        ("workers", KEYS, []),
        ("dropout", KEYS, []),
    ],
)
def test_only_a_name_that_is_near_is_suggested(
    name: str, known: list[str], wanted: list[str]
) -> None:
    assert nearest(name, known) == wanted


def test_suggestions_are_a_list() -> None:
    assert did_you_mean([]) == ""
    assert did_you_mean(["a", "b", "c"]) == "; did you mean a, b or c?"
    assert listed(["a", "b"]) == "a and b"
