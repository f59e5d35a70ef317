"""A study's searches: what is varied, what is not, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from revo_ray.errors import UserError
from revo_ray.run import run_study
from revo_ray.rundir.study_directory import StudyDirectory
from revo_ray.search.core.paths import JOB
from revo_ray.search.core.prepare import resolve
from revo_ray.settings.images_argument import images_overrides
from revo_ray.settings.presets import preset_names
from revo_ray.settings.schema import MethodConfig, SearchConfig
from revo_ray.settings.study import StudyConfig


def load(folder: Path, study: Any, **sections: Any) -> StudyConfig:
    path = folder / "study.yaml"
    path.write_text(
        yaml.safe_dump({"name": "s", "storage": str(folder), **sections, "study": study})
    )
    return StudyConfig.load(path)


def test_every_combination_is_one_search(tmp_path: Path) -> None:
    study = load(
        tmp_path,
        {
            "methods": ["full", {"name": "random", "encoding": "binary", "label": "bits"}],
            "models": ["torchvision/resnet18", {"name": "timm/resnet50", "weights": "none"}],
            "data": ["digits", {"source": "folder", "root": "photos", "label": "pets"}],
            "fractions": [0.05, 0.2],
            "seeds": [3, 4, 5],
        },
        train={"epochs": 7},
        data={"image_size": 48},
    )
    searches = study.searches()
    assert len(searches) == len({search.name for search in searches}) == 2 * 2 * 2 * 2 * 3
    assert {search.storage for search in searches} == {str(tmp_path / "s")}
    assert {(search.train.epochs, search.data.image_size) for search in searches} == {(7, 48)}
    one = next(s for s in searches if s.name == "pets-0.2-resnet50-bits-s4")
    assert (one.data.source, one.data.root, one.data.train_fraction) == ("folder", "photos", 0.2)
    assert (one.data.seed, one.train.seed, one.search.seed) == (4, 4, 4)
    assert (one.model.name, one.model.weights) == ("timm/resnet50", "none")
    assert (one.method.name, one.method.options) == ("random", {"encoding": "binary"})
    other = next(s for s in searches if s.name == "digits-0.05-resnet18-full-s3")
    assert (other.data.root, other.model.weights, other.method.options) == (None, "pretrained", {})


def test_what_is_not_varied_is_the_files_own(tmp_path: Path) -> None:
    own = {"data": {"seed": 5, "train_fraction": 0.3}, "train": {"seed": 6}, "search": {"seed": 7}}
    (search,) = load(tmp_path, {"methods": ["full"]}, **own).searches()
    assert (search.data.seed, search.train.seed, search.search.seed) == (5, 6, 7)
    assert search.data.train_fraction == 0.3
    assert search.name == "digits-0.3-tf_efficientnet_lite0-full-s5"


@pytest.mark.parametrize(
    ("study", "sections", "named"),
    [
        ({"methods": []}, {}, r"study\.methods"),
        ({}, {}, r"study\.methods"),
        ({"methods": ["full"], "seed": [1]}, {}, r"study\.seed: no such key; did you mean"),
        ({"methods": ["full"], "seeds": [1]}, {"train": {"seed": 2}}, r"train\.seed"),
        (
            {"methods": ["full"], "data": [{"source": "digits", "seed": 2}]},
            {},
            "study.data sets seed",
        ),
        (
            {"methods": ["full"], "data": [{"source": "digits", "train_fraction": 0.1}]},
            {},
            "study.data sets train_fraction",
        ),
    ],
)
def test_a_study_that_says_a_thing_twice_or_not_at_all(
    study: Any, sections: Any, named: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=named):
        load(tmp_path, study, **sections)


@pytest.mark.parametrize(
    ("study", "named"),
    [
        ({"methods": ["full", "full"]}, "two searches would be called .*label"),
        ({"methods": ["full"], "fractions": [0.9]}, "together they may be at most 1"),
        ({"methods": ["full"], "models": [{"nmae": "x"}]}, r"model\.nmae"),
        ({"methods": ["full"], "seeds": [-1]}, "seed"),
    ],
)
def test_a_combination_that_does_not_fit(study: Any, named: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=named):
        load(tmp_path, study).searches()


@pytest.mark.parametrize("seeds", [[], [4, 7]])
def test_what_a_study_wrote_is_the_same_study(seeds: list[int], tmp_path: Path) -> None:
    made = StudyConfig.load("preset:quick", [f"study.seeds={seeds}", f"storage={tmp_path}"])
    StudyDirectory(str(tmp_path)).write_config(made)
    again = StudyConfig.load(str(tmp_path / StudyDirectory.CONFIG))
    assert again.searches() == made.searches()


def test_images_take_the_place_of_those_of_a_study(tmp_path: Path) -> None:
    (tmp_path / "my photos/cat").mkdir(parents=True)
    own = images_overrides(str(tmp_path / "my photos"), "preset:compare")
    study = StudyConfig.load("preset:compare", own)
    assert study.name == "my-photos-compare"
    assert {search.data.root for search in study.searches()} == {str(tmp_path / "my photos")}
    assert {search.data.train_fraction for search in study.searches()} == {"rest"}
    assert not any(text.startswith("name=") for text in images_overrides(str(tmp_path), "a.yaml"))
    with pytest.raises(UserError, match="photoz': give a folder, an archive or a table"):
        images_overrides("photoz", "preset:compare")


def test_the_studies_that_ship() -> None:
    sizes = {
        name: len(StudyConfig.load(f"preset:{name}").searches()) for name in preset_names("study")
    }
    cells = 4 * 4 * 3  # data sets × fractions × seeds
    assert sizes == {
        "compare": 9,
        "quick": 22,
        "table1": 10 * cells,
        "table1-paper": 7 * cells,
        "table2": 10 * cells,
        "table2-paper": 7 * cells,
        "table3": 3 * 4 * 3,  # methods × networks × seeds
        "table3-paper": 3 * 4 * 3,
    }
    with pytest.raises(UserError, match="did you mean preset:quick"):
        StudyConfig.load("quick.yaml")


@pytest.mark.sample(1)
@pytest.mark.parametrize("table", ["table1-paper", "table2-paper", "table3-paper"])
def test_a_table_of_the_paper_has_the_papers_settings(table: str) -> None:
    """As the presets of single searches have them, on torchvision's first weights."""
    presets = {
        method: SearchConfig.load(f"preset:paper-{method.removeprefix('revo-')}")
        for method in ("revo-binary", "revo-continuous")
    }
    papers = {"revo-binary": {"low": -4.0, "high": 0.0}, "revo-continuous": {"scale": "linear"}}
    for search in StudyConfig.load(f"preset:{table}").searches():
        assert search.model.weights == "pretrained:IMAGENET1K_V1"
        assert (search.search.evaluations, search.search.population) == (100, 10)
        rule = search.train.model_dump(exclude={"seed"})
        assert all(preset.train.model_dump(exclude={"seed"}) == rule for preset in presets.values())
        own = resolve(search)[0].method.options
        if preset := presets.get(search.method.name):
            # Rates from 1e-3 and bits of the head are options of the preset, too. A linear scale
            # has no exponents.
            assert own | papers[search.method.name] == own
            assert (own["sweep"], own["covariance"]) == (False, "independent")
            assert own | {"low": None} == resolve(preset)[0].method.options | {"low": None}
        else:
            method = MethodConfig(name=search.method.name)
            alone = resolve(search.model_copy(update={"method": method}))[0].method.options
            assert own == (alone | {"lr": [1e-4, 1.0]} if "lr" in alone else alone)


def test_a_relative_storage_inside_a_ray_job_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load(tmp_path, {"methods": ["full"]}).model_copy(update={"storage": "results"})
    monkeypatch.setenv(JOB, "{}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="storage: 'results' is relative"):
        run_study(study)
