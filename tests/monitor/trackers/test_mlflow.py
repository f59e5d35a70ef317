"""MLflow's own client reads what a search sent, from a database and from a server."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from revo_ray.objective import METRICS
from tests.monitor.synthetic import FAILS, run
from tests.monitor.trackers.mlflow_server import Server
from tests.monitor.trackers.tracked_search import EVALUATIONS, Command, folders

pytestmark = pytest.mark.slow

MLFLOW = "trackers=mlflow"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database, which takes seconds to make."""
    return tmp_path_factory.mktemp("mlflow") / "mlflow.db"


@pytest.fixture
def mlflow(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Trackers and clients use the database, and an experiment of the test's own."""
    monkeypatch.chdir(tmp_path)  # MLflow writes artifacts there
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", tmp_path.name)
    return monkeypatch


def runs(experiment: str, *, alone: bool = True) -> tuple[list[Any], dict[int, Any]]:
    """The runs of searches, and those of evaluations by number."""
    from mlflow import MlflowClient

    client = MlflowClient()
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    every = client.search_runs([found.experiment_id], max_results=1000)
    parents = [run for run in every if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in every if "mlflow.parentRunId" in run.data.tags]
    numbers = {int(run.data.tags["revo_ray.evaluation"]): run for run in children}
    if alone:
        assert len(parents) == 1
        assert len(numbers) == len(children), "an evaluation has two runs"
        assert {r.data.tags["mlflow.parentRunId"] for r in children} <= {parents[0].info.run_id}
    return parents, numbers


def files(run_id: str, path: str | None = None) -> set[str]:
    from mlflow import MlflowClient

    found = set()
    for each in MlflowClient().list_artifacts(run_id, path):
        found |= files(run_id, each.path) if each.is_dir else {each.path}
    return found


def test_a_search_is_a_run_with_a_nested_run_for_each_evaluation(
    tmp_path: Path, mlflow: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    command = Command(tmp_path / "shot", MLFLOW)
    command.run()
    result = command.end(*folders(tmp_path))
    assert command.said == []
    (parent,), children = runs(tmp_path.name)
    rows = {row.evaluation: row for row in command.state.ledger}
    assert children.keys() == rows.keys() == set(range(EVALUATIONS))
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == "shot"
    assert parent.data.params["search.evaluations"] == str(EVALUATIONS)
    assert parent.data.params["method.name"] == "revo-binary"
    assert json.loads(parent.data.params["units"])[-1] == "classifier"
    assert parent.data.tags["version.torch"]
    assert files(parent.info.run_id) == {
        "report/figures/best.png",
        "model/best/model.safetensors",
        "outcome.json",
    }
    for number, row in rows.items():
        data, info = children[number].data, children[number].info
        assert info.status == ("FAILED" if number in FAILS else "FINISHED")
        assert info.run_name == f"shot {number:06d}"
        assert (info.start_time, info.end_time) == (
            round(row.started_at * 1000),
            round(row.finished_at * 1000),
        )
        plan = json.loads(data.params["plan"])
        assert [*plan["rates"].values()] == row.unit_lrs
        assert data.params["global_lr"] == str(row.sample["global_lr"])
        assert data.tags["revo_ray.status"] == row.status
        for metric in METRICS.values():
            assert data.metrics.get(metric.column) == metric.value(row.scores)
        points = MlflowClient().get_metric_history(info.run_id, "train_loss")
        assert [(p.step, p.value) for p in points] == [(p.epoch, p.train_loss) for p in row.curve]
    curve = MlflowClient().get_metric_history(parent.info.run_id, "best_val_loss")
    assert [point.step for point in curve] == list(range(1, EVALUATIONS + 1))
    values = [point.value for point in curve]
    assert values == sorted(values, reverse=True)
    assert result.best is not None
    assert values[-1] == result.best["val_loss"]


def test_a_resumed_search_goes_on_in_the_same_run(
    tmp_path: Path, mlflow: pytest.MonkeyPatch
) -> None:
    first = Command(tmp_path / "shot", MLFLOW)
    first.run(3)
    first.trackers.close()
    (parent,), children = runs(tmp_path.name)
    assert parent.info.status == "KILLED"
    assert children.keys() == {0, 1, 2}
    (tmp_path / "shot").rename(tmp_path / "moved")  # the id goes with the folder
    second = Command(tmp_path / "moved", MLFLOW, "search.stop_after=2h")
    second.run(2)
    assert runs(tmp_path.name)[0][0].info.status == "RUNNING"
    second.trackers.close()
    third = Command(tmp_path / "moved")  # without a tracker
    third.run(1)
    fourth = Command(tmp_path / "moved", MLFLOW)
    fourth.run()
    fourth.end(*folders(tmp_path))
    (again,), children = runs(tmp_path.name)
    assert again.info.run_id == parent.info.run_id
    assert again.info.status == "FINISHED"
    assert children.keys() == set(range(EVALUATIONS))
    assert first.said + second.said + fourth.said == []
    uploaded = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("best.png")}
    fifth = Command(tmp_path / "moved", MLFLOW)  # a finished one, again
    fifth.run()
    fifth.end(tmp_path / "report", tmp_path / "model")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("best.png")} == uploaded
    assert runs(tmp_path.name)[0][0].info.status == "FINISHED"


def test_nothing_is_doubled_after_a_death_at_any_request(
    tmp_path: Path, mlflow: pytest.MonkeyPatch
) -> None:
    """The driver dies before or after each request that an evaluation takes."""
    from mlflow import MlflowClient

    class Died(BaseException):
        pass

    requests = ("create_run", "log_batch", "set_terminated")
    for place, (request, after) in enumerate((r, a) for r in requests for a in (False, True)):
        command = Command(tmp_path / "shot", MLFLOW)
        command.trackers.catch_up()
        whole = getattr(MlflowClient, request)

        died: list[bool] = []

        def die(
            *args: Any,
            whole: Any = whole,
            after: bool = after,
            died: list[bool] = died,
            **options: Any,
        ) -> Any:
            died.append(after)
            if after:
                whole(*args, **options)
            raise Died

        with mlflow.context() as patched:
            patched.setattr(MlflowClient, request, die)
            command.run(1)
        assert died
        assert len(command.said) <= 1  # a second try may find that all was done
        _, children = runs(tmp_path.name)
        assert len(children) in (place, place + 1)
    last = Command(tmp_path / "shot", MLFLOW)
    last.run()
    last.trackers.finish()
    (parent,), children = runs(tmp_path.name)
    curve = MlflowClient().get_metric_history(parent.info.run_id, "best_val_loss")
    assert sorted(point.step for point in curve) == list(range(1, EVALUATIONS + 1))
    assert children.keys() == set(range(EVALUATIONS))
    for number, row in enumerate(last.state.ledger):
        assert children[number].info.status in ("FINISHED", "FAILED")
        assert children[number].data.metrics.get("val_loss") == row.val_loss


def test_an_evaluation_that_is_made_again_replaces_its_run(
    tmp_path: Path, mlflow: pytest.MonkeyPatch
) -> None:
    first = Command(tmp_path / "shot", MLFLOW)
    first.run(4)
    first.trackers.close()
    (tmp_path / "shot" / "ledger" / "000003.json").unlink()
    mlflow.setattr("tests.monitor.synthetic.FAILS", ())
    second = Command(tmp_path / "shot", MLFLOW)
    second.run()
    second.trackers.finish()
    _, children = runs(tmp_path.name)
    assert children[3].info.status == "FINISHED"
    assert "val_loss" in children[3].data.metrics


def test_the_searches_of_a_study_share_an_experiment(
    tmp_path: Path, mlflow: pytest.MonkeyPatch
) -> None:
    mlflow.delenv("MLFLOW_EXPERIMENT_NAME")
    name = f"study-{tmp_path.name}"
    for search in ("one", "two"):
        command = Command(tmp_path / search, MLFLOW, study=name)
        command.run(2)
        command.trackers.finish()
    parents, _ = runs(name, alone=False)
    assert {run.info.run_name for run in parents} == {"one", "two"}
    assert {run.data.tags["revo_ray.study"] for run in parents} == {name}


def test_names_and_values_that_mlflow_refuses_are_cut(
    tmp_path: Path, mlflow: pytest.MonkeyPatch
) -> None:
    from revo_ray.monitor.trackers.mlflow_tracker import LONGEST_PARAM

    command = Command(
        tmp_path / "shot",
        MLFLOW,
        "data.exclude=[" + ",".join(f"'a*b?{n}=%&é'" for n in range(900)) + "]",
        "data.columns={image: 'p\u00e4th $#@!'}",
        "model.name=timm/" + "long" * 2000,
    )
    command.run(1)
    assert command.said == []
    (parent,), children = runs(tmp_path.name)
    assert len(parent.data.params["data.exclude"]) == LONGEST_PARAM
    assert children.keys() == {0}


def test_a_deleted_experiment_is_one_warning(tmp_path: Path, mlflow: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    client = MlflowClient()
    client.delete_experiment(client.create_experiment(tmp_path.name))
    command = Command(tmp_path / "shot", MLFLOW)
    command.run()
    command.end()
    assert len(command.said) == 1
    assert "restore it, or set MLFLOW_EXPERIMENT_NAME" in command.said[0]
    assert len(command.state.ledger) == EVALUATIONS


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(started: Server, mlflow: pytest.MonkeyPatch) -> Server:
    """A server that trackers and clients use."""
    mlflow.setenv("MLFLOW_TRACKING_URI", started.uri)
    return started


@pytest.mark.nightly
def test_a_server_gets_all_of_it(tmp_path: Path, server: Server) -> None:
    command = Command(tmp_path / "shot", MLFLOW)
    command.run()
    command.end(*folders(tmp_path))
    assert command.said == []
    (parent,), children = runs(tmp_path.name)
    assert parent.info.status == "FINISHED"
    assert children.keys() == set(range(EVALUATIONS))
    assert "model/best/model.safetensors" in files(parent.info.run_id)


@pytest.mark.nightly
def test_a_server_that_dies_gets_later_what_it_missed(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("revo_ray.monitor.trackers.courier.RETRY_SECONDS", 0.0)
    command = Command(tmp_path / "shot", MLFLOW)
    command.run(2)
    server.kill()
    began = time.monotonic()
    command.run(2)
    assert time.monotonic() - began < 10
    assert len(command.said) == 1
    assert command.said[0].startswith("trackers: mlflow does not take the search (")
    server.start()
    command.run()
    command.end(*folders(tmp_path))
    assert len(command.said) == 1
    (parent,), children = runs(tmp_path.name)
    assert parent.info.status == "FINISHED"
    assert children.keys() == set(range(EVALUATIONS))


@pytest.mark.nightly
def test_what_no_server_took_is_sent_with_resume(tmp_path: Path, server: Server) -> None:
    server.kill()
    command = Command(tmp_path / "shot", MLFLOW)
    command.run()
    command.end(*folders(tmp_path))
    assert len(command.said) == 1
    server.start()
    again = Command(tmp_path / "shot", MLFLOW)
    again.run()
    again.end(tmp_path / "report", tmp_path / "model")
    assert again.said == []
    (parent,), children = runs(tmp_path.name)
    assert parent.info.status == "FINISHED"
    assert children.keys() == set(range(EVALUATIONS))


@pytest.mark.parametrize("silent", [False, True])
def test_an_address_without_a_server_costs_the_search_nothing(
    silent: bool, tmp_path: Path, mlflow: pytest.MonkeyPatch
) -> None:
    """It refuses connections, or takes them and says nothing; its password is not shown."""
    mlflow.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        if silent:
            nobody.listen()
        host = f"127.0.0.1:{nobody.getsockname()[1]}"
        mlflow.setenv("MLFLOW_TRACKING_URI", f"http://me:pass/word@{host}")
        command = Command(tmp_path / "shot", MLFLOW)
        began = time.monotonic()
        for row in range(1, EVALUATIONS + 1):
            run(command.state, rows=1)
            assert len(command.state.ledger) == row
        assert time.monotonic() - began < 5
        command.end()
    assert len(command.said) == 1
    assert host in command.said[0]
    assert "pass" not in command.said[0]
    assert "word" not in command.said[0]
