"""Links in a storage: a search changes no file outside its run directory, whatever is linked."""

from __future__ import annotations

import json
import posixpath
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from revo_ray.data.shared_files import TABLES, tables_folder
from revo_ray.data.table.database import connect
from revo_ray.data.table.disk import exclusive
from revo_ray.data.table.spool import Spool
from revo_ray.errors import UserError
from revo_ray.run.searches import run_study
from revo_ray.run.shown import show_in_tensorboard
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.outcome import SearchResult
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.settings.schema import SearchConfig
from revo_ray.settings.study import StudyConfig
from revo_ray.storage import Storage
from tests.search.core.by_hand import open_state, run

SETTINGS = ("search.evaluations=5", "search.population=4")
"""Settings of the search whose run directory is linked."""
CHANGES: dict[str, Callable[[Storage, str], object]] = {
    "write": lambda storage, path: storage.write(path, b"ours"),
    "extend": lambda storage, path: storage.extend(path, b"mine, and more", 4),
    "move out": lambda storage, path: storage.move(path, "here"),
    "move in": lambda storage, path: storage.move("own", path),
    "copy in": lambda storage, path: storage.copy("own", path),
    "delete": lambda storage, path: storage.delete(path),
}
"""All that changes a file of a storage, by its path."""
SWEEP = {
    "delete_leftovers": lambda storage, path: storage.delete_leftovers(posixpath.dirname(path))
}


def content(place: Path) -> dict[Path, bytes]:
    """The content of a file, or of each file of a folder."""
    paths = place.rglob("*") if place.is_dir() else [place]
    return {path: path.read_bytes() for path in paths if path.is_file()}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder whose files are not ours, with folders and a temporary file in it."""
    folder = tmp_path / "outside"
    (folder / "b" / "c").mkdir(parents=True)
    for place in (folder, folder / "b", folder / "b" / "c"):
        (place / "file").write_bytes(b"mine")
        (place / ".0a1b.tmp").write_bytes(b"mine")
    return folder


@pytest.mark.parametrize("change", [*CHANGES, *SWEEP])
@pytest.mark.parametrize("linked", ["a", "a/b", "a/b/c"])
@pytest.mark.parametrize("child", ["", "a"])
def test_no_file_is_changed_through_a_link_to_a_folder(
    change: str, linked: str, child: str, outside: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "own").write_bytes(b"own")
    (root / linked).parent.mkdir(parents=True, exist_ok=True)
    (root / linked).symlink_to(outside)
    storage, path = Storage(str(root)), f"{linked}/file"
    if child and path.startswith(f"{child}/"):
        storage, path = storage.child(child), path.removeprefix(f"{child}/")
    before = content(outside)
    with pytest.raises(UserError, match=f"{root / linked} is a link"):
        (CHANGES | SWEEP)[change](storage, path)
    assert content(outside) == before
    assert storage.read(path) == b"mine"


@pytest.mark.parametrize("change", CHANGES)
def test_a_link_to_a_file_is_replaced_and_not_followed(
    change: str, outside: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "own").write_bytes(b"own")
    (root / "file").symlink_to(outside / "file")
    before = content(outside)
    CHANGES[change](Storage(str(root)), "file")
    assert content(outside) == before
    assert not (root / "file").is_symlink()


@pytest.mark.parametrize("change", CHANGES)
def test_the_root_may_be_a_link(change: str, outside: Path, tmp_path: Path) -> None:
    """The storage and the run directory may lie on another disk."""
    (outside / "own").write_bytes(b"own")
    (tmp_path / "root").symlink_to(outside)
    before = content(outside)
    CHANGES[change](Storage(str(tmp_path / "root")), "b/file")
    assert content(outside) != before
    shutil.copytree(outside, tmp_path / "disk")
    (tmp_path / "disk" / "run").symlink_to(outside)
    RunDirectory(Storage(str(tmp_path / "disk")).child("run")).storage.write("b/new", b"ours")
    assert (outside / "b" / "new").read_bytes() == b"ours"


ROW = Evaluation(evaluation=7, sample={"a": 0.5}, status="ok", val_loss=0.5)
WEIGHTS = {"w": torch.zeros(1)}
WRITERS: dict[str, Callable[[RunDirectory], object]] = {
    "a resumed search": lambda run: show_in_tensorboard(open_state(run.storage.local, *SETTINGS)),
    "temporary files": lambda run: run.delete_leftovers(),
    "a row": lambda run: run.ledger().append(ROW),
    "torn rows": lambda run: run.ledger().set_torn_aside(),
    "the table": lambda run: run.ledger().write_parquet(),
    "kept weights": lambda run: run.models.write(WEIGHTS, 1),
    "the best": lambda run: run.best.take(ROW, "models/000001.safetensors", {}),
    "the plain one": lambda run: run.plain.take(ROW, "models/000001.safetensors", {}),
    "the ensemble": lambda run: run.ensemble.describe({}),
    "a member": lambda run: run.members.write(WEIGHTS, 1),
    "the soup": lambda run: run.soup.write(WEIGHTS, 1, 2),
    "predictions": lambda run: run.predictions.write(1, [[0.5]], "float32"),
    "weights that are not kept": lambda run: run.models.delete(1),
    "weights made again": lambda run: run.best.write(WEIGHTS, 1),
    "the configuration": lambda run: run.write_config(SearchConfig(), {}, {}),
    "the outcome": lambda run: run.write_outcome(SearchResult("", "", *[None] * 2, *[0] * 7)),
    "a page": lambda run: run.report.write("index.html", b"ours"),
    "a figure": lambda run: run.report.write("figures/1.svg", b"ours"),
    "an old figure": lambda run: run.report.delete("figures/old.svg"),
    "rows that are taken back": lambda run: run.ledger().remove(range(9)),
    "weights of no row": lambda run: run.models.delete_others([]),
    "predictions of no row": lambda run: run.predictions.delete_others([]),
    "forms of no row": lambda run: run.delete_forms_of_others([]),
    "members of no ensemble": lambda run: run.members.delete_others([]),
    "a lock": lambda run: run.lock().close(),
}
"""All that writes, moves or deletes in a run directory; the last ones leave least to change."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with all its folders."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    state = open_state(folder, *SETTINGS)
    show_in_tensorboard(state)
    run(state, folder)
    for name in ("report/index.html", "report/figures/old.svg"):
        Storage(str(folder)).write(name, b"")
    (folder / "ledger" / "000004.json").write_bytes(b"{")
    for number in (0, 2, 3, 4):
        shutil.rmtree(folder / "tensorboard" / f"{number:06d}", ignore_errors=True)
    return folder


def linkable(whole: Path) -> list[str]:
    """Every folder of a run directory, one file in each, and files of its own."""
    folders = [path for path in sorted(whole.rglob("*")) if path.is_dir()]
    files = [next(path for path in sorted(each.iterdir()) if path.is_file()) for each in folders]
    own = ["config.yaml", "result.json", "ledger.parquet", ".lock"]
    return [*(str(path.relative_to(whole)) for path in (*folders, *files)), *own]


def test_no_writer_of_a_run_directory_leaves_it(whole: Path, tmp_path: Path) -> None:
    """Each folder and file in turn is a link to one like it, which has a file to sweep."""
    for number, name in enumerate(linkable(whole)):
        place = tmp_path / str(number)
        linked, outside = place / "run" / name, place / "outside"
        shutil.copytree(whole, place / "run", ignore=lambda *_: [".lock"])
        if linked.exists():
            linked.rename(outside)
        else:
            outside.write_bytes(b"mine")
        if outside.is_dir():
            (outside / ".0a1b.tmp").write_bytes(b"mine")
        before = content(outside)
        for writer, write in WRITERS.items():
            linked.unlink(missing_ok=True)  # the last writer may have put a file in its place
            linked.symlink_to(outside)
            with suppress(UserError, OSError):
                write(RunDirectory(str(place / "run")))
            assert content(outside) == before, f"{writer} by {name}"


@pytest.mark.parametrize("name", ["ledger", "best", "models", "predictions", "tensorboard"])
def test_a_search_is_not_resumed_where_a_folder_is_a_link(
    name: str, whole: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "run"))
    (folder / name).rename(tmp_path / "outside")
    (folder / name).symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match=f"{folder}/{name} is a link, and what is in it"):
        show_in_tensorboard(open_state(folder, *SETTINGS))


def test_files_of_other_libraries_are_made_through_no_link(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "root" / "own").mkdir(parents=True)
    (tmp_path / "root" / "link").symlink_to(outside)
    storage = Storage(str(tmp_path / "root"))
    assert storage.own_path("own/new") == tmp_path / "root" / "own" / "new"
    for path in ("link", "link/new", "link/b/c"):
        with pytest.raises(UserError, match="root/link is a link"):
            storage.own_path(path)


@pytest.mark.parametrize("found", ["../../../evil", "", "a' or '1", "0" * 13, 7])
def test_the_id_of_a_search_is_no_path(found: object, tmp_path: Path) -> None:
    run = RunDirectory(str(tmp_path / "run"))
    run.storage.write("tracking.json", json.dumps({"id": found}).encode())
    made = run.tracking_id()
    assert made != found
    assert run.tracking_id() == made


def test_a_study_writes_into_no_linked_search(tmp_path: Path, outside: Path) -> None:
    config = StudyConfig.model_validate(
        {
            "name": "all",
            "storage": str(tmp_path),
            "study": {"methods": [{"name": "random"}], "seeds": [0]},
        }
    )
    first = config.searches()[0].name
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / first).symlink_to(outside)
    before = content(outside)
    with pytest.raises(UserError, match=f"{first} is a link"):
        run_study(config, resume=True)
    assert content(outside) == before


def test_a_table_is_prepared_through_no_link(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / TABLES).symlink_to(outside)
    with pytest.raises(UserError, match=f"{TABLES} is a link"):
        tables_folder(str(tmp_path / "root"))
    survey, mine = tmp_path / "survey.db", tmp_path / "mine.db"
    connect(mine).close()
    before = mine.read_bytes()
    survey.symlink_to(mine)
    database = connect(survey)
    database.execute("INSERT INTO pictures (name, mark, digest) VALUES ('a', 'b', 'c')")
    database.commit()
    database.close()
    spool = Spool(survey, 2)
    (tmp_path / "survey.squares").symlink_to(mine)
    spool.write(0, np.zeros((3, 2, 2), np.uint8))
    with pytest.raises(OSError), exclusive(tmp_path / "survey.squares"):  # noqa: PT011
        pass
    assert mine.read_bytes() == before
