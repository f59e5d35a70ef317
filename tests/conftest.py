"""What every test shares."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def ray_folder() -> Iterator[None]:
    """Ray's sessions go to a folder of their own, with a short path, and away with the tests."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` leaves it ignored
    folder = tempfile.mkdtemp(prefix="rt", dir="/tmp")
    os.environ["RAY_TMPDIR"] = folder
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # a busy machine takes long
    yield
    shutil.rmtree(folder, ignore_errors=True)
