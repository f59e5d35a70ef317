"""A table or weights on another machine: copied once, checked, or a clear error."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from revo_ray.data.shared_files import SharedFile, fetch, original, share_table
from revo_ray.data.table.image_table import Table, prepare_table
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig
from revo_ray.storage import Storage
from tests.object_store import object_store


@pytest.fixture
def shared(tmp_path: Path) -> SharedFile:
    table = prepare_table(DataConfig(image_size=8), tmp_path / "storage" / ".tables")
    return share_table(table, Storage(str(tmp_path / "storage")))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REVO_RAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tables"


def test_a_copy_is_the_table_and_outlives_the_original(shared: SharedFile, cache: Path) -> None:
    original = Path(shared.path).read_bytes()
    copy = fetch(shared)
    assert copy.parent == cache
    assert copy.read_bytes() == original
    Path(shared.path).unlink()
    assert fetch(shared) == copy
    assert list(cache.iterdir()) == [copy]
    assert Table.open(copy).sha256 == shared.sha256


def fetch_and_count(shared: SharedFile, start: object, reads: object) -> None:
    opened = Storage.open

    def count(self: Storage, path: str) -> object:
        with reads.get_lock():  # type: ignore[attr-defined]
            reads.value += 1  # type: ignore[attr-defined]
        return opened(self, path)

    Storage.open = count  # type: ignore[method-assign, assignment]
    start.wait()  # type: ignore[attr-defined]
    assert Table.open(fetch(shared)).sha256 == shared.sha256


@pytest.mark.slow
def test_eight_processes_at_once_make_one_copy(shared: SharedFile, cache: Path) -> None:
    context = multiprocessing.get_context("spawn")  # the threads of other tests do not fork
    start, reads = context.Barrier(8), context.Value("i", 0)
    workers = [
        context.Process(target=fetch_and_count, args=(shared, start, reads)) for _ in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 8
    assert reads.value == 1
    assert [path.name for path in cache.iterdir()] == [f"{shared.sha256}.arrow"]


@pytest.mark.parametrize("keep", [0, 5000, -1])
def test_a_torn_copy_is_replaced(shared: SharedFile, cache: Path, keep: int) -> None:
    copy = fetch(shared)
    whole = copy.read_bytes()
    copy.write_bytes(whole[:keep])
    assert fetch(shared).read_bytes() == whole


def test_a_copy_of_the_same_size_with_other_bytes_is_replaced(
    shared: SharedFile, cache: Path
) -> None:
    copy = fetch(shared)
    whole = copy.read_bytes()
    copy.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    assert fetch(shared).read_bytes() == whole


def test_the_original_is_taken_as_it_was_shared(shared: SharedFile) -> None:
    path = original(shared)
    assert path == Path(shared.path)
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not the one that this search began with"):
        original(shared)


def test_a_table_with_another_checksum_is_refused(shared: SharedFile, cache: Path) -> None:
    content = bytearray(Path(shared.path).read_bytes())
    content[5000] ^= 1
    Path(shared.path).write_bytes(content)
    with pytest.raises(UserError, match="is not the one that this search began with"):
        fetch(shared)
    assert list(cache.iterdir()) == []


def test_a_storage_that_this_machine_does_not_reach_is_named(
    shared: SharedFile, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"must share the disk that holds storage, or use an obj"):
        fetch(replace(shared, storage=str(tmp_path / "elsewhere")))


def test_a_cache_that_cannot_be_written_is_named(
    shared: SharedFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("REVO_RAY_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot copy the image table"):
        fetch(shared)


@pytest.mark.slow
def test_an_object_store_gets_a_table_once_and_gives_it_back(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = prepare_table(DataConfig(image_size=8), tmp_path)
    uploads: list[str] = []
    upload = Storage.upload

    def count(storage: Storage, source: Path, path: str) -> None:
        uploads.append(path)
        upload(storage, source, path)

    monkeypatch.setattr(Storage, "upload", count)
    with object_store() as uri:
        storage = Storage(uri("searches"))
        for _ in range(2):
            shared = share_table(table, storage)
        assert len(uploads) == 1
        storage.write(shared.name, table.path.read_bytes()[:-9])  # an upload that was cut short
        assert share_table(table, storage) == shared
        assert fetch(shared).read_bytes() == table.path.read_bytes()
        storage.delete(shared.name)
        fetch(shared).unlink()
        with pytest.raises(UserError, match="no image table"):
            fetch(shared)
