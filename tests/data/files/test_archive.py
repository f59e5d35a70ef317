"""Hostile and damaged archives: refused or told, never followed, never more than they declare."""

from __future__ import annotations

import os
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.data.files.decode import explain
from revo_ray.data.files.image_files import File, ImageFiles
from revo_ray.data.files.stored_file import MAX_BYTES
from revo_ray.errors import UserError


def pack(
    path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def patch(path: Path, *changes: tuple[int, bytes]) -> Path:
    """Overwrite bytes of an archive's only directory record, at offsets in it."""
    data = bytearray(path.read_bytes())
    start = data.rindex(b"PK\1\2")
    for offset, content in changes:
        data[start + offset : start + offset + len(content)] = content
    path.write_bytes(data)
    return path


def unix(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


def contents(files: ImageFiles) -> dict[str, bytes]:
    return {file.path: file.read() for file in files.all}


def test_torn_archives_are_told_by_name(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(2000)
    whole = pack(tmp_path / "x.zip", *((f"{i}.png", noise) for i in range(5))).read_bytes()
    for length in range(0, len(whole), 97):
        torn = tmp_path / "torn.zip"
        torn.write_bytes(whole[:length])
        for root in (torn, tmp_path):
            with pytest.raises(UserError, match=r"torn\.zip' is damaged"):
                ImageFiles.open(str(root), unpack=True)


NAME = st.lists(
    st.sampled_from(["..", ".", "", "a", "b.png", "C:", "c:x", "...", " ", "ä", "NUL", "ab:c"]),
    min_size=1,
    max_size=5,
).flatmap(
    lambda parts: st.lists(
        st.sampled_from(["/", "\\"]), min_size=len(parts) - 1, max_size=len(parts) - 1
    ).map(lambda slashes: "".join(p + s for p, s in zip(parts, [*slashes, ""], strict=True)))
)


@given(name=NAME.filter(bool))
def test_no_entry_leaves_the_archive(name: str, tmp_path: Path) -> None:
    files = ImageFiles.open(str(pack(tmp_path / "x.zip", (name, b"x"))))
    for path in [*(file.path for file in files.all), *files.folders]:
        assert not PureWindowsPath(path).drive
        assert os.path.normpath(f"/root/{path}") == f"/root/{path}"
        assert os.path.normpath("/root/" + path.replace("\\", "/")).startswith("/root/")
    parts = name.replace("\\", "/").split("/")
    real = [part for part in parts if part not in ("", ".")]
    if ".." in parts or name[0] in "/\\" or (real[:1] and real[0][1:2] == ":"):
        assert files.all == ()
    elif parts[-1] and "..." not in parts:  # a file, and not hidden
        assert files.problems == ()
        assert contents(files) == ({"/".join(real): b"x"} if real else {})


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda p: pack(p, (unix("x.png", 0o120777), b"/etc/passwd")), "symbolic link"),
        (lambda p: pack(p, (unix("x.png", 0o010644), b"")), "no regular file"),
        (lambda p: patch(pack(p, ("x.png", b"x")), (10, b"\x5d\0")), "compressed with Zstandard"),
        (lambda p: patch(pack(p, ("x.png", b"x")), (10, b"\x09\0")), "compressed with Deflate64"),
        (
            lambda p: patch(pack(p, ("x.png", b"x")), (24, struct.pack("<I", MAX_BYTES + 1))),
            "1,073,741,825 bytes, over the limit of 1,073,741,824",
        ),
        (lambda p: pack(p, ("../x.png", b"x")), "out of the archive"),
    ],
)
def test_refused_entries_are_named(
    make: Callable[[Path], Path], cause: str, tmp_path: Path
) -> None:
    files = ImageFiles.open(str(make(tmp_path / "x.zip")))
    assert files.all == ()
    (problem,) = files.problems
    assert problem.name in ("x.png", "../x.png")
    assert cause in problem.cause


def test_a_file_beside_the_archive_mends_its_refused_entry(tmp_path: Path) -> None:
    pack(tmp_path / "d/x.zip", (unix("a.png", 0o120777), b"b.png"))
    (problem,) = ImageFiles.open(str(tmp_path), unpack=True).problems
    assert problem == ("d/a.png", "a symbolic link inside an archive, in d/x.zip")
    assert ImageFiles.open(str(tmp_path), unpack=True).below("d").problems[0].name == "a.png"
    (tmp_path / "d/a.png").write_bytes(b"a")
    assert ImageFiles.open(str(tmp_path), unpack=True).problems == ()


METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


@pytest.mark.parametrize("method", METHODS)
def test_entries_that_lie_are_damaged(method: int, tmp_path: Path) -> None:
    content = b"0123456789" * 100
    lies = {
        "crc": (16, b"\0\0\0\0"),
        "shorter": (24, struct.pack("<I", len(content) - 1)),
        "longer": (24, struct.pack("<I", len(content) + 1)),
        "cut": (20, struct.pack("<I", 9)),
        "elsewhere": (42, struct.pack("<I", 7)),
        "past the end": (42, struct.pack("<I", 2**31)),
    }
    for lie in lies.values():
        archive = patch(pack(tmp_path / "x.zip", ("x.png", content), method=method), lie)
        (file,) = ImageFiles.open(str(archive)).all
        with pytest.raises(OSError, match="damaged in its zip archive") as caught:
            file.read()
        assert explain(caught.value) == "damaged in its zip archive"


@pytest.mark.parametrize("method", METHODS[1:])
def test_a_bomb_fills_no_more_memory_than_it_declares(method: int, tmp_path: Path) -> None:
    packed = pack(tmp_path / "x.zip", ("x.png", bytes(2 * 10**7)), method=method)
    archive = patch(packed, (24, struct.pack("<I", 99)))
    (file,) = ImageFiles.open(str(archive)).all
    tracemalloc.start()
    try:
        with pytest.raises(OSError, match="damaged"):
            file.read()
        assert tracemalloc.get_traced_memory()[1] < 1e7  # LZMA's dictionary takes 8 MB
    finally:
        tracemalloc.stop()


def test_a_password_is_said_once(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", ("a/", b""), ("a/x.png", b"x"))
    patch(archive, (8, b"\1\0"))  # the last entry, the only file
    for root in (archive, tmp_path):
        with pytest.raises(UserError, match=r"cannot read the archive .*: a password protects it"):
            ImageFiles.open(str(root), unpack=True)
    patch(pack(archive, ("b.png", b"b"), ("a/x.png", b"x")), (8, b"\1\0"))
    files = ImageFiles.open(str(archive))
    assert files.problems == (("a/x.png", "encrypted with a password"),)
    assert contents(files) == {"b.png": b"b"}


def test_entries_are_read_from_many_threads(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    expected = {f"{i}.png": rng.bytes(int(rng.integers(1, 20_000))) for i in range(120)}
    for method in METHODS:
        files = ImageFiles.open(str(pack(tmp_path / "x.zip", *expected.items(), method=method)))
        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(File.read, files.all * 4))
        assert found == [expected[file.path] for file in files.all] * 4


def test_long_names_and_extra_fields(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("ä" * 1000 + ".png")
    info.extra = struct.pack("<HH", 0x9999, 5000) + bytes(5000)
    files = ImageFiles.open(str(pack(tmp_path / "x.zip", (info, b"content"), ("y.png", b"y"))))
    assert contents(files) == {info.filename: b"content", "y.png": b"y"}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_entries_with_one_name_the_last_counts(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", ("a.png", b"1"), ("a.png", b"22"), ("./a.png", b"333"))
    assert contents(ImageFiles.open(str(archive))) == {"a.png": b"333"}


@pytest.mark.parametrize(
    ("raw", "name"), [("é.png".encode(), "é.png"), (b"\x82\xff.png", "é\xa0.png")]
)
def test_names_without_a_declared_encoding(raw: bytes, name: str, tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", ("12.png", b"x"))
    archive.write_bytes(archive.read_bytes().replace(b"12.png", raw))
    assert contents(ImageFiles.open(str(archive))) == {name: b"x"}


def test_a_name_that_breaks_its_declared_encoding(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", ("é.png", b"x"))
    archive.write_bytes(archive.read_bytes().replace("é".encode(), b"\xff\xfe"))
    with pytest.raises(UserError, match="damaged"):
        ImageFiles.open(str(archive))


@given(data=st.data())
def test_any_damage_ends_in_one_of_two_errors(data: st.DataObject, tmp_path: Path) -> None:
    entries = (("a/b.png", b"content" * 20), ("c.png", b"d"))
    raw = bytearray(pack(tmp_path / "x.zip", *entries).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "x.zip").write_bytes(raw)
    try:
        files = ImageFiles.open(str(tmp_path / "x.zip"))
    except UserError:
        return
    for file in files.all:
        try:
            content = file.read()
        except OSError:
            continue
        assert file.digest() == f"crc32:{zlib.crc32(content):08x}:{len(content)}"


def test_digests_of_entries_come_from_the_directory(tmp_path: Path) -> None:
    def digest(name: str, content: bytes, damage: int = 0) -> str:
        archive = pack(tmp_path / name, ("x.png", content))
        raw = bytearray(archive.read_bytes())
        raw[36] ^= damage
        archive.write_bytes(raw)
        (file,) = ImageFiles.open(str(archive)).all
        assert file.stamp is None
        return file.digest()

    assert digest("1.zip", b"one") == digest("2.zip", b"one") == digest("3.zip", b"one", damage=1)
    assert digest("1.zip", b"one") != digest("4.zip", b"two")
