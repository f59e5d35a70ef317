"""Configurations that hold keys of earlier versions: read back, gone on with, or refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from revo_ray.errors import UserError
from revo_ray.monitor.open_watched import open_watched
from revo_ray.rundir.recorded_config import check_config, read_config, write_config
from revo_ray.rundir.study_directory import StudyDirectory
from revo_ray.settings.deleted import read_back
from revo_ray.settings.schema import SearchConfig
from revo_ray.settings.study import StudyConfig
from revo_ray.storage import Storage
from tests.model.export.runs import SMALL, search
from tests.typed import Typed

OPTIONS = (*SMALL, "model.name=timm/test_efficientnet", "search.evaluations=2")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return search(tmp_path_factory.mktemp("searches"), "run", *OPTIONS)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished search's run directory, with its storage, to edit."""
    shutil.copytree(finished.parent, tmp_path / "searches")
    return tmp_path / "searches" / finished.name


def add_fuse(file: Path, fuse: int | str, measured: int | None = None) -> None:
    """Write a configuration as a version that had `resources.fuse` wrote it."""
    values = yaml.safe_load(file.read_text())
    values["resources"]["fuse"] = fuse
    if measured is not None:
        values["recorded"]["fuse"] = measured
    file.write_text(yaml.safe_dump(values, sort_keys=False))


def resume(run: Path) -> list[str]:
    sets = (*OPTIONS, f"storage={run.parent}", f"name={run.name}")
    return ["search", "--resume", *(word for pair in sets for word in ("--set", pair))]


@pytest.mark.sample(2)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("fuse", "measured", "goes_on"),
    [(1, None, True), ("auto", 1, True), (4, None, False), ("auto", 4, False)],
)
def test_a_search_with_a_deleted_key_is_read_and_gone_on_with_at_its_default(
    run: Path,
    tmp_path: Path,
    typed: Typed,
    fuse: int | str,
    measured: int | None,
    goes_on: bool,
) -> None:
    add_fuse(run / "config.yaml", fuse, measured)
    assert typed("report", run)[0] == 0
    assert (run / "report" / "index.html").exists()
    status, out, err = typed("export", run, "--to", "safetensors", "--out", tmp_path / "model")
    assert status == 0, err
    assert "checked: the same logits" in out
    assert typed("watch", "--once", run)[0] == 0
    for again in (resume(run), ["search", run / "config.yaml", "--resume"]):
        status, _, err = typed(*again)
        if goes_on:
            assert status == 0, err
        else:
            assert status == 2
            (line,) = err.splitlines()
            assert f"resources.fuse={fuse}" in line.replace("'", "")


def test_auto_without_a_measurement_is_another_value_than_the_default() -> None:
    values = {"resources": {"fuse": "auto"}, "recorded": {"versions": {}}}
    assert read_back(values) == ({"versions": {}}, {"resources.fuse": "auto"})
    assert values == {"resources": {}}


@pytest.mark.parametrize("values", [{}, {"resources": None}, {"resources": [1], "recorded": 3}])
def test_values_of_any_shape_are_read_back(values: dict[str, object]) -> None:
    rest = {key: value for key, value in values.items() if key != "recorded"}
    assert read_back(values) == ({}, {})
    assert values == rest


def test_what_was_recorded_before_keeps_its_meaning(tmp_path: Path) -> None:
    """Weight decay acted on all that trained, and a second GPU of an evaluation was idle."""
    config = SearchConfig.load()
    write_config(Storage(str(tmp_path)), config, {}, {})
    file = tmp_path / "config.yaml"
    values = yaml.safe_load(file.read_text())
    del values["train"]["decay_all"]
    values["resources"]["gpus_per_trial"] = 2
    file.write_text(yaml.safe_dump(values))
    for read in (SearchConfig.load(file), read_config(Storage(str(tmp_path))).config):
        assert read.train.decay_all
        assert read.resources.gpus_per_trial == 1
        check_config(Storage(str(tmp_path)), read, {}, {})
    with pytest.raises(UserError, match=r"train\.decay_all \(True, now False\)"):
        check_config(Storage(str(tmp_path)), config, {}, {})


def test_a_study_that_was_written_before_keeps_its_meaning(tmp_path: Path) -> None:
    study = StudyConfig.load("preset:quick", [f"storage={tmp_path}"])
    StudyDirectory(str(tmp_path)).write_config(study)
    file = tmp_path / "study.yaml"
    assert not StudyConfig.load(file).train.decay_all
    values = yaml.safe_load(file.read_text())
    del values["train"]["decay_all"]
    file.write_text(yaml.safe_dump(values))
    assert all(search.train.decay_all for search in StudyConfig.load(file).searches())
    file.write_text("train: {epochs: 3}\nstudy: {methods: [full]}\n")  # by hand
    assert not StudyConfig.load(file).train.decay_all


def test_a_users_own_file_is_told_that_a_key_was_removed(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("resources:\n  fuse: 1\n")
    says = rf"^resources.fuse=1: this key was removed; delete it \(from {file} line 2\)$"
    with pytest.raises(UserError, match=says):
        SearchConfig.load(file)
    with pytest.raises(UserError, match=r"^resources.fuse=2: .* \(from --set\)$"):
        SearchConfig.load(None, ["resources.fuse=2"])


def test_a_study_that_was_written_with_a_deleted_key_is_read_again(tmp_path: Path) -> None:
    study = StudyConfig.load("preset:quick", [f"storage={tmp_path}"])
    StudyDirectory(str(tmp_path)).write_config(study)
    file = tmp_path / "study.yaml"
    add_fuse(file, 1)
    assert StudyConfig.load(file).model_dump() == study.model_dump()
    add_fuse(file, 4)
    assert open_watched(Storage(str(tmp_path))) is not None
    with pytest.raises(UserError, match=r"resources\.fuse=4: this key was removed"):
        StudyConfig.load(file)
