"""Who wins: on written run directories, against figures worked out by hand."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from pathlib import Path

import pytest

from benchmarks import noise, wins
from revo_ray.methods import make_method
from revo_ray.settings.study import StudyConfig
from tests.model.export.runs import search
from tests.report.studies import place, write_search

STUDIES = sorted((Path(wins.__file__).parent / "studies").glob("*.yaml"))
TESTS = {  # accuracy by method and seed
    "full": (0.80, 0.90),
    "revo-continuous": (0.84, 0.92),
    "asha": (0.80, 0.80),
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    for label, accuracies in TESTS.items():
        for seed, accuracy in enumerate(accuracies):
            name = "full" if label == "asha" else label
            halving = "asha" if label == "asha" else "none"
            write_search(
                folder,
                f"digits-0.05-tf_efficientnet_lite0-{label}-s{seed}",
                [
                    f"method.name={name}",
                    f"method.halving={halving}",
                    *place("digits", 0.05, seed),
                ],
                {"loss": 0.5, "accuracy": accuracy, "auc": accuracy + 0.1},
            )
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["program", *arguments])


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_studies_pay_every_method_the_same(path: Path) -> None:
    searches = StudyConfig.load(path).searches()
    assert {make_method(search.method).name for search in searches} >= {"revo-continuous"}
    assert len({(s.search.evaluations, s.search.budget, s.train.epochs) for s in searches}) == 1
    assert path.stem == StudyConfig.load(path).name


def test_differences_are_paired_by_seed(
    study: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(monkeypatch, str(tmp_path / "out"), str(study))
    wins.main()
    table = capsys.readouterr().out
    assert table == (tmp_path / "out" / "table.md").read_text()
    first, second, third = (line.split(" | ") for line in table.splitlines()[2:])
    assert (first[0], second[0], third[0]) == ("| `revo-continuous`", "| `full`", "| `asha`")
    assert first[2] == "88.0 ± 5.7"
    assert first[4].startswith("+3.00 [")
    assert third[4].startswith("-5.00 [")
    assert first[5].startswith("2/0")
    assert third[5].startswith("0/1")

    rows = list(csv.DictReader((tmp_path / "out" / "searches.csv").open()))
    assert len(rows) == 6
    assert {(row["evaluations"], row["epochs"]) for row in rows} == {("4", "8")}
    genomes = hashlib.sha256(json.dumps([[]] * 4).encode()).hexdigest()
    assert {row["genomes_sha256"] for row in rows} == {genomes}
    curve = list(csv.DictReader((tmp_path / "out" / "curves.csv").open()))
    losses = [float(row["val_loss"]) for row in curve if row["method"] == "full"]
    assert losses == sorted(losses, reverse=True)
    assert (losses[0], losses[-1]) == (0.9, 0.6)  # 0.9, 0.6, 0.7, 0.8: the best so far
    assert (tmp_path / "out" / "curves.svg").read_bytes().startswith(b"<?xml")


def test_each_cell_has_differences_of_its_own(
    study: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for label, accuracy in (("full", 0.95), ("revo-continuous", 0.94)):
        write_search(
            study,
            f"digits-0.2-tf_efficientnet_lite0-{label}-s0",
            [f"method.name={label}", *place("digits", 0.2, 0)],
            {"loss": 0.5, "accuracy": accuracy, "auc": 0.99},
        )
    run(monkeypatch, str(tmp_path / "out"), str(study))
    wins.main()
    head, _, *rows = (line.split(" | ") for line in capsys.readouterr().out.splitlines())
    found = {row[0].strip("| `"): dict(zip(head, row, strict=True)) for row in rows}
    revo = found["revo-continuous"]
    assert revo["digits 5 %: Δ acc."].startswith("+3.00 [")
    assert revo["digits 20 %: Δ acc."] == "-1.00"
    assert revo["digits 20 %: Δ AUC"] == "+0.00"
    assert revo["Δ acc. to full"].startswith("+1.67 [")
    assert found["full"]["digits 5 %: Δ acc."] == ""
    assert found["asha"]["digits 20 %: Δ acc."] == ""


def test_the_record_has_the_table_and_the_revisions_of_the_searches(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "wins.json"
    run(monkeypatch, str(tmp_path / "out"), str(study), "--out", str(out))
    wins.main()
    record = json.loads(out.read_text())
    assert wins.markdown(record["line"]["table"]) == capsys.readouterr().out
    made_by = {str(search.revision) for search in wins.load(study)}
    assert (record["searches"], record["seeds"]) == (sorted(made_by), "0-1")


def searched(folder: Path, *overrides: str) -> tuple[Path, Path]:
    """A study of one finished search, and its run directory."""
    study = folder / "study"
    found = search(
        study,
        "digits-0.2-test_efficientnet-revo-continuous-s0",
        "model.name=timm/test_efficientnet",
        "search.evaluations=4",
        "search.population=4",
        *overrides,
    )
    tables = study / ".tables"
    tables.rename(folder / ".tables")  # where those of a study's searches are
    return study, found


def test_a_winner_is_trained_again_under_other_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study, found = searched(tmp_path)
    run(monkeypatch, str(study), "--seeds", "3")
    noise.main()
    line = json.loads(capsys.readouterr().out)["methods"]["revo-continuous"]
    best = json.loads((found / "result.json").read_text())["best"]
    assert line["searches"] == 1
    assert line["selected"] == pytest.approx(best["val_loss"], abs=1e-4)
    assert line["luck"] == pytest.approx(line["again"] - line["selected"], abs=2e-4)
    assert line["spread"] > 0
