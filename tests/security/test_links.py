"""Links in a run directory or a study: what they lead to is neither written nor deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.security.commands import SMALL, revo, sets

pytestmark = pytest.mark.slow

MINE = {
    "index.html": b"my page",
    "tables.md": b"my tables",
    "confusion.svg": b"my figure",
    "rates.csv": b"my rates",
    "000009.json": b"{ a row that was cut short",
    ".0a1b.tmp": b"half written",
    "letters/lease.txt": b"my lease",
}
"""Files of somebody's folder, some named like those of a report or a ledger."""


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that no command was told of."""
    folder = tmp_path / "outside"
    for name, content in MINE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """The content of all files below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def resume(run: Path) -> list[object]:
    """A command that goes on with a search, which has one evaluation more to make."""
    more = [each for each in SMALL if "evaluations" not in each]
    place = (f"storage={run.parent}", f"name={run.name}", "search.evaluations=5")
    return ["search", *sets(*more, *place), "--resume"]


@pytest.mark.parametrize("link", ["report", "report/figures"])
def test_a_report_stays_in_its_run_directory(link: str, run: Path, outside: Path) -> None:
    (run / link).parent.mkdir(exist_ok=True)
    (run / link).symlink_to(outside)
    done = revo("report", run, folder=run.parent)
    assert content(outside) == MINE
    assert done.returncode == 2
    assert f"{run / link} is a link" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_old_figure_is_not_deleted_elsewhere(run: Path, outside: Path) -> None:
    """Figures that a report no longer has are deleted, wherever they lay."""
    assert revo("report", run, folder=run.parent).returncode == 0
    figures = run / "report" / "figures"
    for path in figures.iterdir():
        (outside / path.name).write_bytes(b"mine")
        path.unlink()
    (outside / "critical-difference.svg").write_bytes(b"mine")
    figures.rmdir()
    figures.symlink_to(outside)
    before = content(outside)
    revo("report", run, folder=run.parent)
    assert content(outside) == before


def test_a_resumed_search_stays_in_its_run_directory(run: Path, outside: Path) -> None:
    for path in (run / "ledger").iterdir():
        path.replace(outside / path.name)
    (run / "ledger").rmdir()
    (run / "ledger").symlink_to(outside)
    before = content(outside)
    done = revo(*resume(run), folder=run.parent)
    assert content(outside) == before
    assert done.returncode == 2
    assert f"{run / 'ledger'} is a link" in done.stderr


def test_a_lock_is_not_made_elsewhere(run: Path, outside: Path) -> None:
    (run / ".lock").unlink()
    for target in ("new", "tables.md"):
        (run / ".lock").symlink_to(outside / target)
        done = revo(*resume(run), folder=run.parent)
        assert content(outside) == MINE
        assert done.returncode == 2
        assert f"{run}/.lock is a link" in done.stderr
        (run / ".lock").unlink()
