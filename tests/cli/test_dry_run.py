"""`--dry-run`: what it checks and prints, and that it leaves nothing behind but image tables."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import ray
import torch
import yaml

from revo_ray.cli.main import main
from revo_ray.data.shared_files import tables_folder
from revo_ray.data.table.image_table import prepare_table, split_table
from revo_ray.finetune.training.assemble import load_network
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.prepare import RULES, resolve
from revo_ray.settings.schema import SearchConfig
from tests.search.core.test_winners import earlier

SMALL = (
    *("model.name=timm/test_byobnet", "model.weights=none", "data.image_size=16"),
    *("data.max_images=300", "train.epochs=2", "train.batch_size=16", "search.evaluations=7"),
)

DryRun = Callable[..., tuple[int, str, str]]


@pytest.fixture
def dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> DryRun:
    """Type a dry run; gives exit status, output and errors."""

    def command(*words: str, settings: tuple[str, ...] = ()) -> tuple[int, str, str]:
        sets = (f"storage={tmp_path}", *SMALL, *settings)
        line = [*words, *(word for each in sets for word in ("--set", each)), "--dry-run"]
        monkeypatch.setattr(sys, "argv", ["revo-ray", *line])
        threads = torch.get_num_threads()
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ray.is_initialized()
        assert torch.get_num_threads() == threads
        return (int(str(ended.value.code)), *capsys.readouterr())

    return command


def left_behind(folder: Path) -> set[str]:
    """The first parts of the names of all files below a folder."""
    return {path.relative_to(folder).parts[0] for path in folder.rglob("*") if path.is_file()}


def study_file(folder: Path, **study: object) -> str:
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump({"name": "all", "study": study}))
    return str(file)


def test_a_search_is_counted_as_it_would_run(dry_run: DryRun, tmp_path: Path) -> None:
    status, out, err = dry_run("search")
    assert status == 0, err
    config = SearchConfig.load(None, [f"storage={tmp_path}", *SMALL])
    table = prepare_table(config.data, tables_folder(config.storage))
    splits = split_table(table, config.data)
    _, units = load_network(config.model, config.data, config.train, table)
    sizes = [len(splits.train), len(splits.validation), len(splits.test)]
    lines = out.splitlines()
    (row,) = (line.split() for line in lines if line.startswith("digits 0.05"))
    assert list(map(int, row[-5:])) == [len(units), *sizes, 1]
    assert f"1 search, 7 evaluations, 14 epochs, {14 * sizes[0]} images to train on" in out
    assert f"a step of timm/test_byobnet on {min(16, sizes[0])} images takes" in out
    assert left_behind(tmp_path) == {".tables"}


def test_every_cell_of_a_study_is_counted_and_each_network_timed_once(
    dry_run: DryRun, tmp_path: Path
) -> None:
    file = study_file(
        tmp_path,
        methods=["revo-binary", "full", "auto-rgn", "set-encoding", "random"],
        models=["timm/test_byobnet", "timm/test_resnet"],
        fractions=[0.1, 0.2],
        seeds=[0, 1, 2],
    )
    status, out, err = dry_run("study", file)
    assert status == 0, err
    rows = [line.split() for line in out.splitlines() if line.startswith("digits ")]
    assert [(row[1], row[2], row[-1]) for row in rows] == [
        (fraction, name, "15")
        for name in ("test_byobnet", "test_resnet")
        for fraction in ("0.1", "0.2")
    ]
    assert "all: 60 searches, 420 evaluations, 840 epochs" in out
    assert out.count("a step of ") == 2
    assert left_behind(tmp_path) == {".tables", "study.yaml"}


def test_a_warm_start_is_said_and_recorded_nowhere(dry_run: DryRun, tmp_path: Path) -> None:
    source = earlier(tmp_path / "source", 12)
    start = f"search.warm_start=[{source}]"
    status, out, err = dry_run("search", settings=(start,))
    assert status == 0, err
    assert f"warm start from 10 winners of {source}" in out
    assert left_behind(tmp_path) == {".tables", "source"}
    status, _, err = dry_run("search", settings=(start, "method.name=full"))
    assert (status, len(err.splitlines())) == (2, 1)
    assert "search.warm_start: full" in err


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (("search.warm_start=[/nowhere]",), "/nowhere holds no search|warm_start: random"),
        (("data.source=folder", "data.root=/nowhere"), "/nowhere"),
        (("data.train_fraction=0.001",), "train_fraction"),
        (("model.name=timm/test_byobnett",), "model.name|no model"),
        (("model.weights=/nowhere.pth",), "no such file"),
        (("method.name=fulll",), "did you mean full"),
        (("method.name=full", "method.grace_period=3"), "grace_period"),
    ],
)
@pytest.mark.parametrize("kind", ["search", "study"])
def test_a_mistake_ends_in_one_line_and_exit_2(
    dry_run: DryRun, tmp_path: Path, kind: str, settings: tuple[str, ...], says: str
) -> None:
    words = [kind]
    if kind == "study":
        method = {s.partition("=")[0][7:]: yaml.safe_load(s.partition("=")[2]) for s in settings
                  if s.startswith("method.")}  # fmt: skip
        settings = tuple(s for s in settings if not s.startswith("method."))
        words.append(study_file(tmp_path, methods=["random", method or "full"]))
    status, _, err = dry_run(*words, settings=settings)
    assert status == 2
    (line,) = err.splitlines()
    assert any(part in line for part in says.split("|"))
    assert left_behind(tmp_path) <= {".tables", "study.yaml"}


def test_a_search_that_was_begun_needs_resume_and_its_own_settings(
    dry_run: DryRun, tmp_path: Path
) -> None:
    named = ("name=run",)
    config = SearchConfig.load(None, [f"storage={tmp_path}", *SMALL, *named])
    run = RunDirectory.of(config)
    run.write_config(resolve(config)[0], {}, RULES)
    run.storage.write("ledger/000000.json", b"")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    status, _, err = dry_run("search", settings=named)
    assert (status, "already holds a search" in err) == (2, True)
    assert dry_run("search", "--resume", settings=named)[0] == 0
    status, _, err = dry_run("search", "--resume", settings=(*named, "train.epochs=3"))
    assert (status, "train.epochs (2, now 3)" in err) == (2, True)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before
