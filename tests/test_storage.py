"""Storages that fail: what is left of a file, what is said, and how long it takes."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from revo_ray import storage as storage_module
from revo_ray.errors import Interrupted
from revo_ray.storage import Storage
from tests.object_store import object_store

LARGE = bytes(11 * 2**20)
"""Three parts of an upload."""

Uri = Callable[[str], str]


@pytest.fixture(scope="module")
def store() -> Iterator[Uri]:
    with object_store() as uri:
        yield uri


def test_a_disk_that_is_full_keeps_what_was_there(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write("row.json", b"before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            storage.write("row.json", b"x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert storage.list() == ["row.json"]
    assert storage.read("row.json") == b"before"


def test_a_file_where_a_folder_should_be_is_an_error_of_the_system(tmp_path: Path) -> None:
    Storage(str(tmp_path)).write("ledger", b"")
    with pytest.raises(OSError, match="ledger") as error:
        Storage(str(tmp_path)).write("ledger/000000.json", b"row")
    assert "\n" not in str(error.value)
    assert Storage(str(tmp_path)).list() == ["ledger"]


@pytest.mark.parametrize("write", [Storage.write, Storage.create])
def test_the_name_of_a_written_file_is_made_to_last(
    write: Callable[[Storage, str, bytes], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_ino), fsync(fd)))
    write(Storage(str(tmp_path)), "ledger/row.json", b"row")
    folder = tmp_path / "ledger"
    assert synced == [(folder / "row.json").stat().st_ino, folder.stat().st_ino]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_of_a_disk_is_created_once(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by a disk without hard links, where another process wrote the file before."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    storage = Storage(str(tmp_path))
    for content in (b"first", b"first", b"second"):
        assert storage.create("ledger/row.json", content) == b"first"
    assert storage.read("ledger/row.json") == b"first"
    assert storage.list("ledger") == ["row.json"]
    storage.delete("ledger/row.json")
    assert storage.create("ledger/row.json", b"third") == b"third"


@pytest.mark.slow
@pytest.mark.parametrize("remote", [False, True])
def test_many_files_come_in_their_order(tmp_path: Path, store: Uri, remote: bool) -> None:
    storage = Storage(store("many") if remote else str(tmp_path))
    names = [f"{number}.json" for number in range(40)]
    for name in names:
        storage.write(name, name.encode())
    assert storage.read_many(names[::-1]) == [name.encode() for name in names[::-1]]
    with pytest.raises(FileNotFoundError, match=r"gone\.json"):
        storage.read_many([*names, "gone.json"])


@pytest.mark.slow
def test_a_folder_has_one_above_it_but_for_a_bucket(tmp_path: Path, store: Uri) -> None:
    for root in (str(tmp_path), store("a")):
        storage = Storage(root)
        above = storage.child("run").parent
        assert above is not None
        assert (above.uri, above._root) == (storage.uri, storage._root)
    assert Storage(store("")).parent is None


@pytest.mark.slow
def test_a_signal_in_the_middle_leaves_no_torn_object(store: Uri) -> None:
    storage = Storage(store("signals"))
    content = bytes(2 * 2**20)

    def stop(number: int, frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, stop)
    try:
        for number in range(10):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.003 * (number + 1))
                storage.write(f"{number}", content)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupted:
                pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    sizes = {storage.size(name) for name in storage.list()}
    assert sizes == {len(content)}


@pytest.mark.slow
@pytest.mark.parametrize(
    "refused", ["uploads", "partNumber=1", "partNumber=2", "uploadId", "whole"]
)
def test_an_upload_that_fails_leaves_what_was_there(refused: str) -> None:
    failing = ""

    def fails(environ: dict[str, str]) -> bool:
        query = environ["QUERY_STRING"]
        plain = failing == "whole" and environ["REQUEST_METHOD"] == "PUT" and "part" not in query
        return bool(failing) and (failing in query or plain)

    with object_store(fails=fails) as uri:
        storage = Storage(uri("run"))
        content = b"row" if refused == "whole" else LARGE
        storage.write("row.json", b"before")
        failing = refused
        with pytest.raises(OSError, match=r"row\.json") as error:
            storage.write("row.json", content)
        assert "\n" not in str(error.value)
        failing = ""
        assert storage.read("row.json") == b"before"
        storage.write("row.json", content)
        assert storage.read("row.json") == content


@pytest.mark.slow
def test_a_server_that_starts_again_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    storage = Storage(f"s3://bucket/run?endpoint_override=127.0.0.1:{port}&scheme=http")
    written = threading.Thread(target=storage.write, args=("row.json", b"row"))
    written.start()
    time.sleep(2)
    with object_store(port=port):
        written.join()
        assert storage.read("row.json") == b"row"


@pytest.mark.slow
def test_a_server_that_is_gone_is_an_error_after_a_few_tries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append)
    monkeypatch.setattr(storage_module, "time", clock)
    monkeypatch.setattr(storage_module, "PATIENCE_SECONDS", 1.0)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    tries: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    tries.append(len(slept))
                    connection.close()

        threading.Thread(target=refuse, daemon=True).start()
        port = listener.getsockname()[1]
        storage = Storage(f"s3://bucket/run?endpoint_override=127.0.0.1:{port}&scheme=http")
        calls: list[Callable[[], object]] = [
            lambda: storage.write("row.json", b"row"),
            lambda: storage.read("row.json"),
            lambda: storage.list("ledger"),
            lambda: storage.exists("row.json"),
            lambda: storage.delete("row.json"),
        ]
        for call in calls:
            slept.clear()
            tries.clear()
            with pytest.raises(OSError, match="NETWORK_CONNECTION") as error:
                call()
            assert sum(slept) <= 2
            assert len(slept) < len(tries) <= (len(slept) + 1) * storage_module.ATTEMPTS
            assert "\n" not in str(error.value)
        listener.shutdown(socket.SHUT_RDWR)
