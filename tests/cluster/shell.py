"""Shell scripts, and commands in other files, through shellcheck."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAMS = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
"""Where programs of this environment are found, also where it is not activated."""


def complaints(script: str, severity: str = "style") -> str:
    """What shellcheck has against a bash script; empty if nothing."""
    program = shutil.which("shellcheck", path=PROGRAMS)
    assert program, "shellcheck is part of the extra `dev`"
    return subprocess.run(
        [program, "--shell=bash", f"--severity={severity}", "-"],
        input=script,
        capture_output=True,
        text=True,
    ).stdout
