"""Trackers by name: those that are there, and what is said of those that are not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

import pytest

from revo_ray.errors import UserError
from revo_ray.installation import install_command
from revo_ray.monitor.trackers import check_trackers
from revo_ray.monitor.trackers.tracker_registry import BUILT_IN
from revo_ray.run import dry_run, run_search, run_study
from revo_ray.settings.schema import SearchConfig
from revo_ray.settings.study import StudyConfig

TRACKER = """
from revo_ray.monitor.trackers import Held, Tracker

class Mine(Tracker):
    def begin(self):
        return Held()
    def add(self, evaluation):
        pass
    def end(self, outcome):
        pass
    def close(self):
        pass

class Unfinished(Tracker):
    def begin(self):
        return Held()

class Served(Mine):
    package = "no_such_service"

other = 3
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with entry points, good and bad."""
    names = "mine Mine", "unfinished Unfinished", "served Served", "other other", "gone Gone"
    points = [f"{name} = a_tracker:{value}" for name, value in map(str.split, names)]
    points += ["broken = a_broken_tracker:Any", "wandb = a_tracker:Mine"]
    (tmp_path / "a_tracker.py").write_text(TRACKER)
    (tmp_path / "a_broken_tracker.py").write_text("import no_such_module_of_mine")
    info = tmp_path / "a_tracker-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: a-tracker\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(["[revo_ray.trackers]", *points]) + "\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mlfow", "no tracker 'mlfow'; did you mean mlflow? (there are "),
        ("MLFlow", "did you mean mlflow?"),
        ("wandb ", "did you mean wandb?"),
        ("wanbd", "did you mean wandb?"),
        ("tensorboard", "no tracker 'tensorboard' (there are "),
        ("", "no tracker '' (there are "),
        ("unfinished", "cannot load 'unfinished': Unfinished has no add, close, end"),
        ("other", "cannot load 'other': 3 is not a class of"),
        ("gone", "cannot load 'gone': module 'a_tracker' has no attribute 'Gone'"),
        ("broken", "cannot load 'broken': No module named 'no_such_module_of_mine'"),
        ("served", "served needs the package no_such_service, which is not installed; pip install"),
    ],
)
def test_a_wrong_name_is_one_line(name: str, message: str, installed: None) -> None:
    with pytest.raises(UserError) as error:
        check_trackers(["mine", name])
    assert str(error.value).startswith("trackers: ")
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_installed_trackers_are_found_and_replace_none_of_ours(installed: None) -> None:
    found = check_trackers(["mine", "wandb", "mine"])
    assert [*found] == ["mine", "wandb"]
    assert found["mine"].__name__ == "Mine"
    assert found["wandb"].__name__ == "WandbTracker"


class Without(PathFinder):
    """Python's finder in an environment that lacks the services."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        return None if fullname in BUILT_IN else super().find_spec(fullname, path, target)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_missing_package_is_named_before_any_image_is_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, name, raising=False)
    finders = [Without if finder is PathFinder else finder for finder in sys.meta_path]
    monkeypatch.setattr(sys, "meta_path", finders)
    sets = [f"trackers={name}", f"storage={tmp_path}", "data.source=folders", "data.root=nowhere"]
    single = SearchConfig.load(None, sets)
    study = StudyConfig.load("preset:quick", sets)
    for command in (
        lambda: run_search(single),
        lambda: dry_run(single),
        lambda: dry_run(study),
        lambda: run_study(study),
    ):
        with pytest.raises(UserError) as error:
            command()
        assert str(error.value) == (
            f"trackers: {name} needs the package {name}, which is not installed; "
            f"{install_command(name)}"
        )
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.slow
def test_no_service_is_imported_until_a_search_is_sent() -> None:
    """`check_trackers` looks for the packages; the courier's thread imports them."""
    code = (
        "import sys, revo_ray.run, revo_ray.cli.main\n"
        "from revo_ray.monitor.trackers import check_trackers\n"
        "check_trackers([])\n"
        "assert not any(name.startswith('revo_ray.monitor.trackers.ml') for name in sys.modules)\n"
        "check_trackers(['mlflow', 'wandb'])\n"
        "assert not {'mlflow', 'wandb'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("mlflow", ["mlflow"]),
        ("[mlflow, wandb]", ["mlflow", "wandb"]),
        ("[]", []),
    ],
)
def test_the_key_takes_a_name_or_a_list(given: str, found: list[str]) -> None:
    assert SearchConfig.load(None, [f"trackers={given}"]).trackers == found
