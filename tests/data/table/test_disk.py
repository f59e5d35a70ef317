"""Files that appear whole, and locks."""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import pytest

from revo_ray.data.table.disk import exclusive, filling, replacing


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "table"

    def be_interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_interrupted()
    assert list(tmp_path.iterdir()) == []
    for content in ("one", "two"):
        before = path.read_text() if path.exists() else None
        with replacing(path) as temporary:
            temporary.write_text(content)
            assert (path.read_text() if path.exists() else None) == before
        assert path.read_text() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_and_a_fifo_stay_and_a_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("before")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("new")

    def be_interrupted() -> None:
        with filling(tmp_path / "link") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_interrupted()
    assert (tmp_path / "file").read_text() == "before"
    for name, target in {"link": "file", "dangling": "new", "file": "file"}.items():
        with filling(tmp_path / name) as temporary:
            temporary.write_text(name)
        assert (tmp_path / target).read_text() == name
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_symlink()) == [
        "dangling",
        "link",
    ]
    os.mkfifo(tmp_path / "fifo")
    with ThreadPoolExecutor() as pool:
        got = pool.submit((tmp_path / "fifo").read_text)
        with filling(tmp_path / "fifo") as itself:
            itself.write_text("through")
        assert got.result() == "through"
    assert (tmp_path / "fifo").is_fifo()
    assert len([*tmp_path.iterdir()]) == 5


def add(folder: Path, times: int, start: Barrier) -> None:
    """A race for whoever is let in while another is inside."""
    total = folder / "total"
    start.wait()
    for _ in range(times):
        with exclusive(folder / "lock"):
            value = int(total.read_text())
            time.sleep(0.0002)
            total.write_text(str(value + 1))


@pytest.mark.slow
def test_one_at_a_time_and_nothing_stays(tmp_path: Path) -> None:
    (tmp_path / "total").write_text("0")
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(4)
    workers = [context.Process(target=add, args=(tmp_path, 100, start)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (tmp_path / "total").read_text() == "400"
    assert [path.name for path in tmp_path.iterdir()] == ["total"]


def hold(folder: Path, inside: Event) -> None:
    """Stay in the lock of a folder."""
    with exclusive(folder / "lock"):
        inside.set()
        time.sleep(60)


@pytest.mark.slow
def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    inside = context.Event()
    worker = context.Process(target=hold, args=(tmp_path, inside))
    worker.start()
    assert inside.wait(20)
    worker.kill()
    worker.join()
    with exclusive(tmp_path / "lock"):
        pass
    assert list(tmp_path.iterdir()) == []
