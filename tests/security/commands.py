"""Commands in a process of their own, and a finished search for them to read.

The tests of this folder use the command line alone, so that they also run on another revision: copy
the folder into a checkout of it, and start pytest there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]

SMALL = (
    *("model.name=timm/test_efficientnet", "model.weights=none", "data.image_size=32"),
    *("train.epochs=1", "train.batch_size=32", "search.evaluations=4", "search.population=4"),
    *("resources.max_concurrent=1", "resources.gpus_per_trial=0"),
)
"""A search of four evaluations."""


def sets(*assignments: str) -> list[str]:
    """Options of the command line that override keys."""
    return [part for each in assignments for part in ("--set", each)]


def revo(
    *words: object,
    folder: Path,
    environment: Mapping[str, str | None] | None = None,
    fresh: bool = False,
    safe_path: bool = True,
    seconds: float = 240,
    text: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a command of revo-ray to its end.

    Args:
        words: its command line.
        folder: the current folder.
        environment: variables beside those of this process; None takes one away.
        fresh: start it, and all that it starts, as the installed command does: without the current
            folder on Python's path, and without libraries that are imported already.
        safe_path: whether a fresh command starts so; else Python puts the current folder first on
            its path, as `python -m revo_ray` does.
        seconds: after which it is killed.
        text: decode its output, which else is bytes.
    """
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(_paths(fresh)), "COLUMNS": "100"}
    for name, value in (environment or {}).items():
        if value is None:
            variables.pop(name, None)
        else:
            variables[name] = value
    if fresh:
        variables.pop("TESTS_FORKS", None)
    safe = ["-P"] if fresh and safe_path else []
    return subprocess.run(
        [sys.executable, *safe, "-m", "revo_ray", *map(str, words)],
        cwd=folder,
        env=variables,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=text,
        timeout=seconds,
    )


def _paths(fresh: bool) -> list[str]:
    hooks = CHECKOUT / "tests" / "forks" / "hooks"
    return [str(CHECKOUT)] if fresh or not hooks.is_dir() else [str(hooks), str(CHECKOUT)]
