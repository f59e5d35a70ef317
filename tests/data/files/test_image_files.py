"""A folder, an archive and an object store give the same files; hostile archives do no harm."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from revo_ray.data.files import stored_file
from revo_ray.data.files.decode import explain
from revo_ray.data.files.image_files import File, ImageFiles
from revo_ray.data.files.stored_file import MAX_BYTES
from revo_ray.errors import UserError
from tests.object_store import object_store

FILES = {
    "benign/benign (1).png": b"one",
    "benign/benign (1)_mask.png": b"",
    "Citrus/Black spot/Überblick 葉.JPG": b"three" * 1000,
    "notes.txt": b"four",
}
FOLDERS = ("Citrus", "Citrus/Black spot", "benign", "empty", "empty/inside")


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def pack(path: Path, *entries: tuple[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def contents(files: ImageFiles) -> dict[str, bytes]:
    return {file.path: file.read() for file in files.all}


@pytest.fixture
def example(tmp_path: Path) -> Path:
    folder = fill(tmp_path / "data set", FILES)
    (folder / "empty/inside").mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def bucket() -> Iterator[Callable[[str], str]]:
    """An S3 server with a bucket; gives the URI of what is below it."""
    with object_store("photos") as uri:
        yield uri


def upload(uri: str, key: str, content: bytes) -> None:
    """Put an object as other programs do, by Amazon's own library."""
    import boto3

    endpoint = uri.partition("endpoint_override=")[2].partition("&")[0]
    boto3.client("s3", endpoint_url=f"http://{endpoint}").put_object(
        Bucket="photos", Key=key, Body=content
    )


def check_example(files: ImageFiles) -> None:
    assert contents(files) == FILES
    assert [file.path for file in files.all] == sorted(FILES)
    assert {file.path: file.size for file in files.all} == {n: len(c) for n, c in FILES.items()}
    assert files.folders == FOLDERS
    assert files.problems == ()


def test_folder_archive_and_uri_give_the_same_files(example: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", example))
    check_example(ImageFiles.open(str(example)))
    check_example(ImageFiles.open(f"{example}/"))
    check_example(ImageFiles.open(example.as_uri()))
    check_example(ImageFiles.open(str(archive)))
    check_example(ImageFiles.open(archive.as_uri()))


@pytest.mark.slow
def test_object_store_gives_the_same_files(
    example: Path, tmp_path: Path, bucket: Callable[[str], str]
) -> None:
    for path in example.rglob("*"):
        key = f"set/{path.relative_to(example).as_posix()}"
        if path.is_dir():
            upload(bucket(""), f"{key}/", b"")  # as the console's "create folder"
        else:
            upload(bucket(""), key, path.read_bytes())
    upload(bucket(""), "set/", b"")
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", example))
    upload(bucket(""), "packed.zip", archive.read_bytes())
    check_example(ImageFiles.open(bucket("set")))
    check_example(ImageFiles.open(bucket("set/")))
    check_example(ImageFiles.open(bucket("packed.zip")))
    whole = ImageFiles.open(bucket(""), unpack=True)
    assert contents(whole.below("set")) == FILES
    assert contents(whole).items() >= FILES.items()
    with pytest.raises(UserError, match=r"^data\.root: no such folder or archive 's3://photos"):
        ImageFiles.open(bucket("nothing"))


@pytest.mark.slow
def test_remote_stamp_changes_with_the_object(
    bucket: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_file, "RECENT_NS", 0)

    def stamp() -> str | None:
        (file,) = ImageFiles.open(bucket("stamps")).all
        return file.stamp

    upload(bucket(""), "stamps/a.png", b"one")
    first = stamp()
    assert first == stamp()
    upload(bucket(""), "stamps/a.png", b"other")
    assert stamp() != first


def test_home_is_expanded(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(example.parent))
    check_example(ImageFiles.open("~/data set"))


def test_hidden_files_and_leavings_are_left_out(tmp_path: Path) -> None:
    names = [".git/a.png", "a/._b.png", "__MACOSX/a/._b.png", "a/Thumbs.db", "Desktop.ini"]
    names += ["a/.ipynb_checkpoints/b-checkpoint.png", ".DS_Store"]
    folder = fill(tmp_path / "x", dict.fromkeys([*names, "a/b.png"], b"x"))
    archive = Path(shutil.make_archive(str(tmp_path / "x"), "zip", folder))
    for files in (ImageFiles.open(str(folder)), ImageFiles.open(str(archive))):
        assert [file.path for file in files.all] == ["a/b.png"]
        assert files.folders == ("a",)


def test_root_below_a_hidden_folder(tmp_path: Path) -> None:
    folder = fill(tmp_path / ".cache" / "x", {"a.png": b"x"})
    assert contents(ImageFiles.open(str(folder))) == {"a.png": b"x"}


def raw_path(folder: Path, name: bytes) -> Path:
    return Path(os.fsdecode(os.fsencode(folder) + b"/" + name))


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    folder = raw_path(tmp_path, b"dir\xff")
    pack(folder / "x.zip", ("y.png", b"packed"))
    raw_path(tmp_path, b"caf\xe9.png").write_bytes(b"coffee")
    files = ImageFiles.open(str(tmp_path), unpack=True)
    assert files.folders == (r"dir\xff",)
    found = contents(files)
    assert set(found) == {r"caf\xe9.png", r"dir\xff/x.zip", r"dir\xff/y.png"}
    assert found[r"caf\xe9.png"] == b"coffee"
    assert found[r"dir\xff/y.png"] == b"packed"
    assert files.all[0].stamp
    for root in (folder, folder / "x.zip"):
        assert contents(ImageFiles.open(str(root), unpack=True))["y.png"] == b"packed"


def test_two_names_that_show_the_same_are_told(tmp_path: Path) -> None:
    for name in (b"\xff.png", rb"\xff.png"):
        raw_path(tmp_path, name).write_bytes(name)
    files = ImageFiles.open(str(tmp_path))
    assert [file.path for file in files.all] == [r"\xff.png"]
    assert [problem.name for problem in files.problems] == [r"\xff.png"]


def test_links_are_followed(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", {"a.png": b"a", "deep/b.png": b"b"})
    root = fill(tmp_path / "root", {"plain/c.png": b"c"})
    (root / "one").symlink_to(tmp_path / "elsewhere")
    (root / "two").symlink_to("../elsewhere")
    (root / "d.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    files = ImageFiles.open(str(root))
    assert contents(files) == {
        **{"d.png": b"a", "plain/c.png": b"c", "one/a.png": b"a", "two/a.png": b"a"},
        **{"one/deep/b.png": b"b", "two/deep/b.png": b"b"},
    }
    (tmp_path / "link").symlink_to(root)
    assert contents(ImageFiles.open(str(tmp_path / "link"))) == contents(files)


def test_links_in_circles_end(tmp_path: Path) -> None:
    root = fill(tmp_path / "root", {"a/b/x.png": b"x", "c/y.png": b"y"})
    (root / "a/b/up").symlink_to("..")
    (root / "a/b/same").symlink_to(".")
    (root / "a/root").symlink_to(root)
    (root / "c/above").symlink_to(tmp_path.parent)
    (root / "a/c").symlink_to("../c")  # which comes back to a
    (root / "c/a").symlink_to("../a")
    (root / "self.png").symlink_to("self.png")
    files = ImageFiles.open(str(root))
    assert set(contents(files)) == {"a/b/x.png", "c/y.png", "a/c/y.png", "c/a/b/x.png"}
    assert files.problems == (("self.png", "a broken symbolic link"),)


def test_what_is_no_regular_file_is_a_problem_if_it_should_be_an_image(tmp_path: Path) -> None:
    for name in ("pipe.png", "pipe"):
        os.mkfifo(tmp_path / name)
    for name in ("gone.png", "gone"):
        (tmp_path / name).symlink_to("nowhere")
    files = ImageFiles.open(str(tmp_path))
    assert files.all == ()
    assert files.problems == (
        ("gone.png", "a broken symbolic link"),
        ("pipe.png", "no regular file"),
    )


@contextmanager
def ordinary_user() -> Iterator[Path]:
    """A folder of a user whom permissions bind, as they do not bind root."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    root = os.geteuid() == 0
    try:
        if root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        yield folder
    finally:
        if root:
            os.seteuid(0)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755)
        shutil.rmtree(folder)


def test_what_may_not_be_read() -> None:
    with ordinary_user() as folder:
        fill(folder, {"a/x.png": b"x", "b/y.png": b"y", "c/z.zip": b"z"})
        (folder / "a/x.png").chmod(0)
        file = ImageFiles.open(str(folder)).find("x.png")
        assert file is not None
        with pytest.raises(PermissionError) as caught:
            file.read()
        assert explain(caught.value) == "permission denied"
        (folder / "c/z.zip").chmod(0)
        with pytest.raises(UserError, match=r"^data\.root: .*z\.zip.*: permission denied"):
            ImageFiles.open(str(folder), unpack=True)
        (folder / "b").chmod(0)
        with pytest.raises(UserError, match=r"^data\.root: .*/b': permission denied"):
            ImageFiles.open(str(folder))
        with pytest.raises(UserError, match=r"^data\.root: .*/b/y': permission denied"):
            ImageFiles.open(str(folder / "b/y"))


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("{}/nothing", "no such folder or archive"),
        ("{}/notes.txt/more", "no such folder or archive"),
        ("C:\\photos", "no such folder or archive"),
        ("{}/notes.txt", "neither a folder nor a zip or tar archive"),
        ("{}/pipe", "neither a folder nor a zip or tar archive"),
        ("{}/text.zip", "damaged"),
        ("{}/empty.zip", "damaged"),
        ("{}/\0", "null"),
        ("nosuch://photos", "nosuch"),
    ],
)
def test_roots_that_are_none(tmp_path: Path, uri: str, said: str) -> None:
    fill(tmp_path, {"notes.txt": b"text", "text.zip": b"text", "empty.zip": b""})
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=said) as caught:
        ImageFiles.open(uri.format(tmp_path))
    assert caught.value.key == "data.root"
    assert "\n" not in str(caught.value)


def test_passwords_in_uris_are_not_shown() -> None:
    with pytest.raises(UserError) as caught:
        ImageFiles.open("nosuch://me:secret@photos")
    assert "secret" not in str(caught.value)


def test_archives_are_unpacked_in_place(tmp_path: Path) -> None:
    inner = pack(tmp_path / "inner", ("z.png", b"z")).read_bytes()
    (tmp_path / "inner").unlink()
    pack(tmp_path / "d/1.zip", ("a.png", b"1"), ("b/c.png", b"1"), ("inner.zip", inner))
    pack(tmp_path / "d/2.ZIP", ("e.png", b"2"), ("b/c.png", b"2"), ("b/f/", b""))
    fill(tmp_path, {"d/a.png": b"0"})
    assert {file.path for file in ImageFiles.open(str(tmp_path)).all} == {
        *("d/1.zip", "d/2.ZIP", "d/a.png"),
    }
    files = ImageFiles.open(str(tmp_path), unpack=True)
    assert {p: c for p, c in contents(files).items() if p.endswith("png")} == {
        **{"d/a.png": b"0", "d/b/c.png": b"1", "d/e.png": b"2"},
    }
    assert files.folders == ("d", "d/b", "d/b/f")
    assert "d/z.png" not in contents(ImageFiles.open(str(tmp_path / "d/1.zip"), unpack=True))


def test_stamps_and_digests_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_file, "RECENT_NS", 0)
    path = tmp_path / "a.png"

    def file() -> File:
        (found,) = ImageFiles.open(str(tmp_path)).all
        return found

    path.write_bytes(b"one")
    first, status = file().stamp, path.stat()
    assert file().digest() == hashlib.sha256(b"one").hexdigest()
    assert file().stamp == first
    path.write_bytes(b"two")  # as long, in the same inode, and with its time set back
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file().stamp != first
    assert file().digest() == hashlib.sha256(b"two").hexdigest()


def test_files_too_large_for_an_image(tmp_path: Path) -> None:
    for name in ("x.png", "x.npz"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(MAX_BYTES + 1)
    files = ImageFiles.open(str(tmp_path))
    assert [problem.name for problem in files.problems] == ["x.png"]
    (other,) = files.all
    with pytest.raises(OSError, match="too large") as caught:
        other.read()
    assert caught.value.errno == errno.EFBIG


def test_files_below_a_folder(tmp_path: Path) -> None:
    fill(tmp_path, {"train/cat/1.png": b"1", "train/readme.md": b"2", "trainer/2.png": b"3"})
    (tmp_path / "train/broken.jpg").symlink_to("nowhere")
    files = ImageFiles.open(str(tmp_path)).below("train")
    assert contents(files) == {"cat/1.png": b"1", "readme.md": b"2"}
    assert files.folders == ("cat",)
    assert [problem.name for problem in files.problems] == ["broken.jpg"]
    assert files.below("cat/").all[0].path == "1.png"
    assert files.below("dog") == ImageFiles((), (), ())
    assert files.below("") == files


def test_images_are_known_by_their_ending(tmp_path: Path) -> None:
    names = ["a.JPG", "b.jpeg", "c.Png", "d.tif", "e.webp", "f.bmp", "g.gif"]
    others = ["h.eps", "i.pdf", "j.wmf", "k.txt", "png", "l.png.part", "m.zip"]
    fill(tmp_path, dict.fromkeys([*names, *others], b""))
    assert [file.path for file in ImageFiles.open(str(tmp_path)).images()] == names


def test_find_takes_the_shallowest_then_the_first(tmp_path: Path) -> None:
    fill(tmp_path, dict.fromkeys(["a/b/META.CSV", "z/meta.csv", "y/Meta", "meta.csv.bak"], b""))
    files = ImageFiles.open(str(tmp_path))
    found = files.find("Meta.csv", "meta")
    assert found is not None
    assert found.path == "y/Meta"
    assert files.find("other.csv") is None


def test_a_file_opens_as_an_image(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(buffer, "PNG")
    pack(tmp_path / "x.zip", ("a.png", buffer.getvalue()))
    for root in (tmp_path, tmp_path / "x.zip"):
        fill(tmp_path, {"a.png": buffer.getvalue()})
        image = ImageFiles.open(str(root)).images()[0].open()
        assert (image.size, image.convert("RGB").getpixel((0, 0))) == ((3, 2), (255, 0, 0))
