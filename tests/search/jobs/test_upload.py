"""The files of a job are those that Ray uploads; what it would lack or could not carry is said."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from ray._private.runtime_env.packaging import create_package
from ray._private.runtime_env.working_dir import upload_working_dir_if_needed

from revo_ray.errors import UserError
from revo_ray.search.jobs.submit import EXCLUDES, make_job
from revo_ray.search.jobs.upload import check_size, uploaded_files
from revo_ray.settings.schema import SearchConfig
from tests.search.jobs.told import rays_that_tell

pytestmark = rays_that_tell

TREE = (
    *("config.yaml", "my_methods.py", "notes.txt", "photos/cat/1.jpg", "big.bin", "a b/ü.py"),
    *("package/__init__.py", "package/secret.py", "package/deep/data.csv", "logs/x.log"),
    *(".env", ".git/config", "tests/test.py", "package/tests/kept.py", "kept.gz.txt"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in TREE:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link.py").symlink_to(tmp_path / "my_methods.py")
    (tmp_path / "broken").symlink_to(tmp_path / "none")
    (tmp_path / "config.yaml").write_text(f"storage: {tmp_path}/results\n")
    (tmp_path / "my_methods.py").write_text("METHODS = []\n")
    (tmp_path / "package/__init__.py").write_text("METHODS = []\n")
    return tmp_path


def by_ray(folder: Path, target: Path) -> dict[str, int]:
    """Names and sizes in the archive that Ray itself makes of a folder."""

    def pack(path: str, excludes: list[str], is_file: bool = False) -> None:
        create_package(path, target, include_gitignore=True, excludes=excludes)

    env = {"working_dir": str(folder), "excludes": list(EXCLUDES)}
    upload_working_dir_if_needed(env, include_gitignore=True, upload_fn=pack)
    with zipfile.ZipFile(target) as archive:
        entries = archive.infolist()
    return {each.filename: each.file_size for each in entries if not each.is_dir()}


@pytest.mark.parametrize(
    ("where", "patterns"),
    [
        (".gitignore", "*.csv\nsecret.py\n"),
        (".rayignore", "package/\n!package/__init__.py\n"),
        ("package/.gitignore", "deep\n/secret.py\n"),
        (".gitignore", "*\n!*.yaml\n"),
        (".gitignore", "# nothing\n"),
    ],
)
def test_the_files_are_those_that_ray_packs(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, where: str, patterns: str
) -> None:
    (folder / where).write_text(patterns)
    target = tmp_path_factory.mktemp("packed") / "package.zip"
    files = uploaded_files(folder, EXCLUDES)
    assert files == by_ray(folder, target)
    check_size(files, limit=target.stat().st_size + 10_000)
    with pytest.raises(UserError):
        check_size(files, limit=sum(files.values()))


def refusal(folder: Path, source: str | None, *overrides: str) -> str:
    config = None if source is None else str(folder / source)
    given = [f"storage={folder}/results", *overrides]
    with pytest.raises(UserError) as refused:
        make_job(SearchConfig.load(config, given), config, given, folder)
    return str(refused.value)


@pytest.mark.parametrize(
    ("where", "patterns", "plugins", "names", "cause"),
    [
        (".gitignore", "config.yaml", "", "'config.yaml'", ".gitignore"),
        (".gitignore", "*.yaml", "", "'config.yaml'", ".gitignore"),
        (".gitignore", "my_methods.py", "my_methods", "'my_methods.py'", ".gitignore"),
        (".gitignore", "package", "package", "'package/__init__.py' (and 2 more)", ".gitignore"),
        ("package/.gitignore", "secret.py", "package", "'package/secret.py'", ".gitignore"),
        (".rayignore", "my_*", "my_methods", "'my_methods.py'", ".rayignore"),
    ],
)
def test_a_file_that_the_job_needs_is_not_left_out(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    patterns: str,
    plugins: str,
    names: str,
    cause: str,
) -> None:
    monkeypatch.syspath_prepend(folder)
    (folder / where).write_text(patterns)
    said = refusal(folder, "config.yaml", f"plugins=[baselines{plugins and ', ' + plugins}]")
    assert f"the job needs {names} of --working-dir" in said
    assert cause in said


def test_a_folder_that_is_too_large_is_refused_with_its_largest_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        with (folder / f"dump{number}.raw").open("wb") as file:
            file.truncate(number * 40 * 10**6)  # sparse: it takes no space
    said = refusal(folder, "config.yaml")
    assert "the largest are dump4.raw (160.0 MB), dump3.raw (120.0 MB), dump2.raw (80.0 MB)" in said
    assert ".rayignore" in said
    (folder / ".rayignore").write_text("*.raw\n")
    job = make_job(
        SearchConfig.load(folder / "config.yaml"), str(folder / "config.yaml"), [], folder
    )
    assert job.notes == ()


def test_images_and_weights_that_stay_here_are_named(folder: Path) -> None:
    changes = [f"data.root={folder}/photos", "data.source=folder", f"model.weights={folder}/w.pth"]
    settings = SearchConfig.load(folder / "config.yaml", changes)
    job = make_job(settings, str(folder / "config.yaml"), changes, folder)
    assert [note.partition(":")[0] for note in job.notes] == ["data.root", "model.weights"]
