"""The environment that libraries find: a home folder, and no wish for telemetry."""

from __future__ import annotations

import os
from pathlib import Path

from revo_ray.settings.telemetry import no_telemetry


def prepare() -> None:
    """Set what is missing; call it before a library is imported that reads it."""
    ensure_home()
    no_telemetry()


def ensure_home() -> None:
    """Name `/` as the home folder of a user without HOME or an account, as containers do."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/"
