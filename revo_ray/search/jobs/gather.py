"""Gathers the files of a job that uploads no folder of the user's: these, and no others."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from revo_ray.installation import CHECKOUT, is_checkout
from revo_ray.methods.plugins import BASELINES, lies_beside, plugin_modules
from revo_ray.search.jobs.upload import module_files
from revo_ray.settings.schema import SearchConfig

_OURS = ("revo_ray", BASELINES)


def gather(folder: Path, settings: SearchConfig, source: str | None) -> None:
    """Copy the configuration, its plugins and, from a checkout, this code into a folder.

    Plugins come with the modules beside them that are loaded by now. Installed plugins are expected
    on the cluster.

    Args:
        folder: an empty folder.
        settings: the configuration, whose plugins are loaded.
        source: its file, or None.
    """
    if source is not None:
        shutil.copyfile(source, folder / Path(source).name)
    if is_checkout():
        for name in (*module_files(CHECKOUT, _OURS), "pyproject.toml"):
            _copy(CHECKOUT, name, folder)
    beside = {name.partition(".")[0] for name in settings.plugins if lies_beside(name)}
    for top, place in {**dict.fromkeys(beside, CHECKOUT), **plugin_modules()}.items():
        if place != CHECKOUT or top not in _OURS:
            for name in _all_files(place, top):
                _copy(place, name, folder)


def _all_files(place: Path, top: str) -> Iterator[str]:
    """Paths of a module, or of the files of a package, but for hidden ones and caches."""
    if not (place / top).is_dir():
        yield f"{top}.py"
        return
    for path in sorted((place / top).rglob("*")):
        parts = path.relative_to(place).parts
        hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
        if path.is_file() and not hidden:
            yield str(path.relative_to(place))


def _copy(place: Path, name: str, folder: Path) -> None:
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(place / name, target)
