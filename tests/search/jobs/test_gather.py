"""A job without `--working-dir` gets the configuration, its plugins and this code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from revo_ray.errors import UserError
from revo_ray.methods.plugins import CHECKOUT, trusting
from revo_ray.search.jobs.submit import Job, make_job
from revo_ray.settings.schema import SearchConfig
from tests.search.jobs.told import rays_that_tell

pytestmark = rays_that_tell

CODE = """
from revo_ray.methods import RevoContinuous

class Own(RevoContinuous):
    name = 'own'

"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "mine"
    for name, text in {
        "conf/search.yaml": f"storage: {tmp_path}/results\n",
        "single.py": "from beside import Own\nMETHODS = [Own]\n",
        "beside.py": CODE,
        "package/__init__.py": "from package.inner import Own\nMETHODS = [Own]\n",
        "package/inner.py": CODE,
        "package/table.json": "{}",
        "package/.hidden": "hidden",
        "data/__init__.py": f"{CODE}METHODS = [Own]\n",
        "other.py": "",
        "package2/__init__.py": "",
        ".venv/lib/site.py": "",
    }.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text)
    return made


def job(
    folder: Path,
    into: Path,
    *plugins: str,
    source: str | None = "conf/search.yaml",
    path: list[Path] | None = None,
    runtime_env: Path | None = None,
) -> Job:
    given = [f"plugins=[{', '.join(('baselines', *plugins))}]", f"storage={into}/results"]
    source = source and str(folder / source)
    into.mkdir()
    with trusting([folder] if path is None else path):
        settings = SearchConfig.load(source, given)
        return make_job(settings, source, given, into, runtime_env, gathered=True)


def sent(made: Job) -> set[str]:
    """The files that are no code of this project."""
    assert made.files is not None
    ours = {name for name in made.files if name.startswith(("revo_ray/", "baselines/"))}
    assert {
        "revo_ray/__main__.py",
        "revo_ray/presets/own-images.yaml",
        "baselines/random.py",
    } <= ours
    assert all((CHECKOUT / name).stat().st_size == made.files[name] for name in ours)
    folder = Path(made.runtime_env["working_dir"])
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert there == made.files.keys()
    return made.files.keys() - ours


def test_plugins_come_with_what_they_import(folder: Path, tmp_path: Path) -> None:
    bare = {"search.yaml", "pyproject.toml"}
    made = job(folder, tmp_path / "1")
    assert sent(made) == bare
    assert made.entrypoint.startswith("python -m revo_ray search search.yaml --set ")
    assert "--plugin-path" not in made.entrypoint
    made = job(folder, tmp_path / "2", "single")
    assert sent(made) == bare | {"single.py", "beside.py"}
    assert made.entrypoint.endswith(" --plugin-path . --resume")
    made = job(folder, tmp_path / "3", "package", "data")  # `data` is a name that a folder's is not
    package = {"package/__init__.py", "package/inner.py", "package/table.json"}
    assert sent(made) == bare | package | {"data/__init__.py"}


def test_presets_and_images_are_no_files_to_send(folder: Path, tmp_path: Path) -> None:
    assert sent(job(folder, tmp_path / "1", source=None)) == {"pyproject.toml"}
    images = job(folder, tmp_path / "2", source=".")  # an absolute path to a folder
    assert sent(images) == {"pyproject.toml"}
    assert images.entrypoint.startswith(f"python -m revo_ray search {folder}")


def test_excludes_of_the_user_may_not_take_a_plugin_away(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "env.yaml").write_text("excludes: [beside.py, single.py]\n")
    with pytest.raises(UserError, match=r"the job needs 'single.py'"):
        job(folder, tmp_path / "1", "single", runtime_env=tmp_path / "env.yaml")


def test_a_whole_folder_holds_the_plugin_path(folder: Path, tmp_path: Path) -> None:
    given = [f"storage={tmp_path}/results", "plugins=[single]"]
    source = str(folder / "conf" / "search.yaml")
    settings = SearchConfig.load(source, given)
    with trusting([folder]):
        made = make_job(settings, source, given, folder)
        assert made.entrypoint.endswith(" --plugin-path . --resume")
        assert "other.py" in (made.files or {})
        words = f"--plugin-path {str(folder)!r} is not below --working-dir"
        with pytest.raises(UserError, match=words):
            make_job(settings, source, given, folder / "conf")
    with trusting([os.path.join(folder, "package2"), folder]):
        made = make_job(settings, source, given, folder)
        assert made.entrypoint.endswith("single]' --plugin-path . --resume")  # where one was found
