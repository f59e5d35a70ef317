"""Imports matplotlib without the `matplotlibrc` of the current folder.

That folder may hold somebody's images. Its file could start LaTeX, choose a backend, or be a pipe
that is never filled.
"""

from __future__ import annotations

import os
import sys


def import_matplotlib() -> None:
    """Import matplotlib, if it is not imported yet. The user's own settings are read."""
    if "matplotlib" in sys.modules:
        return
    exists = os.path.exists
    # The first candidate of `matplotlib.matplotlib_fname`, which no setting leaves out.
    vars(os.path)["exists"] = lambda path: path != "matplotlibrc" and exists(path)
    try:
        import matplotlib  # noqa: F401
    finally:
        vars(os.path)["exists"] = exists
