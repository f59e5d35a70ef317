"""The studies of the paper's tables: dry runs on as many images as published, tiny ones on Ray."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from revo_ray.settings.presets import preset_names
from revo_ray.settings.study import StudyConfig
from tests.data.layouts import (
    SRSMAS_CLASSES,
    Files,
    busi_files,
    ham10000_files,
    leaves_files,
    srsmas_files,
    unpacked,
)
from tests.end_to_end.cli import Cli

TABLES = [name for name in preset_names("study") if name.startswith("table")]

HAM10000 = {"nv": 6705, "mel": 1113, "bkl": 1099, "bcc": 514, "akiec": 327, "vasc": 142, "df": 115}
BUSI = {"benign": 437, "malignant": 210, "normal": 133}
LEAVES = {"Black spot": 171, "canker": 163, "greening": 204, "healthy": 58}
SRSMAS = {label: 29 + (at < 3) for at, label in enumerate(SRSMAS_CLASSES)}
"""Images of each class in the published data sets; of SRSMAS only the sum is known, 409."""

UNITS = {
    "resnet18": 21,
    "resnet50": 54,
    "convnext_tiny": 59,
    "efficientnet_b0": 82,
    "mobilenet_v2": 53,
    "shufflenet_v2_x1_0": 57,
}
"""Convolutions and linear layers of torchvision's networks."""


def laid_out(folder: Path, sets: Mapping[str, Files]) -> Path:
    """A folder in which the presets find their data sets."""
    for name, files in sets.items():
        unpacked(files, folder / "data" / name)
    return folder


@pytest.fixture(scope="module")
def as_published(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A command line in a folder with data sets of the published sizes."""
    sets = {
        "busi": busi_files(BUSI),
        "ham10000": ham10000_files(HAM10000),
        "leaves": leaves_files(LEAVES, melanose=13),
        "srsmas": srsmas_files(SRSMAS),
    }
    return Cli(laid_out(tmp_path_factory.mktemp("published"), sets))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A command line in a folder with small data sets."""
    sets = {
        "busi": busi_files(),
        "ham10000": ham10000_files(),
        "leaves": leaves_files(),
        "srsmas": srsmas_files(),
    }
    return Cli(laid_out(tmp_path_factory.mktemp("tiny"), sets))


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("table", TABLES)
def test_a_dry_run_counts_all_searches_of_a_table(as_published: Cli, table: str) -> None:
    small = {"model__weights": "none", "data__image_size": "32"}
    done = as_published.run("study", f"preset:{table}", "--dry-run", small=False, **small)
    assert done.returncode == 0, done.stdout + done.stderr
    sizes = {"busi": 780, "ham10000": 10_015, "leaves": 596, "srsmas": 409}
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(tuple(sizes))]
    searches = StudyConfig.load(f"preset:{table}").searches()
    assert sum(int(row[-1]) for row in rows) == len(searches)
    count = f"{table}: {len(searches):,} searches, {100 * len(searches):,} evaluations, "
    assert f"{count}{1000 * len(searches):,} epochs" in done.stdout
    for source, fraction, model, units, *images, _ in rows:
        assert int(units) == UNITS[model]
        train, validation, test = (int(number.replace(",", "")) for number in images)
        whole = sizes[source]
        assert train == pytest.approx(float(fraction) * whole, abs=8)
        assert [validation, test] == pytest.approx([whole / 5] * 2, abs=4)
    networks = {search.model.name for search in searches}
    assert len(re.findall(r"^a step of torchvision/", done.stdout, flags=re.M)) == len(networks)
    assert re.search(r"^about \d+h \d+m on this machine", done.stdout, flags=re.M)
    assert not (as_published.folder / table).exists()


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("one_ray")
@pytest.mark.parametrize("table", TABLES)
def test_a_tiny_table_runs_to_its_end(tiny: Cli, table: str) -> None:
    networks = ["timm/test_resnet"]
    if table.startswith("table3"):
        networks = [f"timm/test_{name}" for name in ("convnext", "efficientnet", "resnet", "vit")]
    done = tiny.run(
        *("study", f"preset:{table}"),
        small=False,
        model__weights="none",
        study__models=str(networks),
        study__fractions="[0.2]",
        study__seeds="[0]",
        data__image_size="32",
        train__epochs="2",
        search__evaluations="4",
        search__population="4",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = sorted(path.parent for path in tiny.folder.glob(f"{table}/*/result.json"))
    planned = StudyConfig.load(f"preset:{table}").study
    assert len(runs) == len(planned.methods) * len(networks) * len(planned.data)
    for run in runs:
        rows = tiny.ledger(f"{table}/{run.name}")
        method = yaml.safe_load((run / "config.yaml").read_text())["method"]["name"]
        if method in ("full", "first", "last", "layer-decay", "auto-rgn"):  # stopped early
            assert sum(row.epochs for row in rows) == 8
        else:
            assert len(rows) == 4
    page = (tiny.folder / table / "report" / "tables.md").read_text()
    assert all((m if isinstance(m, str) else m["name"]) in page for m in planned.methods)
