"""`revo-ray train`: the best plan of a run directory, trained again, with one seed or several."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import fs
from safetensors.torch import load_file

import revo_ray
from revo_ray.combine.explanation import score_intervals
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.metrics import classification_scores
from revo_ray.model.export.export import export_model
from revo_ray.model.refit import spread
from revo_ray.model.train import train_plan
from revo_ray.objective import Scores
from revo_ray.settings.schema import SearchConfig
from revo_ray.words import number_text
from tests.model.run_directories import make_run
from tests.object_store import object_store
from tests.typed import Typed


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = make_run(tmp_path_factory.mktemp("refit"), "run")
    torch.set_num_threads(threads)
    return run


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of the run directory, beside its image table."""
    shutil.copytree(made.parent / ".tables", tmp_path / ".tables")
    return Path(shutil.copytree(made, tmp_path / "run"))


def best_of(run: Path) -> dict[str, Any]:
    best: dict[str, Any] = json.loads((run / "result.json").read_text())["best"]
    return best


def test_the_best_plan_makes_the_same_model_again(typed: Typed, run: Path, tmp_path: Path) -> None:
    status, said, err = typed("train", run, "--out", tmp_path / "again")
    assert status == 0, err
    assert f"validation: loss {best_of(run)['val_loss']:.4f}" in said
    assert f"model:      {tmp_path / 'again'}" in said
    again = load_file(tmp_path / "again" / "model.safetensors")
    found = load_file(run / "best" / "model.safetensors")
    assert again.keys() == found.keys()
    assert all(torch.equal(again[name], found[name]) for name in found)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 40, 40, 3), np.uint8)
    answers = [revo_ray.load(path).predict(pixels) for path in (run, tmp_path / "again")]
    assert np.allclose(answers[0].probabilities, answers[1].probabilities, atol=1e-6)
    card = (tmp_path / "again" / "README.md").read_text()
    assert "The model is the one training, seed 0." in card
    assert "- images: 60 training, 60 validation, 60 test" in card

    plan = run / "best" / "plan.json"
    for words in ((run / "config.yaml", "--plan", plan), (run, "--plan", plan)):
        status, told, err = typed("train", *words)
        assert status == 0, err
        scores = [line for line in said.splitlines() if line.startswith(("valid", "test"))]
        assert len(scores) == 2
        assert [line for line in told.splitlines() if line.startswith(("valid", "test"))] == scores
        assert "model:" not in told


def test_several_seeds_are_one_model_that_gives_their_mean(
    typed: Typed, run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "seeds"
    words = ("--seeds", 2, "--with-validation", "--set", "train.seed=5", "--out", out)
    status, said, err = typed("train", run, *words)
    assert status == 0, err
    assert "validation:" not in said
    config = SearchConfig.load(run / "config.yaml")
    plan = Plan.from_json(json.loads((run / "best" / "plan.json").read_text()))
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), np.uint8)
    each, scores = [], []
    for seed in (5, 6):
        seeded = config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})
        trained = train_plan(seeded, plan, with_validation=True)
        member = load_file(out / f"seed-{seed}" / "model.safetensors")
        assert all(torch.equal(member[k], v) for k, v in trained.tuner.state_dict().items())
        scores.append(trained.test.accuracy)
        answers = revo_ray.load(out / f"seed-{seed}").predict(pixels.transpose(0, 2, 3, 1))
        each.append(answers.probabilities)
    found = revo_ray.load(out).predict(pixels.transpose(0, 2, 3, 1)).probabilities
    assert np.abs(found - np.mean(each, 0)).max() < 1e-6
    assert np.abs(each[0] - each[1]).max() > 1e-3
    known = [score for score in scores if score is not None]
    for name, value in (
        ("mean", statistics.fmean(known)),
        ("standard deviation", statistics.stdev(known)),
        ("least", min(known)),
        ("largest", max(known)),
    ):
        (line,) = [line for line in said.splitlines() if line.startswith(f"  {name}: ")]
        assert f"accuracy {value:.4f}" in line
        assert f"| test, {name} | " in (out / "README.md").read_text()
    text = (out / "README.md").read_text()
    assert "mean of 2 trainings, seeds 5 to 6; it was trained on the validation images too." in text
    assert "for member in config" in text

    done = export_model(str(out), "safetensors", tmp_path / "exported")
    assert done.subject == "mean of 2 trainings, seeds 5 to 6"
    status, said, err = typed("predict", out, next(iter(_pictures(tmp_path))))
    assert status == 0, err


def test_intervals_are_for_whole_groups(typed: Typed, run: Path, tmp_path: Path) -> None:
    """As in a search; each patient has four images."""
    rng = np.random.default_rng(0)
    rows = ["image,label,patient"]
    for number in range(80):
        label = number // 4 % 2
        pixels = rng.integers(0, 256, (32, 32), np.uint8) // 2 + 100 * label * rng.integers(2)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{label},{number // 4}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    columns = "{image: image, label: label, group: patient}"
    changed = {"data.source": "csv", "data.root": tmp_path / "table.csv", "data.columns": columns}
    changed |= {"data.train_fraction": 0.4, "data.test_fraction": 0.4}
    words = [f"{key}={value}" for key, value in changed.items()]
    options = [word for each in words for word in ("--set", each)]
    out = tmp_path / "model"
    status, _, err = typed("train", run, *options, "--out", out)
    assert status == 0, err
    plan = Plan.from_json(json.loads((run / "best" / "plan.json").read_text()))
    config = SearchConfig.load(run / "config.yaml", words)
    tuner = train_plan(config, plan).tuner
    logits, labels = tuner.predict("test").numpy(), tuner.feeds["test"].labels.numpy()
    patients = np.repeat(np.arange(len(labels) // 4), 4).astype(str)
    scores = classification_scores(logits, labels).finite
    low, high = score_intervals(logits, labels, scores, list(patients))["accuracy"]
    assert f"({number_text(low)}–{number_text(high)})" in (out / "README.md").read_text()


def _pictures(folder: Path) -> list[Path]:
    Image.new("RGB", (9, 9), "red").save(folder / "red.png")
    return [folder / "red.png"]


def test_a_run_directory_may_be_moved(typed: Typed, run: Path, tmp_path: Path) -> None:
    """Its image table is looked for beside it, wherever the search began."""
    moved = tmp_path / "other" / "place"
    moved.parent.mkdir()
    run.rename(moved)
    (tmp_path / ".tables").rename(moved.parent / ".tables")
    status, said, err = typed("train", moved)
    assert status == 0, err
    assert "preparing" not in said
    assert not (tmp_path / ".tables").exists()


@pytest.mark.nightly
def test_a_run_directory_may_be_on_an_object_store(
    typed: Typed, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVO_RAY_CACHE", str(tmp_path / "cache"))
    with object_store() as uri:
        system, path = fs.FileSystem.from_uri(uri("run"))
        fs.copy_files(str(run), path, destination_filesystem=system)
        status, said, err = typed("train", uri("run"), "--out", tmp_path / "far")
    assert status == 0, err
    assert f"validation: loss {best_of(run)['val_loss']:.4f}" in said
    assert revo_ray.load(tmp_path / "far").classes == tuple("0123456789")


def gone_data(run: Path) -> Path:
    config = (run / "config.yaml").read_text().replace("source: digits", "source: folder")
    (run / "config.yaml").write_text(config.replace("root: null", "root: /gone/away"))
    return run


def no_best(run: Path) -> Path:
    shutil.rmtree(run / "best")
    return run


def no_rows(run: Path) -> Path:
    for name in ("best", "ledger"):
        shutil.rmtree(run / name)
    (run / "result.json").unlink()
    return run


def torn_plan(run: Path) -> Path:
    (run / "best" / "plan.json").write_text("{")
    return run


def other_rules(run: Path) -> Path:
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("units: ", "units: 9"))
    return run


def other_network(run: Path) -> Path:
    text = (run / "config.yaml").read_text()
    changed = text.replace("granularity: layer", "granularity: stage")
    (run / "config.yaml").write_text(changed)
    return run


@pytest.mark.parametrize(
    ("spoil", "words", "says"),
    [
        (gone_data, (), r"data.root: no such folder or archive '/gone/away', where .* --set data"),
        (no_best, (), "no best model yet"),
        (no_rows, (), "no best model yet"),
        (torn_plan, (), "is not a plan"),
        (other_rules, (), "of the rules"),
        (other_network, (), "the plan has 18 units, but"),
        (lambda run: run, ("--set", "train.seed=4294967295", "--seeds", 2), "beyond 2^32"),
        (lambda run: run, ("--set", "train.epoch=3"), "no such key"),
        (lambda run: run, ("--out", "model.safetensors"), "is the name of a file; name a folder"),
        (lambda run: run, ("--out", "run"), "is there already"),
        (lambda run: run, ("--out", "no/folder"), "no such folder"),
        (lambda run: run, ("--out", "s3://bucket/model"), "is no local path"),
        (lambda run: run / "config.yaml", (), "--plan: name a plan.json, or a run directory"),
        (lambda run: "preset:quickstart", (), "--plan: name a plan.json, or a run directory"),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    typed: Typed,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path], Path],
    words: tuple[Any, ...],
    says: str,
) -> None:
    import re

    monkeypatch.chdir(tmp_path)
    named = spoil(run)
    before = sorted(tmp_path.iterdir())
    status, _, err = typed("train", named, *words)
    assert status == 2, err
    assert err.count("\n") == 1
    assert re.search(says.replace("2^32", r"2\^32"), err), err
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_of_images_that_holds_a_configuration_is_no_run_directory(
    typed: Typed, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text("name: mine\n")
    status, _, err = typed("train", tmp_path)
    assert status == 2
    assert "--plan: name a plan.json" in err


def test_nothing_is_left_of_a_training_that_fails(typed: Typed, run: Path, tmp_path: Path) -> None:
    plan = json.loads((run / "best" / "plan.json").read_text())
    plan["unit_lrs"] = [1e30] * len(plan["unit_lrs"])
    (run / "best" / "plan.json").write_text(json.dumps(plan))
    before = sorted(tmp_path.iterdir())
    words = ("--seeds", 2, "--out", tmp_path / "model", "--set", "train.optimizer=sgd")
    status, _, err = typed("train", run, *words)
    assert status == 3
    assert "diverged" in err
    assert sorted(tmp_path.iterdir()) == before


def test_the_spread_of_scores_leaves_out_what_is_not_defined() -> None:
    found = spread([Scores(loss=1.0, accuracy=0.5), Scores(loss=3.0)])
    assert found["mean"] == Scores(loss=2.0)
    assert found["standard deviation"].loss == pytest.approx(2**0.5)
    assert (found["least"].loss, found["largest"].loss) == (1.0, 3.0)
