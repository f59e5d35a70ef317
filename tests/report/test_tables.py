"""The numbers in tables and CSV files, compared with numpy."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from revo_ray.report.csv_tables import means_csv, searches_csv
from revo_ray.report.grid import Cell, Grid
from revo_ray.report.outcomes import SearchOutcome, load_outcomes
from revo_ray.report.tables import cost_table, make_tables, optimism_table, score_table
from revo_ray.rundir import open_directory
from tests.report.studies import TEST, place, write_grid, write_search

RNG = np.random.default_rng(1)


def outcomes(study: Path) -> list[SearchOutcome]:
    return load_outcomes(open_directory(str(study)))


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
    write_search(tmp_path, "odd", losses=(0.5,) * 5)
    assert "odd (5/4)" in cost_table(outcomes(tmp_path), "").caption


def test_optimism_is_validation_minus_test_of_the_same_search(tmp_path: Path) -> None:
    tests = [{"loss": 0.7, "accuracy": 0.8, "auc": 0.9}, {"loss": 1.0, "accuracy": 0.7, "auc": 0.9}]
    for seed, test in enumerate(tests):
        losses = (0.6 + 0.1 * seed, 0.9, 0.9, 0.9)
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
    grids = [grid for tables in make_tables(outcomes(tmp_path)) for grid in tables.all]
    assert [grid.title.partition(":")[0] for grid in grids] == [
        *("timm/tf_x_y", "timm/tf_x_y, digits", "timm/tf_x_y"),
        *("torchvision/resnet18", "torchvision/resnet18, digits", "torchvision/resnet18"),
    ]
    for grid in grids:
        assert all(len(row) == len(grid.columns) for row in grid.rows)
