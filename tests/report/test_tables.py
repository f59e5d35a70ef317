"""The tables: what they say against numpy, and that Markdown, LaTeX and CSV carry it."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.markdown import Markdown

from revo_ray.report.layout import Cell, Column, Grid, escape_latex, to_latex, to_markdown
from revo_ray.report.outcomes import SearchOutcome, load_outcomes
from revo_ray.report.tables import (
    cost_table,
    make_tables,
    means_csv,
    optimism_table,
    score_table,
    searches_csv,
)
from revo_ray.storage import Storage
from tests.report.studies import TEST, place, write_grid, write_search

RNG = np.random.default_rng(1)


def outcomes(study: Path) -> list[SearchOutcome]:
    return load_outcomes(Storage(str(study)))


def rows(grid: Grid) -> dict[tuple[str, str], list[Cell]]:
    """Rows by fraction and method."""
    found: dict[tuple[str, str], list[Cell]] = {}
    fraction = ""
    for first, method, *cells in grid.rows:
        fraction = first.text or fraction
        found[fraction, method.text] = cells
    return found


def test_every_cell_is_mean_and_sample_deviation_and_the_best_is_bold(tmp_path: Path) -> None:
    auc = {
        (method, data, fraction, seed): float(RNG.uniform(0.6, 0.9))
        for method in ("full", "revo-binary", "revo-continuous")
        for data in ("busi", "leaves")
        for fraction in (0.05, 0.2)
        for seed in range(3)
    }
    write_grid(
        tmp_path,
        ["revo-binary", "full", "revo-continuous"],
        lambda *key: auc[key],
        data=["leaves", "busi"],
        fractions=[0.2, 0.05],
    )
    grid = score_table(outcomes(tmp_path), "scores")
    assert [column.group for column in grid.columns[2:]] == ["busi"] * 2 + ["leaves"] * 2
    found = rows(grid)
    assert list(found) == [
        (fraction, method)
        for fraction in ("0.05", "0.2")
        for method in ("full", "revo-binary", "revo-continuous")
    ]
    assert grid.rules == {3}
    for (fraction, method), cells in found.items():
        for number, data in enumerate(("busi", "leaves")):
            values = [100 * auc[method, data, float(fraction), seed] for seed in range(3)]
            text = f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"
            rivals = [
                np.mean([auc[m, data, float(fraction), seed] for seed in range(3)])
                for m in ("full", "revo-binary", "revo-continuous")
            ]
            is_best = bool(np.isclose(np.mean(values) / 100, max(rivals)))
            assert cells[2 * number] == (text, is_best)
            assert cells[2 * number + 1].bold == is_best  # accuracy is 0.1 less, in every search


def test_missing_unfinished_and_failed_searches_are_told(tmp_path: Path) -> None:
    def add(name: str, method: str, seed: int, source: str = "busi", **options: object) -> None:
        settings = [f"method.name={method}", *place(source, 0.05, seed)]
        write_search(tmp_path, name, settings, **options)  # type: ignore[arg-type]

    for seed in range(2):
        add(f"full{seed}", "full", seed)
    add("leaves", "full", 0, source="leaves")
    add("last0", "last", 0, test=TEST | {"auc": 0.99, "accuracy": 0.99})
    add("last1", "last", 1, losses=(0.5,), done=False)
    add("first0", "first", 0, losses=(), done=False)
    add("revo0", "revo-binary", 0, losses=(None,) * 4)
    found = {
        method: cells for (_, method), cells in rows(score_table(outcomes(tmp_path), "")).items()
    }
    busi = {method: cells[0] for method, cells in found.items()}
    assert busi["full"] == ("90.0 ± 0.0", False)
    assert busi["last"] == ("99.0 (n=1, 1/4)", False)  # of one seed: no rival of two
    assert busi["first"].text == "0/4"
    assert busi["revo-binary"].text == "1 failed"
    assert [found[method][2].text for method in found] == ["–", "90.0 (n=1)", "–", "–"]


def test_one_seed_has_no_deviation(tmp_path: Path) -> None:
    write_search(tmp_path, "one")
    grid = score_table(outcomes(tmp_path), "")
    assert [cell.text for cell in grid.rows[0][2:]] == ["90.0", "80.0"]
    assert "n = 1 seed" in grid.caption


def test_equal_means_are_both_bold(tmp_path: Path) -> None:
    for method in ("full", "last"):
        write_search(tmp_path, method, [f"method.name={method}"])
    grid = score_table(outcomes(tmp_path), "")
    assert all(row[2].bold and row[3].bold for row in grid.rows)


def test_costs_are_means_with_their_range(tmp_path: Path) -> None:
    for seed in range(2):
        settings = ["method.name=full", *place("busi", 0.05, seed)]
        write_search(tmp_path, f"full{seed}", settings, images=1000 + seed, seconds=1.0 + seed)
    part = ["method.name=last", *place("busi", 0.05, 0)]
    write_search(tmp_path, "last", part, losses=(0.5,), done=False)
    grid = cost_table(outcomes(tmp_path), "")
    full, last = ([cell.text for cell in row] for row in grid.rows)
    assert full == ["0.05", "full", "2", "4", "8", "4,002 (4,000–4,004)", "6 (4–8)"]
    assert last == ["", "last", "0", "1/4", "–", "–", "–"]
    assert "spent exactly its budget" in grid.caption


def test_a_search_off_its_budget_is_named(tmp_path: Path) -> None:
    write_search(tmp_path, "odd", losses=(0.5,) * 3)
    assert "odd (3/4)" in cost_table(outcomes(tmp_path), "").caption


def test_optimism_is_validation_minus_test_of_the_same_search(tmp_path: Path) -> None:
    tests = [{"loss": 0.7, "accuracy": 0.8, "auc": 0.9}, {"loss": 1.0, "accuracy": 0.7, "auc": 0.9}]
    for seed, test in enumerate(tests):
        losses = (0.6 + 0.1 * seed, 0.9)
        write_search(tmp_path, f"s{seed}", place("busi", 0.05, seed), test, losses=losses)
    (row,) = optimism_table(outcomes(tmp_path), "").rows
    gaps = np.array([0.6 - 0.7, 0.7 - 1.0])
    spread = f"−{abs(gaps.mean()):.3f} ± {gaps.std(ddof=1):.3f}"
    assert [cell.text for cell in row[:5]] == ["revo-continuous", "2", "0.650", "0.850", spread]
    assert [cell.text for cell in row[5:]] == ["85.0", "75.0", "+10.0 ± 7.1"]


def test_csv_holds_every_number_unrounded(tmp_path: Path) -> None:
    values = [float(RNG.random()) for _ in range(3)]
    for seed, value in enumerate(values):
        test = {"loss": value / 3, "accuracy": value / 7, "auc": None}
        write_search(tmp_path, f"s{seed}", place("busi", 0.05, seed), test, seconds=value)
    write_search(tmp_path, "part", place("busi", 0.05, 3), losses=(0.1,), done=False)
    found = outcomes(tmp_path)
    searches = list(csv.DictReader(io.StringIO(searches_csv(found))))
    assert [row["search"] for row in searches] == ["s0", "s1", "s2", "part"]
    assert [row["done"] for row in searches] == ["1", "1", "1", "0"]
    assert [float(row["test_loss"]) for row in searches[:3]] == [value / 3 for value in values]
    assert [row["test_auc"] for row in searches] == [""] * 4
    assert float(searches[3]["validation_loss"]) == 0.1
    means = {row["quantity"]: row for row in csv.DictReader(io.StringIO(means_csv(found)))}
    accuracy = means["test_accuracy"]
    expected = np.array(values) / 7
    assert (accuracy["n"], accuracy["searches"]) == ("3", "4")
    assert float(accuracy["mean"]) == pytest.approx(expected.mean(), rel=1e-15)
    assert float(accuracy["std"]) == pytest.approx(expected.std(ddof=1), rel=1e-14)
    assert (means["test_auc"]["n"], means["test_auc"]["mean"]) == ("0", "")


def test_there_are_tables_for_each_model_and_they_are_whole(tmp_path: Path) -> None:
    for number, model in enumerate(("torchvision/resnet18", "timm/tf_x_y")):
        for method in ("full", "last"):
            write_search(
                tmp_path, f"{method}{number}", [f"model.name={model}", f"method.name={method}"]
            )
    grids = make_tables(outcomes(tmp_path))
    assert [grid.title.partition(":")[0] for grid in grids] == [
        *("timm/tf_x_y", "timm/tf_x_y, digits", "timm/tf_x_y"),
        *("torchvision/resnet18", "torchvision/resnet18, digits", "torchvision/resnet18"),
    ]
    for grid in grids:
        assert all(len(row) == len(grid.columns) for row in grid.rows)


NASTY = r"a_b & 50% $x$ #1 {y} ~ ^ \z <t> |u| [v] * `w`"


def test_latex_prints_what_the_cells_say() -> None:
    grid = Grid(
        "T_1", "50 %", [Column("m", numbers=False), Column("v", "a&b"), Column("w", "a&b")], []
    )
    grid.rows.extend([[Cell(NASTY), Cell("1 ± 2", bold=True), Cell("−3")], [Cell("")] * 3])
    grid.rules.add(1)
    text = to_latex(grid)
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert [len(re.findall(r"(?<!\\)&", line)) for line in lines] == [2, 2]
    assert r"\textbf{1 $\pm$ 2} & $-$3 \\" in lines[0]
    assert body.count(r"\midrule") == 2
    assert r"\multicolumn{2}{c}{a\&b}" in text
    assert r"\cmidrule(lr){2-3}" in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert not lines[1].startswith("[")


def test_latex_escapes_every_special_character() -> None:
    escaped = escape_latex(NASTY)
    assert not re.search(r"(?<!\\)[&%#_]", escaped)
    for command in (r"\textbackslash{}z", r"\textasciitilde{}", r"\textasciicircum{}", r"\$x\$"):
        assert command in escaped
    assert escape_latex("[1]") == "{[}1{]}"


def test_markdown_shows_what_the_cells_say() -> None:
    grid = Grid("T", "said", [Column("m", numbers=False), Column("v", "group")], [])
    grid.rows.append([Cell(NASTY), Cell("1 ± 2", bold=True)])
    console = Console(width=120, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(Markdown(to_markdown(grid)))
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capture.get())
    assert NASTY in shown
    assert "group v" in shown
    assert "\x1b[1m1 ± 2" in capture.get()
