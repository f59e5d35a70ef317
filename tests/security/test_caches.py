"""A cached file that somebody changed is not used, although its size is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.security.commands import SMALL, revo, sets

pytestmark = pytest.mark.slow


def trained(run: Path, folder: Path, home: Path) -> list[str]:
    """Scores of a training on the images that the storage caches."""
    done = revo(
        *("train", "preset:quickstart", "--plan", run / "best" / "plan.json"),
        *sets(*SMALL, f"storage={folder}"),
        folder=folder,
        environment={"HOME": str(home)},
    )
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith(("validation:", "test:"))]


def test_a_table_with_other_pixels_is_made_anew(run: Path, tmp_path: Path, home: Path) -> None:
    (tmp_path / "storage").mkdir()
    before = trained(run, tmp_path / "storage", home)
    assert len(before) == 2
    (table,) = (tmp_path / "storage").rglob("*.arrow")
    content = table.read_bytes()
    quarter = len(content) // 4
    changed = bytes(255 - each for each in content[quarter : 2 * quarter])
    table.write_bytes(content[:quarter] + changed + content[2 * quarter :])
    assert trained(run, tmp_path / "storage", home) == before
    assert table.read_bytes() == content
