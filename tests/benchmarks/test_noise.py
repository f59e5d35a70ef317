"""Winners under other seeds, and the studies that benchmarks run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import noise
from revo_ray.methods import make_method
from revo_ray.settings.study import StudyConfig
from tests.model.export.runs import search

STUDIES = sorted((Path(noise.__file__).parent / "studies").glob("*.yaml"))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["program", *arguments])


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_studies_pay_every_method_the_same(path: Path) -> None:
    searches = StudyConfig.load(path).searches()
    assert {make_method(search.method).name for search in searches} >= {"revo-continuous"}
    assert len({(s.search.evaluations, s.search.budget, s.train.epochs) for s in searches}) == 1
    assert path.stem == StudyConfig.load(path).name


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
    assert line["diverged"] == 0


def winners(**cells: dict[int, float]) -> noise.Winners:
    """Winners of one method with a loss, by cell and seed."""
    return {
        cell: {seed: {"loss": loss} for seed, loss in own.items()} for cell, own in cells.items()
    }


def test_winners_are_compared_by_cell_and_seed() -> None:
    """A seed that one method alone has counts for nobody, and each cell has the same weight."""
    ours = winners(a={0: 90.0, 1: 92.0, 2: 10.0}, b={0: 20.0, 1: 30.0})
    full = winners(a={1: 88.0, 0: 88.0}, b={1: 20.0, 0: 12.0, 7: 0.0}, c={2: 99.0})
    found = noise.differences({"full": full, "revo": ours, "last": winners(c={0: 1.0})}, "loss")
    assert found.keys() == {"full"}
    assert found["full"]["mean"] == pytest.approx((3 + 9) / 2)
    assert noise.differences({"full": full}, "loss") == {}
