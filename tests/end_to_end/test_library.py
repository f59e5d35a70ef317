"""`run_search` as a library: on the caller's Ray, in a thread, interrupted, again and again."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from revo_ray import SearchConfig, SearchResult, run_search
from revo_ray.errors import Interrupted, UserError
from revo_ray.rundir.ledger import Ledger
from revo_ray.storage import Storage
from tests.end_to_end.cli import ROOT, SMALL
from tests.end_to_end.photos import write_photos


@pytest.fixture(scope="module", autouse=True)
def callers_ray() -> Iterator[None]:
    """A Ray with two GPUs that are only numbers."""
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield
    ray.shutdown()


def config(folder: Path, *overrides: str) -> SearchConfig:
    return SearchConfig.load(None, [*SMALL, f"storage={folder}", "name=run", *overrides])


@pytest.mark.nightly
def test_each_trial_holds_the_gpu_that_it_was_given(tmp_path: Path) -> None:
    """In a thread, as a notebook or a server would run it.

    Tune hands a free worker what waits for a worker that is still starting, and drops the latter:
    so an evaluation takes longer than a worker's start.
    """
    results: list[SearchResult] = []
    longer = config(tmp_path, "search.evaluations=5", "train.epochs=16")
    thread = threading.Thread(target=lambda: results.append(run_search(longer)))
    thread.start()
    thread.join(200)
    assert results[0].evaluations == 5
    assert results[0].cold_starts == 2
    assert ray.is_initialized()
    devices = {row.device for row in Ledger.load(Storage(str(tmp_path / "run")))}
    assert devices == {"cpu (gpu 0)", "cpu (gpu 1)"}


def test_an_interrupted_search_leaves_the_callers_ray_free(tmp_path: Path) -> None:
    def interrupt() -> None:
        while len(list((tmp_path / "run" / "ledger").glob("*.json"))) < 3:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(Interrupted):
        run_search(config(tmp_path, "search.evaluations=200"))
    assert signal.getsignal(signal.SIGINT) is before
    deadline = time.monotonic() + 30
    while ray.available_resources().get("CPU", 0) < 2:
        assert time.monotonic() < deadline, "workers of the interrupted search hold the CPUs"
        time.sleep(0.2)
    again = run_search(config(tmp_path, "name=next", "search.evaluations=4"))
    assert again.evaluations == 4


def test_a_finished_search_is_checked_before_its_result_is_given(tmp_path: Path) -> None:
    small = ("search.evaluations=4", "resources.gpus_per_trial=0")
    first = run_search(config(tmp_path, *small))
    assert run_search(config(tmp_path, *small), resume=True) == first
    with pytest.raises(UserError, match=r"train\.epochs \(2, now 3\)"):
        run_search(config(tmp_path, *small, "train.epochs=3"), resume=True)
    (tmp_path / "run" / "best" / "model.safetensors").unlink()
    mended = run_search(config(tmp_path, *small), resume=True)
    assert (mended.best, mended.test) == (first.best, first.test)
    assert (tmp_path / "run" / "best" / "model.safetensors").exists()


def test_the_lines_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`docs/library.md`, one block after the other, on a small network."""
    page = (ROOT / "docs/library.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.S | re.M)
    assert len(blocks) == 3
    small = [*SMALL, "storage=revo_results", "name=from-python", "search.evaluations=4"]
    blocks[0] = blocks[0].replace('["name=from-python", "search.evaluations=20"]', repr(small))
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos", counts={"temple": 2, "flower": 2}, size=(80, 60))
    here: dict[str, Any] = {}
    for block in blocks:
        exec(block, here)
    assert here["result"].evaluations == 4
    assert here["answers"].probabilities.shape == (4, 10)
    assert here["row"].evaluation == 3


@pytest.mark.parametrize(
    ("address", "says"),
    [("ray://127.0.0.1:10001", "Ray Client cannot"), ("auto", "is connected to Ray already")],
)
def test_addresses_that_cannot_work_are_refused(tmp_path: Path, address: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        run_search(config(tmp_path), address=address)


@pytest.mark.nightly
def test_a_refused_start_does_not_stand_in_the_way_of_its_correction(tmp_path: Path) -> None:
    small = ("search.evaluations=4", "resources.gpus_per_trial=0")
    with pytest.raises(UserError, match="is 999, but no machine"):
        run_search(config(tmp_path, *small, "resources.cpus_per_trial=999"))
    assert run_search(config(tmp_path, *small)).evaluations == 4
