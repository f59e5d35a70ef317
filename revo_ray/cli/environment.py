"""Surroundings that libraries expect: a home folder, even for a user who has none."""

from __future__ import annotations

import os
from pathlib import Path


def ensure_home() -> None:
    """Name `/` as the home folder of a user without HOME or an account, as containers do."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/"
