"""The table of methods in `docs/methods.md` says what the code does by default."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from revo_ray.methods import load_methods, make_method
from revo_ray.settings.schema import MethodConfig
from tests.docs.test_docs import ROOT

UNITS: Any = [SimpleNamespace(name=f"unit{n}", head=n == 4) for n in range(5)]


def table() -> dict[str, dict[str, str]]:
    heading = "## Free and frozen values of each method"
    text = (ROOT / "docs/methods.md").read_text().partition(heading)[2].partition("\n## ")[0]
    head, _, *rows = re.findall(r"^\|(.*)\|$", text, flags=re.M)
    names, *lines = ([cell.strip() for cell in row.split(" | ")] for row in (head, *rows))
    cells = [dict(zip(names, line, strict=True)) for line in lines]
    return {cell["method"].strip("`"): cell for cell in cells}


def test_the_table_has_every_method() -> None:
    assert table().keys() == load_methods().keys()


@pytest.mark.parametrize("name", sorted(load_methods()))
def test_a_row_says_what_is_searched_and_frozen(name: str) -> None:
    row, method = table()[name], make_method(MethodConfig(name=name))
    space, rng = method.space(UNITS), np.random.default_rng(0)
    assert row["weight decay"].startswith("searched") == bool({"wd", "weight_decay"} & set(space))
    takes_recipe = "recipe" in method.Options.model_fields
    assert ("`recipe`" in row["other settings"]) == takes_recipe
    frozen: set[int] = set()
    kept = set(range(len(UNITS)))
    for _ in range(60):
        now = {n for n, f in enumerate(method.plan(space.random(rng), UNITS).frozen) if f}
        frozen |= now
        kept &= now
    assert row["frozen"].startswith("nothing") == (not frozen)
    assert row["frozen"].startswith("all units") == (bool(frozen) and kept == frozen)
    assert row["frozen"].startswith("units") == (bool(frozen) and not kept)
    assert 4 not in frozen
