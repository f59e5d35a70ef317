"""The offline files of Weights & Biases hold all that a search sent."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from revo_ray.objective import METRICS
from tests.monitor.synthetic import FAILS
from tests.monitor.trackers.tracked_search import EVALUATIONS, Command, folders
from tests.monitor.trackers.wandb_files import OfflineRun, offline_runs

pytestmark = pytest.mark.slow

WANDB = "trackers=wandb"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is sent anywhere, and nothing of this machine's settings is used."""
    for name in ("WANDB_API_KEY", "WANDB_DIR", "WANDB_PROJECT", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "settings"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def parts(folder: Path) -> tuple[list[OfflineRun], dict[int, OfflineRun]]:
    """The runs of the search, and those of its evaluations."""
    deadline = time.monotonic() + 30  # W&B's own process writes the files
    while not all(run.run and run.exit_code is not None for run in offline_runs(folder)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    runs = offline_runs(folder)
    children = [run for run in runs if run.run.job_type == "evaluation"]
    numbers = {int(run.config["evaluation"]): run for run in children}
    assert len(numbers) == len(children), "an evaluation has two runs"
    return [run for run in runs if run.run.job_type == "search"], numbers


def test_a_search_is_a_group_with_a_run_for_each_evaluation(tmp_path: Path) -> None:
    command = Command(tmp_path / "shot", WANDB)
    command.run()
    command.end(*folders(tmp_path))
    assert command.said == []
    (parent,), children = parts(tmp_path / "shot")
    assert parent.run.display_name == parent.run.run_group == "shot"
    assert parent.run.project == "revo-ray"
    assert parent.config["search.evaluations"] == EVALUATIONS
    assert parent.exit_code == 0
    assert parent.artifacts == {
        "report": {"figures/best.png"},
        "model": {"best/model.safetensors"},
    }
    assert any(key.startswith("figures/best") for point in parent.history for key in point)
    best = [point["best_val_loss"] for point in parent.history if "best_val_loss" in point]
    assert len(best) == EVALUATIONS
    assert best == sorted(best, reverse=True)
    rows = {row.evaluation: row for row in command.state.ledger}
    assert children.keys() == rows.keys()
    for number, row in rows.items():
        child = children[number]
        assert child.run.run_group == "shot"
        assert child.exit_code == int(number in FAILS)
        assert child.config["global_lr"] == row.sample["global_lr"]
        assert [*child.config["plan"]["rates"].values()] == row.unit_lrs
        assert child.summary["status"] == row.status
        for metric in METRICS.values():
            assert child.summary.get(metric.column) == metric.value(row.scores)
        losses = [(p["_step"], p["train_loss"]) for p in child.history if "train_loss" in p]
        assert losses == [(point.epoch, point.train_loss) for point in row.curve]


def test_a_resumed_search_goes_on_in_the_same_run(tmp_path: Path) -> None:
    first = Command(tmp_path / "shot", WANDB)
    first.run(3)
    first.trackers.close()
    with next((tmp_path / "shot" / "wandb").glob("*.jsonl")).open("a") as record:
        record.write('{"evaluation": 2, "dig')  # cut short by a kill
    second = Command(tmp_path / "shot", WANDB)
    second.run()
    second.end(*folders(tmp_path))
    third = Command(tmp_path / "shot", WANDB)  # a finished one, again
    third.run()
    third.end(tmp_path / "report", tmp_path / "model")
    assert first.said + second.said + third.said == []
    parents, children = parts(tmp_path / "shot")
    assert [run.exit_code for run in parents] == [255, 0]
    assert len({run.run.run_id for run in parents}) == 1
    steps = [p["_step"] for run in parents for p in run.history if "best_val_loss" in p]
    assert steps == list(range(1, EVALUATIONS + 1))
    assert children.keys() == set(range(EVALUATIONS))


def test_the_searches_of_a_study_share_a_group(tmp_path: Path) -> None:
    for search in ("one", "two"):
        command = Command(tmp_path / search, WANDB, study="all")
        command.run(2)
        command.trackers.finish()
        parents, children = parts(tmp_path / search)
        assert {run.run.run_group for run in [*parents, *children.values()]} == {"all"}
        assert {run.config["search"] for run in children.values()} == {search}


@pytest.mark.parametrize("key", [None, "a" * 40])
def test_without_a_server_it_writes_files_and_says_how_to_send_them(
    key: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The user is not logged in, or nothing answers."""
    monkeypatch.setattr("revo_ray.monitor.trackers.wandb_tracker.CONNECT_SECONDS", 2.0)
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    if key is not None:
        monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "1")
    import wandb

    wandb.teardown()  # it reads the environment once
    began = time.monotonic()
    command = Command(tmp_path / "shot", WANDB)
    command.run()
    command.end(*folders(tmp_path))
    assert time.monotonic() - began < 30
    assert len(command.said) == 1
    assert command.said[0].endswith(f"wandb sync {tmp_path}/shot/wandb")
    assert key is None or key not in command.said[0]
    _, children = parts(tmp_path / "shot")
    assert children.keys() == set(range(EVALUATIONS))
    assert capfd.readouterr() == ("", "")
    wandb.teardown()


def test_the_record_names_each_evaluation_once(tmp_path: Path) -> None:
    command = Command(tmp_path / "shot", WANDB)
    command.run()
    command.trackers.finish()
    (record,) = (tmp_path / "shot" / "wandb").glob("*.jsonl")
    entries = [json.loads(line) for line in record.read_text().splitlines()]
    assert [entry["evaluation"] for entry in entries] == list(range(EVALUATIONS))
