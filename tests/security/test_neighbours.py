"""Another user of the machine reads, changes and joins nothing while a search runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.security.commands import SMALL, revo, sets

pytestmark = pytest.mark.slow

NOBODY = 65534


@pytest.mark.nightly
def test_no_other_user_reads_or_changes_the_files_of_its_ray(seen: dict[str, Any]) -> None:
    assert seen["search"]["status"] == 0, seen["search"]["output"]
    assert seen["search"]["open"] == []


@pytest.mark.nightly
def test_the_token_is_for_the_user_alone(seen: dict[str, Any]) -> None:
    modes = seen["afterwards"]["home"]
    assert (modes[".ray"], modes[".ray/auth_token"]) == ("0o700", "0o600")


@pytest.mark.nightly
def test_nobody_joins_its_ray_without_the_token(seen: dict[str, Any]) -> None:
    """It held: whoever is on the machine knows the address."""
    joined = seen["search"]["joined"]
    assert joined["status"] != 0
    assert "answered" not in joined["output"]
    assert "InvalidAuthToken" in joined["output"]


@pytest.mark.nightly
def test_without_the_token_it_serves_figures_of_its_own_and_nothing_else(
    seen: dict[str, Any],
) -> None:
    """It held: Prometheus reads them, and they name no file and no setting."""
    pages = seen["search"]["unauthorised"]
    assert all(page.startswith("# HELP ") for page in pages.values()), pages


def test_auto_believes_no_file_of_another_user(short_folder: Path, home: Path) -> None:
    """Whoever may write where Ray notes its cluster would get the token, and run code here."""
    (short_folder / "ray").mkdir()
    note = short_folder / "ray" / "ray_current_cluster"
    if os.geteuid() == 0:
        note.write_text("192.0.2.1:6379")
        os.chown(note, NOBODY, NOBODY)
    else:  # who cannot give files away plants a link
        (short_folder / "planted").write_text("192.0.2.1:6379")
        note.symlink_to(short_folder / "planted")
    words = ["search", *sets(*SMALL, f"storage={home}", "name=r"), "--address", "auto"]
    answer = revo(
        *words,
        folder=home,
        environment={"RAY_TMPDIR": str(short_folder), "RAY_NUM_REDIS_GET_RETRIES": "0"},
    )
    assert answer.returncode == 2, answer.stderr
    assert f"--address auto: {note} is not a file of this user or of root" in answer.stderr
    assert "192.0.2.1" not in answer.stderr
