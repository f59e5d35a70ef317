"""A refused search, study, dry run, inspection or training leaves no folder behind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from revo_ray.cli.main import main
from revo_ray.errors import SearchError, UserError
from revo_ray.rundir.lock import RunLock
from revo_ray.search.core import refused
from revo_ray.search.core.refused import leaving_nothing
from revo_ray.storage import Storage

SMALL = ("model.name=timm/test_efficientnet", "model.weights=none", "data.max_images=200")
SMALL += ("data.image_size=32", "data.train_fraction=rest", "search.evaluations=4")

Typed = Callable[..., int]


@pytest.fixture
def typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typed:
    """Type a command in a folder with an empty folder and a bad table; gives its exit status."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.csv").write_text("image,label\nx.png,a\n")
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["revo-ray", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        *_, line = capsys.readouterr().err.splitlines()
        assert line.startswith("revo-ray: ")
        return int(str(ended.value.code))

    return command


def sets(*overrides: str) -> list[str]:
    return [word for each in (*SMALL, *overrides) for word in ("--set", each)]


REFUSED = {
    "an unknown key": ["search", *sets("search.evals=3")],
    "a wrong option": ["search", *sets("method.low=9")],
    "an unknown option": ["search", *sets("method.nme=9")],
    "an unknown method": ["search", *sets("method.name=bayes")],
    "an unknown plugin": ["search", *sets("plugins=[nope]")],
    "no images": ["search", "empty", *sets()],
    "a bad table": ["search", "bad.csv", *sets()],
    "too few images": ["search", *sets("data.max_images=20", "data.train_fraction=0.1")],
    "an unknown source": ["search", *sets("data.source=foldr")],
    "a study": ["study", "preset:quick", *sets("study.methods=[bayes]")],
    "a study of unknown images": ["study", "preset:quick", *sets("study.data=[nope]")],
    "an inspection": ["data", "inspect", "empty"],
    "a training without a plan": ["train", "preset:quickstart", "--plan", "nope.json"],
}


LATE = {
    "no earlier search": ["search", "--dry-run", *sets("search.warm_start=[nope]")],
    "a dry run without a model": ["search", "--dry-run", *sets("model.name=timm/nope")],
    "a dry run with bad weights": ["search", "--dry-run", *sets("model.weights=bad.pth")],
    "a rung beyond the end": [
        *("search", "--dry-run"),
        *sets("method.name=full", "method.grace_period=99"),
    ],
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("storage", [None, "deep/er/storage"])
def test_nothing_is_left(kind: str, storage: str | None, typed: Typed, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    more = ["--set", f"storage={storage}"] if storage else []
    assert typed(*(REFUSED | LATE)[kind], *more) == 2
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("kind", LATE)
def test_nothing_is_left_when_the_images_were_prepared(
    kind: str, typed: Typed, tmp_path: Path
) -> None:
    test_nothing_is_left(kind, "deep/er/storage", typed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "override",
    [
        "resources.cpus_per_trial=500",
        pytest.param("model.name=timm/nope", marks=pytest.mark.nightly),
        pytest.param("model.weights=bad.pth", marks=pytest.mark.nightly),
    ],
)
def test_nothing_is_left_of_a_search_that_is_refused_when_ray_runs(
    override: str, typed: Typed, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert typed("search", *sets(override)) == 2
    assert sorted(tmp_path.rglob("*")) == before


def refuse(folder: Path, error: type[Exception] = UserError) -> None:
    """A search in a storage that ends with an error when its table is there and it is locked."""
    storage = Storage(str(folder))

    def run() -> NoReturn:
        with leaving_nothing(str(folder)), RunLock(storage.child("run")):
            storage.write(".tables/a.arrow", b"table")
            storage.write("run/config.yaml", b"")
            raise error("no")

    with pytest.raises(error, match="no"):
        run()


def test_an_error_that_is_no_refusal_leaves_all(tmp_path: Path) -> None:
    refuse(tmp_path / "new", SearchError)
    assert (tmp_path / "new" / "run" / "config.yaml").exists()
    assert (tmp_path / "new" / ".tables").exists()


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    refuse(tmp_path)
    assert (tmp_path / ".tables").exists()
    assert (tmp_path / "run").exists()


def test_a_storage_with_another_search_stays(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "new"))

    def run() -> NoReturn:
        with leaving_nothing(storage.uri):
            storage.write("other/config.yaml", b"")
            refuse(tmp_path / "new")
            raise UserError("no")

    with pytest.raises(UserError, match="no"):
        run()
    assert storage.list() == [".tables", "other"]


def test_a_search_with_rows_stays(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "new"))

    def run(name: str) -> NoReturn:
        with RunLock(storage.child(name.partition("/")[0])):
            storage.write(f"{name}/ledger/000000.json", b"{}")
            raise UserError("no")

    for name in ("run", "study/run"):
        with pytest.raises(UserError, match="no"):
            run(name)
        assert storage.exists(f"{name}/ledger/000000.json")


def test_a_large_table_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused, "KEPT_BYTES", 5)
    refuse(tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == [".tables"]


def test_a_search_that_is_in_use_is_left_alone(tmp_path: Path, typed: Typed) -> None:
    with RunLock(Storage(str(tmp_path / "new" / "run"))):
        before = sorted(tmp_path.rglob("*"))
        assert typed("search", *sets("storage=new", "name=run")) == 2
        assert sorted(tmp_path.rglob("*")) == before
    RunLock(Storage(str(tmp_path / "new" / "run"))).close()
