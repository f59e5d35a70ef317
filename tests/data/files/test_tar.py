"""Tar archives, packed in every way: the same files as unpacked, and nothing beyond."""

from __future__ import annotations

import io
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.data.files import tar
from revo_ray.data.files.image_files import File, ImageFiles
from revo_ray.errors import UserError

RNG = np.random.default_rng(0)
FILES = {f"cats/ä {i}.png": RNG.bytes(200 * i) for i in range(9)} | {"dogs/" + "x" * 200: b"dog"}
PACKED = {
    **{".tar": "", ".tar.gz": "gz", ".tgz": "gz", ".tar.bz2": "bz2", ".tbz2": "bz2"},
    **{".tar.xz": "xz", ".txz": "xz", ".tar.zst": "zst", ".backup": "gz", ".noending": ""},
}


def pack(path: Path, files: dict[str, bytes] | list[tarfile.TarInfo], how: str = "") -> Path:
    buffer = io.BytesIO()
    mode = f"w:{how}" if how in ("gz", "bz2", "xz") else "w"
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for entry in files:
            info = entry if isinstance(entry, tarfile.TarInfo) else tarfile.TarInfo(entry)
            content = files[entry] if isinstance(files, dict) else b""
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    content = buffer.getvalue()
    path.write_bytes(pa.compress(content, "zstd", asbytes=True) if how == "zst" else content)
    return path


def contents(files: ImageFiles) -> dict[str, bytes]:
    return {file.path: file.read() for file in files.all}


@pytest.mark.parametrize(("ending", "how"), PACKED.items())
def test_an_archive_holds_what_was_packed(ending: str, how: str, tmp_path: Path) -> None:
    archive = pack(tmp_path / f"photos{ending}", FILES, how)
    for root in (str(archive), archive.as_uri()):
        files = ImageFiles.open(root)
        assert contents(files) == FILES
        assert files.folders == ("cats", "dogs")
        assert [file.size for file in files.all] == [len(FILES[file.path]) for file in files.all]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(File.read, files.all * 20))
        assert found == [FILES[file.path] for file in files.all] * 20
    if ending not in (".backup", ".noending"):
        files = ImageFiles.open(str(tmp_path), unpack=True)
        assert FILES.items() <= contents(files).items()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_tar(form: int, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name, content in FILES.items():
        (folder / name[:90]).parent.mkdir(parents=True, exist_ok=True)
        (folder / name[:90]).write_bytes(content)
    with tarfile.open(tmp_path / "x.tar", "w", format=form) as archive:
        archive.add(folder, arcname=".")
    assert contents(ImageFiles.open(str(tmp_path / "x.tar"))) == contents(
        ImageFiles.open(str(folder))
    )


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("info", "cause"),
    [
        (entry("x.png", tarfile.SYMTYPE, "/etc/passwd"), "a symbolic link inside an archive"),
        (entry("x.png", tarfile.LNKTYPE, "y.png"), "a hard link inside an archive"),
        (entry("x.png", tarfile.CHRTYPE), "no regular file"),
        (entry("x.png", tarfile.BLKTYPE), "no regular file"),
        (entry("x.png", tarfile.FIFOTYPE), "no regular file"),
        (entry("../x.png"), "its path leads out of the archive"),
        (entry("a/../../x.png"), "its path leads out of the archive"),
        (entry("/x.png"), "its path leads out of the archive"),
        (entry("C:/x.png"), "its path leads out of the archive"),
    ],
)
def test_links_devices_and_ways_out_are_refused(
    info: tarfile.TarInfo, cause: str, tmp_path: Path
) -> None:
    files = ImageFiles.open(str(pack(tmp_path / "x.tar", [info, entry("y.png")])))
    assert files.problems == ((info.name, cause),)
    assert contents(files) == {"y.png": b""}


@pytest.mark.parametrize("how", ["gz", "bz2", "xz", "zst"])
def test_a_bomb_stops_at_the_limit(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar, "MOST_UNPACKED", 10**6)
    archive = pack(tmp_path / f"x.tar.{how}", {"x.png": bytes(5 * 10**6)}, how)
    for root in (archive, tmp_path):
        with pytest.raises(UserError, match="unpacks to more than 1,000,000 bytes"):
            ImageFiles.open(str(root), unpack=True)


@pytest.mark.parametrize("how", ["", "gz", "bz2", "xz", "zst"])
def test_damaged_archives_are_told_by_name(how: str, tmp_path: Path) -> None:
    whole = pack(tmp_path / "x.tar", FILES, how).read_bytes()
    torn = tmp_path / f"torn.tar.{how}".rstrip(".")
    for part in (0.0, 0.01, 0.3, 0.6):
        torn.write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(UserError, match=r"archive .*torn\.tar.* is damaged"):
            ImageFiles.open(str(torn))


@given(data=st.data())
def test_any_damage_ends_in_an_error_or_in_files(data: st.DataObject, tmp_path: Path) -> None:
    how = data.draw(st.sampled_from(["", "gz", "xz"]))
    raw = bytearray(pack(tmp_path / "x.tar", {"a/b.png": b"content" * 20}, how).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, min(len(raw), 1536) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "x.tar").write_bytes(raw)
    try:
        files = ImageFiles.open(str(tmp_path / "x.tar"))
    except UserError:
        return
    for file in files.all:
        try:
            file.read()
        except OSError:
            continue


def test_stamps_change_with_the_archive_and_digests_with_the_content(tmp_path: Path) -> None:
    def first(name: str, content: bytes) -> File:
        path = pack(tmp_path / name, {"x.png": content}, "gz")
        os.utime(path, (1, 1))
        return ImageFiles.open(str(path)).all[0]

    one, same, other = first("1.tgz", b"one"), first("2.tgz", b"one"), first("1.tgz", b"two")
    assert one.digest() == same.digest() != other.digest()
    assert one.stamp != other.stamp
    assert one.stamp is not None


def test_temporary_files_have_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    files = ImageFiles.open(str(pack(tmp_path / "x.tgz", FILES, "gz")))
    assert list((tmp_path / "temporary").iterdir()) == []
    assert contents(files) == FILES
