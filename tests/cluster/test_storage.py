"""Everything on an object store: images, tables, weights, ledger, best model, curves, reports."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import timm
import torch
from PIL import Image
from ray.cluster_utils import Cluster
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from revo_ray import SearchConfig, run_search
from revo_ray.cli.main import main
from revo_ray.finetune.network import weights
from revo_ray.rundir.ledger import Ledger
from revo_ray.storage import Storage
from tests.end_to_end.cli import MOMENTS, PATH, SMALL, Cli
from tests.object_store import object_store

EVALUATIONS = 12
# Ray takes 127.0.0.1 for the machine's name and looks for its address in the network.
MACHINE = {"num_cpus": 1, "node_ip_address": "127.0.0.2", "include_dashboard": False}
SECRET = "a-secret-that-nobody-may-write-down"

Uri = Callable[[str], str]


@pytest.fixture(scope="module")
def store() -> Iterator[Uri]:
    """The URI of a path in a bucket; workers and commands find the credentials as we do."""
    with object_store() as uri, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        yield uri


@pytest.fixture(scope="module")
def settings(store: Uri, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A search of images in the bucket, with weights from a file on the driver's machine."""
    generator = np.random.default_rng(0)
    photos = Storage(store("photos"))
    for number in range(45):
        kind = number % 3
        pixels = generator.integers(60 * kind, 60 * kind + 120, (32, 32, 3), dtype=np.uint8)
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        photos.write(f"class {kind}/{number}.png", content.getvalue())
    file = tmp_path_factory.mktemp("driver") / "weights.pth"
    torch.manual_seed(1)
    torch.save(timm.create_model("test_efficientnet").state_dict(), file)
    return {
        "model.weights": str(file),
        "data.source": "folder",
        "data.root": store("photos"),
        "data.train_fraction": "0.4",
        "search.evaluations": str(EVALUATIONS),
        "search.population": "4",
    }


@pytest.fixture(scope="module")
def cluster(store: object) -> Iterator[Cluster]:
    """One machine with a core, whose workers find the credentials in its environment."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    made = Cluster()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(PATH))  # wherever the driver runs
        made.add_node(**MACHINE)
        yield made
    made.shutdown()


@pytest.fixture(scope="module")
def undisturbed(
    cluster: Cluster, settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Storage:
    """The run directory of the search on this machine and its disk."""
    folder = tmp_path_factory.mktemp("undisturbed")
    sets = [*SMALL, *pairs(settings), f"storage={folder}", "name=run"]
    run_search(SearchConfig.load(None, sets), address=cluster.address)
    return Storage(str(folder)).child("run")


def pairs(settings: dict[str, str]) -> list[str]:
    """As `--set` takes them."""
    return [f"{key}={value}" for key, value in settings.items()]


def facts(run: Storage) -> list[dict[str, Any]]:
    """The rows without what differs from run to run."""
    rows = [row.model_dump(exclude=MOMENTS) for row in Ledger.load(run)]
    for row in rows:
        for point in row["curve"]:
            del point["seconds"]
    return rows


def move_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine as a command sees it: another home, cache and working directory.

    It knows the token of the cluster, if that has one: a local Ray of an earlier test turns it on.
    """
    (folder / "work").mkdir(parents=True)
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(Path.home() / ".ray" / "auth_token"))
    monkeypatch.chdir(folder / "work")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("REVO_RAY_CACHE", str(folder / "cache"))


@pytest.mark.nightly
def test_killed_and_resumed_elsewhere_it_is_the_undisturbed_search(
    store: Uri,
    settings: dict[str, str],
    cluster: Cluster,
    undisturbed: Storage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    storage = store("searches")
    run = Storage(storage).child("run")
    sets = [f"--set={item}" for item in (*SMALL, *pairs(settings), f"storage={storage}")]
    words = ["search", *sets, "--set=name=run", f"--address={cluster.address}", "--resume"]

    move_to(tmp_path / "first", monkeypatch)
    cli = Cli(Path.cwd())
    process = cli.start(*words, small=False, name="run", storage=storage)
    try:
        wait_for_rows(run, 3, process)
    finally:
        cli.close()  # by SIGKILL
    written = {name: run.read(f"ledger/{name}") for name in run.list("ledger")}
    assert 3 <= len(written) < EVALUATIONS

    move_to(tmp_path / "second", monkeypatch)
    shown = output(capsys, *words)
    assert facts(run) == facts(undisturbed)
    assert {name: run.read(f"ledger/{name}") for name in written} == written
    for name in ("best/model.safetensors", "best/plan.json", "best/config.json"):
        assert run.read(name) == undisturbed.read(name)
    ours, theirs = (json.loads(where.read("result.json")) for where in (run, undisturbed))
    for key in ("best", "test", "forms", "explained", "evaluations", "statuses", "images"):
        assert ours[key] == theirs[key]
    for folder in ("models", "plain", "ensemble", "soup", "predictions"):
        assert run.list(folder) == undisturbed.list(folder)
        for name in run.list(folder):
            assert run.read(f"{folder}/{name}") == undisturbed.read(f"{folder}/{name}"), name
    assert pq.read_table(io.BytesIO(run.read("ledger.parquet"))).num_rows == EVALUATIONS
    check_curves(run, tmp_path)

    texts = [shown, *(run.read(name).decode() for name in ("config.yaml", "result.json"))]
    assert not any(SECRET in text for text in texts)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and holds_secret(path)]
    assert "--logdir s3://bucket/searches/run/tensorboard\n" in shown
    plan = run.child("best/plan.json").uri
    assert f"predict '{run.uri}' IMAGES\n" in shown

    shown = output(capsys, "train", "preset:quickstart", "--plan", plan, *sets)
    loss, accuracy, auc = (f"{ours['test'][key]:.4f}" for key in ("loss", "accuracy", "auc"))
    assert f"test:       loss {loss}, accuracy {accuracy}, AUC {auc}, " in shown
    for folder in (run, Storage(storage)):  # as a search, and as a study that it could be part of
        shown = output(capsys, "report", folder.uri)
        assert f"page:   {folder.child('report/index.html').uri}\n" in shown
        assert "results.csv, " in shown
        rows = list(csv.DictReader(io.StringIO(folder.read("report/results.csv").decode())))
        assert [row["evaluations"] for row in rows] == [str(EVALUATIONS)]
    shown = output(capsys, "data", "inspect", *sets)
    assert "45 images in 3 classes" in shown
    assert f"ready as {tmp_path}/second/cache/tables/" in shown


def wait_for_rows(run: Storage, count: int, process: Any) -> None:
    """Until a running search has that many rows."""
    deadline = time.monotonic() + 200
    while len(run.list("ledger")) < count:
        assert time.monotonic() < deadline, "no rows came"
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)


def check_curves(run: Storage, folder: Path) -> None:
    """TensorBoard reads the event files in a copy, as `aws s3 sync` makes one."""
    rows = {f"{row.evaluation:06d}": row for row in Ledger.load(run)}
    found = run.list("tensorboard")
    assert found[: len(rows)] == sorted(rows)
    assert all(name.startswith("events.out.tfevents") for name in found[len(rows) :])
    assert len(found) > len(rows)
    for name, row in rows.items():
        (file,) = run.list(f"tensorboard/{name}")
        copy = folder / "curves" / name / file
        copy.parent.mkdir(parents=True)
        copy.write_bytes(run.read(f"tensorboard/{name}/{file}"))
        events = EventAccumulator(str(copy.parent))
        events.Reload()
        losses = {event.step: event.value for event in events.Scalars("validation/loss")}
        assert losses[row.epochs] == pytest.approx(row.val_loss)


def output(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command prints that is run in this process, to a good end."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["revo-ray", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    shown = capsys.readouterr()
    assert ended.value.code == 0, shown.err
    return shown.out


def holds_secret(path: Path) -> bool:
    return SECRET.encode() in path.read_bytes()


@pytest.mark.nightly
def test_weights_that_the_driver_alone_has_reach_the_other_machine(
    store: Uri,
    settings: dict[str, str],
    cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each evaluation takes longer than a worker's start, or the second would be given up."""
    caches = {name: tmp_path / name for name in ("driver", "other")}
    monkeypatch.setenv("REVO_RAY_CACHE", str(caches["driver"]))
    mine = tmp_path / "mine.pth"
    mine.write_bytes(Path(settings["model.weights"]).read_bytes())
    share = weights.share_weights

    def take_away(*arguments: Any) -> Any:
        mine.unlink()  # from here on no worker can read it
        return share(*arguments)

    monkeypatch.setattr(weights, "share_weights", take_away)
    storage = store("two-machines")
    changed = settings | {"model.weights": str(mine)}
    longer = ["train.epochs=30", "search.evaluations=4"]
    sets = [*SMALL, *pairs(changed), *longer, f"storage={storage}", "name=run"]
    cluster.add_node(env_vars={"REVO_RAY_CACHE": str(caches["other"])}, **MACHINE)
    result = run_search(SearchConfig.load(None, sets), address=cluster.address)

    assert result.statuses == {"ok": 4}
    run = Storage(storage).child("run")
    assert len({row.node for row in Ledger.load(run)}) == 2
    (name,) = Storage(storage).list(".weights")
    for cache in caches.values():
        (copy,) = (cache / "weights").iterdir()
        assert copy.name == name
        assert copy.read_bytes() == Storage(storage).read(f".weights/{name}")
