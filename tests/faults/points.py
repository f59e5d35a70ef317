"""Functions of the product in whose calls a driver kills itself."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Point:
    """A function of the product, and what a call of it must be about to count.

    Attributes:
        module, attribute: where it is.
        concerns: whether a call with these arguments counts.
    """

    module: str
    attribute: str
    concerns: Callable[..., bool] = lambda *arguments: True


def _writes(name: str) -> Callable[..., bool]:
    return lambda storage, path, *rest: path == name


POINTS = {
    # The row is on disk, its searcher does not know yet.
    "tell": Point("revo_ray.search.core.state", "SearchState.tell"),
    # The row is on disk, the best models are still the old ones.
    "add": Point("revo_ray.search.core.best_few", "BestFew.add"),
    # The best weights are still the old ones, and so is their description.
    "copy": Point("revo_ray.storage", "Storage.copy"),
    # The weights were copied, their description is the old one's.
    "describe": Point("revo_ray.storage", "Storage.write", _writes("best/config.json")),
    # The description is new, the plan is the old one's.
    "plan": Point("revo_ray.storage", "Storage.write", _writes("best/plan.json")),
    # The weights that fell out of the best few are still there.
    "delete": Point("revo_ray.rundir.kept_models", "KeptModels.delete"),
    # The forms are chosen, the ensemble is not described.
    "ensemble": Point("revo_ray.storage", "Storage.write", _writes("ensemble/config.json")),
    # The soup is made, but not described.
    "soup": Point("revo_ray.storage", "Storage.write", _writes("soup/config.json")),
    # A form is made or tested, and its search does not know yet.
    "answered": Point("revo_ray.search.core.final_forms", "FinalForms.answered"),
    # The table of all rows is written, the result is not.
    "result": Point("revo_ray.storage", "Storage.write", _writes("result.json")),
    # A row's temporary file is whole, its name is not there yet.
    "replace": Point("os", "link", lambda source, target: "/ledger/" in os.fspath(target)),
    # A row's temporary file is half written.
    "fsync": Point("os", "fsync", lambda file: "/ledger/" in os.readlink(f"/proc/self/fd/{file}")),
}
"""By name, mostly that of the function in whose call, before it does anything, the driver dies."""


def arm(name: str, nth: int) -> None:
    """Make this process kill itself at the n-th call of a point."""
    point = POINTS[name]
    owner: Any = importlib.import_module(point.module)
    *path, attribute = point.attribute.split(".")
    for part in path:
        owner = getattr(owner, part)
    original = getattr(owner, attribute)
    left = nth

    def deadly(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        if point.concerns(*arguments):
            left -= 1
            if left == 0:
                if name == "fsync":
                    os.ftruncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)

    setattr(owner, attribute, deadly)
