"""Hostile paths: every command takes them as they are, or refuses them by name at the start."""

from __future__ import annotations

import os
import shlex
import shutil
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.errors import UserError, printable
from revo_ray.model.out_path import local_out
from revo_ray.search.jobs.submit import make_job
from revo_ray.settings.schema import SearchConfig
from revo_ray.storage import Storage
from revo_ray.uris import divided, folder_name
from tests.data.layouts import picture
from tests.faults.fuzz.test_fuzz_config import outcome
from tests.model.run_directories import make_run
from tests.properties import examples
from tests.typed import Typed

TAKEN = [
    *("a b", " lead", "trail ", "q?x", "?", "h#1", "#", "p%41", "%", "%2F", "'q'", '"d"', "`b`"),
    *("a:b", "s3:", "file:", "http:x", "-dash", "--out", "*", "[a]", "{b}", "a;b", "a&b", "$HOME"),
    *("~x", "back\\slash", "!x", "|", "a=b", "a,b", "@", ".hidden", "💥", "\u202egpj", "x" * 250),
    *(unicodedata.normalize(form, "é") for form in ("NFC", "NFD")),
    *("é" * 120, "é ü/ñ?/#", "a/../b", "b/", "x//y", "run?region=x", "a" * 200 + "/" + "b" * 200),
]
REFUSED = ["x" * 300, "é" * 200, "new\nline", "tab\t", "\x1b[31m", "\x7f", "bad\udcff", "\x85"]
REFUSED += ["/".join(["x" * 200] * 20)]
OTHERS = [pytest.param(n, marks=pytest.mark.nightly) for n in ("-dash", "~x", "é" * 120, "a:b")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("searches"), "run")


def as_argument(name: str) -> str:
    """A path that no command takes for an option."""
    return f"./{name}" if name.startswith("-") else name


@pytest.mark.parametrize("name", TAKEN)
def test_a_storage_is_a_folder_of_that_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = Storage(name)
    child = storage.child("run").child("best")
    child.write("a.json", b"1")
    assert (tmp_path / os.path.normpath(name) / "run" / "best" / "a.json").read_bytes() == b"1"
    assert Storage(child.uri).read("a.json") == b"1"
    above = child.parent
    assert above is not None
    assert (above.uri, Storage(above.uri).list()) == (storage.child("run").uri, ["best"])
    assert folder_name(above.uri) == "run"
    assert divided(child.uri) == (child.uri, "")


@pytest.mark.parametrize("name", REFUSED)
def test_a_storage_that_cannot_be_is_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"storage: .* (is too long|holds a line|is no UTF-8)"):
        Storage(str(tmp_path / name))


@given(name=st.text(min_size=1, max_size=60).filter(lambda name: "\0" not in name))
@examples(60)
def test_any_name_of_a_folder(name: str, tmp_path: Path) -> None:
    """It is taken as it is, or refused."""
    name = name.replace("/", "_").replace("..", "__")
    folder = tmp_path / f"x{name}"
    storage = outcome(lambda: Storage(str(folder)).child("run"))
    if storage is None:
        return
    storage.write("a", b"1")
    assert (folder / "run" / "a").read_bytes() == b"1"
    assert Storage(storage.uri).list() == ["a"]
    shutil.rmtree(folder)


@pytest.mark.sample(15)
@pytest.mark.parametrize("name", TAKEN)
def test_images_and_a_configuration_of_that_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: Typed
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path(name)
    for label in "ab":
        (folder / label).mkdir(parents=True)
        for number in range(5):
            (folder / label / f"{number} #%?.png").write_bytes(picture(ord(label), number))
    argument = as_argument(name)
    config = SearchConfig.load(argument)
    assert (config.data.source, config.data.root) == ("folder", argument)
    status, out, err = typed("data", "inspect", argument, "--set", "data.min_per_class=2")
    assert status == 0, err
    (shown,) = (line for line in out.splitlines() if line.startswith("next:"))
    assert printable(argument) in shlex.split(shown)
    file = Path(f"{os.path.normpath(name)[:200]}.yaml")
    file.write_text(f"name: x\ndata:\n  source: folder\n  root: {shlex.quote('nope')}\n")
    assert SearchConfig.load(as_argument(str(file))).name == "x"


@pytest.mark.parametrize("name", TAKEN)
def test_a_folder_to_upload_of_that_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path(name)
    folder.mkdir(parents=True)
    (folder / "a #?.yaml").write_text(f"storage: {tmp_path}\n")
    source = str(folder / "a #?.yaml")
    settings = SearchConfig.load(source)
    job = make_job(settings, source, [], folder)
    assert job.runtime_env["working_dir"] == str(tmp_path / os.path.normpath(name))
    assert shlex.split(job.entrypoint)[4] == "a #?.yaml"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["q?x #%41 'q'", *OTHERS])
def test_every_command_takes_a_run_directory_of_that_name(
    name: str, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: Typed
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, tmp_path / name)
    (tmp_path / f"{name[:50]}.png").write_bytes(picture(3, 0))
    run, image = as_argument(name), as_argument(f"{name[:50]}.png")
    assert typed("report", run)[0] == 0
    assert typed("watch", "--once", run)[0] == 0
    status, out, err = typed("export", run, "--to", "safetensors", "--out", f"{run}-o")
    assert status == 0, err
    (shown,) = (line for line in out.splitlines() if line.startswith("next:"))
    words = shlex.split(shown)
    words = words[words.index("predict") :]
    assert typed(*words[:-1], image)[0] == 0
    assert typed("predict", run, image, "--out", f"{run[:100]}.csv")[0] == 0


@pytest.mark.slow
@pytest.mark.nightly
def test_a_search_in_hostile_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: Typed
) -> None:
    """Real Ray, from images to a tested result; the commands that it shows work as they stand."""
    here = tmp_path / "a b#c%41?d"
    for label in "ab":
        (here / "im #1%?" / label).mkdir(parents=True)
        for number in range(12):
            file = here / "im #1%?" / label / f"{number} %41#?.png"
            file.write_bytes(picture(ord(label), number, (16, 16)))
    monkeypatch.chdir(here)
    sets = ["storage=my st#%41?", "model.name=timm/test_efficientnet", "model.weights=none"]
    sets += ["search.evaluations=4", "train.epochs=1", "data.image_size=32", "search.population=4"]
    options = [word for each in sets for word in ("--set", each)]
    status, out, err = typed("search", "im #1%?", *options)
    assert status == 0, err
    assert sorted(path.name for path in (here / "my st#%41?").iterdir()) == [".tables", "im-1"]
    lines = out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("next:"))
    for line in lines[start:]:
        words = shlex.split(line)
        command = next(word for word in ("report", "predict", "export") if word in words)
        words = words[words.index(command) :]
        status, _, err = typed(*(word if word != "IMAGES" else "im #1%?" for word in words))
        assert status == 0, err
    assert typed("search", "im #1%?", *options, "--resume")[0] == 0


@pytest.mark.parametrize("name", REFUSED)
def test_every_command_refuses_a_path_that_cannot_be(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: Typed
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (
        ("report", name),
        ("watch", "--once", name),
        ("export", name, "--to", "safetensors", "--out", "out"),
        ("search", "--set", f"storage={name}"),
        ("search", "--dry-run", "--set", f"storage={name}"),
        ("study", "preset:quick", "--set", f"storage={name}"),
        ("data", "inspect", f"{name}.yaml"),
        ("train", "preset:quickstart", "--plan", f"{name}.json"),
    ):
        status, _, err = typed(*words)
        assert status == 2, (words, err)
        assert len(err.splitlines()) == 1, err
        assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", REFUSED)
def test_an_out_that_cannot_be_is_refused_by_its_option(name: str) -> None:
    with pytest.raises(UserError, match=r"^--out: "):
        local_out(name)
