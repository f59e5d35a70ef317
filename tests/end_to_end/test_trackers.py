"""Whole searches that are sent to trackers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

import revo_ray
from tests.end_to_end.cli import ONE_WORKER, TWO_GENERATIONS, Cli, Undisturbed
from tests.end_to_end.test_study import write_study
from tests.monitor.trackers.mlflow_server import Server
from tests.monitor.trackers.wandb_files import offline_runs

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.nightly, pytest.mark.usefixtures("one_ray")]


@pytest.fixture(autouse=True)
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow in a database, and W&B in files."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("WANDB_MODE", "offline")


def searches() -> tuple[list[Any], dict[str, list[int]]]:
    """The runs of searches in MLflow, the newest first, and the evaluations of each by its id."""
    from mlflow import MlflowClient

    client = MlflowClient()
    experiments = [found.experiment_id for found in client.search_experiments()]
    runs = client.search_runs(experiments, max_results=1000)
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children: dict[str, list[int]] = {run.info.run_id: [] for run in parents}
    for run in runs:
        if (parent := run.data.tags.get("mlflow.parentRunId")) is not None:
            children[parent].append(int(run.data.tags["revo_ray.evaluation"]))
    return parents, {parent: sorted(numbers) for parent, numbers in children.items()}


def test_trackers_change_nothing_and_get_report_and_model(
    cli: Cli, undisturbed: Undisturbed
) -> None:
    from mlflow import MlflowClient

    trackers = {"trackers": "[mlflow, wandb]"}
    done = cli.run("search", name="tracked", **TWO_GENERATIONS, **ONE_WORKER, **trackers)
    assert done.returncode == 0, done.stderr
    assert "trackers:" not in done.stdout + done.stderr
    assert cli.facts("tracked") == undisturbed(0).facts("undisturbed")
    (parent,), children = searches()
    assert (parent.info.run_name, parent.info.status) == ("tracked", "FINISHED")
    assert children == {parent.info.run_id: [*range(13)]}
    result = json.loads((cli.folder / "tracked" / "result.json").read_text())
    form = result["forms"][result["form"]]
    assert parent.data.metrics["test_accuracy"] == form["test"]["accuracy"]
    folder = MlflowClient().download_artifacts(parent.info.run_id, "", str(cli.folder))
    assert list(Path(folder, "report", "figures").glob("*.png"))
    ours, theirs = revo_ray.load(cli.folder / "tracked"), revo_ray.load(Path(folder, "model"))
    assert ours.classes == theirs.classes
    whole, *each = offline_runs(cli.folder / "tracked")
    assert [run.config["evaluation"] for run in each] == [*range(13)]
    assert whole.summary["test_accuracy"] == form["test"]["accuracy"]
    assert whole.artifacts.keys() == {"report", "model"}


@pytest.mark.timeout(600)
def test_a_killed_search_goes_on_in_the_same_runs(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path)
    server.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    options = {"name": "killed", "trackers": "[mlflow, wandb]", "train__epochs": "8"}
    options["search__evaluations"] = "10"
    try:
        for rows in (2, 5):
            process = cli.start("search", "--resume", **options, **ONE_WORKER)
            cli.wait_for_rows("killed", rows, process)
            cli.kill(process)
        done = cli.run("search", "--resume", **options, **ONE_WORKER)
        assert done.returncode == 0, done.stderr
        (parent,), children = searches()
        assert children == {parent.info.run_id: [*range(10)]}
        assert parent.info.status == "FINISHED"
    finally:
        server.kill()
    runs = [run for run in offline_runs(cli.folder / "killed") if run.exit_code is not None]
    each = [run.run.run_id for run in runs if run.run.job_type == "evaluation"]
    assert len(set(each)) == 10


def test_a_study_is_an_experiment_and_a_group(cli: Cli) -> None:
    file = write_study(cli.folder, ["revo-binary", "full"])
    options = {"trackers": "[mlflow, wandb]"}
    done = cli.run("study", str(file), small=False, **options)
    assert done.returncode == 0, done.stderr
    parents, children = searches()
    assert len(parents) == 2
    assert {run.data.tags["revo_ray.study"] for run in parents} == {"all"}
    assert {run.info.status for run in parents} == {"FINISHED"}
    for run in parents:
        rows = cli.ledger(f"all/{run.info.run_name}")
        assert children[run.info.run_id] == [row.evaluation for row in rows]
    folders = [cli.folder / "all" / run.info.run_name for run in parents]
    assert {run.run.run_group for folder in folders for run in offline_runs(folder)} == {"all"}
    again = cli.run("study", str(file), "--resume", small=False, **options)
    assert again.returncode == 0, again.stderr
    assert searches()[1] == children


def test_a_finished_study_is_sent_later(cli: Cli) -> None:
    file = write_study(cli.folder, ["revo-binary", "full"])
    assert cli.run("study", str(file), small=False).returncode == 0
    done = cli.run("study", str(file), "--resume", small=False, trackers="mlflow")
    assert done.returncode == 0, done.stderr
    parents, children = searches()
    assert len(parents) == 2
    assert all(children.values())
    assert {run.info.status for run in parents} == {"FINISHED"}


def test_a_server_that_says_nothing_delays_no_stop(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        process = cli.start("search", name="stopped", trackers="mlflow", **ONE_WORKER)
        cli.wait_for_rows("stopped", 3, process)
        os.kill(process.pid, signal.SIGINT)
        began = time.monotonic()
        process.communicate(timeout=60)
        assert process.returncode == 130
        assert time.monotonic() - began < 20


def test_the_tracker_of_the_documentation(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "trackers.md").read_text()
    (code,) = re.findall(r"<!-- tested -->\n```python\n(.*?)```", page, re.DOTALL)
    (points,) = re.findall(r'"revo_ray\.trackers"\]\n(.*?)```', page, re.DOTALL)
    (cli.folder / "line_tracker.py").write_text(code)
    info = cli.folder / "line_tracker-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: line-tracker\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[revo_ray.trackers]\n" + points.replace('"', ""))
    monkeypatch.syspath_prepend(cli.folder)
    for evaluations in ("6", "8"):
        done = cli.run(
            "search",
            "--resume",
            name="lines",
            trackers="lines",
            search__evaluations=evaluations,
            **ONE_WORKER,
        )
        assert done.returncode == 0, done.stderr
    text = (cli.folder / "lines.lines").read_text()
    entries = [json.loads(line) for line in text.splitlines()]
    assert [entry["number"] for entry in entries if "number" in entry] == [*range(8)]
    ends = [entry for entry in entries if "outcome" in entry]
    assert len(ends) == 2
    assert all(entry["figures"] and "test_accuracy" in entry for entry in ends)
