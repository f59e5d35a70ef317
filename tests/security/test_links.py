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
    """A command that goes on with a search."""
    return ["search", *sets(*SMALL, f"storage={run.parent}", f"name={run.name}"), "--resume"]


@pytest.mark.parametrize("link", ["report", "report/figures"])
def test_a_report_stays_in_its_run_directory(link: str, run: Path, outside: Path) -> None:
    (run / link).parent.mkdir(exist_ok=True)
    (run / link).symlink_to(outside)
    done = revo("report", run, folder=run.parent)
    assert content(outside) == MINE
    assert done.returncode == 2
    assert f"{run / link} is a link" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_resumed_search_stays_in_its_run_directory(run: Path, outside: Path) -> None:
    for path in sorted((run / "ledger").iterdir())[:3]:  # it lacks one
        path.replace(outside / path.name)
    (run / "ledger").rename(run.parent / "rest")
    (run / "result.json").unlink()
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
