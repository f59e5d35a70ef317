"""Registry of trackers: MLflow, Weights & Biases and those of installed packages."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any

from revo_ray.credentials import without_secrets
from revo_ray.errors import UserError, first_line
from revo_ray.installation import install_command
from revo_ray.monitor.trackers.tracker import Tracker
from revo_ray.words import did_you_mean, nearest, shown

GROUP = "revo_ray.trackers"

_HERE = "revo_ray.monitor.trackers"

BUILT_IN = {
    "mlflow": EntryPoint("mlflow", f"{_HERE}.mlflow_tracker:MlflowTracker", GROUP),
    "wandb": EntryPoint("wandb", f"{_HERE}.wandb_tracker:WandbTracker", GROUP),
}


def check_trackers(names: Iterable[str]) -> dict[str, type[Tracker]]:
    """The classes of named trackers. The packages of their services are looked for, not imported.

    Raises:
        UserError: there is no such tracker, or its package is missing or broken.
    """
    names = tuple(dict.fromkeys(names))
    if not names:
        return {}
    known = {entry.name: entry for entry in entry_points(group=GROUP)} | BUILT_IN
    return {name: _load(name, known) for name in names}


def _load(name: str, known: dict[str, EntryPoint]) -> type[Tracker]:
    if name not in known:
        hint = did_you_mean(nearest(name, known))
        raise UserError(
            f"no tracker {shown(name)}{hint} (there are {', '.join(sorted(known))})", key="trackers"
        )
    try:
        tracker = _checked(known[name].load())
    except Exception as error:  # an entry point is anyone's code
        raise UserError(
            f"cannot load {shown(name)}: {without_secrets(first_line(error))}; mend or reinstall "
            "the package that brings it",
            key="trackers",
        ) from None
    package = getattr(tracker, "package", None)
    if package is not None and find_spec(package) is None:
        wanted = install_command(name) if name in BUILT_IN else f"pip install {package}"
        raise UserError(
            f"{name} needs the package {package}, which is not installed; {wanted}",
            key="trackers",
        )
    return tracker


def _checked(tracker: Any) -> type[Tracker]:
    if not (isinstance(tracker, type) and issubclass(tracker, Tracker)):
        raise TypeError(f"{tracker!r} is not a class of revo_ray.monitor.trackers.Tracker")
    if missing := getattr(tracker, "__abstractmethods__", None):
        raise TypeError(f"{tracker.__name__} has no {', '.join(sorted(missing))}")
    return tracker
