"""A search believes no file that another user of the machine left; `test_watched` has the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.security.commands import SMALL, revo, sets

pytestmark = pytest.mark.slow

NOBODY = 65534


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
