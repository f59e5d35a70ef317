"""Plugins: modules that `plugins` names, from the places where code is trusted.

A configuration may come from anyone, and whatever module it names is run. So a plugin is
installed, lies beside the package `revo_ray`, or lies in a folder of the plugin path, which only
the user gives; never in the current folder.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from revo_ray.current_folder import is_current
from revo_ray.errors import UserError
from revo_ray.installation import CHECKOUT, is_checkout
from revo_ray.words import shown

BASELINES = "baselines"
"""The plugin that came with this revo-ray, whatever else of that name the path has."""

_folders: list[str] = []
"""The plugin path of this process."""
_appended: set[str] = set()
"""Those of its folders that Python's path did not have."""


@contextmanager
def trusting(folders: Iterable[str | Path] | None) -> Iterator[None]:
    """Let configurations name plugins in some folders, for a time.

    Raises:
        UserError: there is no such folder.
    """
    before = tuple(_folders)
    use_plugin_path(folders or ())
    try:
        yield
    finally:
        use_plugin_path(before)


def use_plugin_path(folders: Iterable[str | Path]) -> None:
    """Trust folders with the plugins that configurations name, in place of the folders before.

    They come last on Python's path, for the modules that plugins import. Modules that were loaded
    from a folder that is trusted no longer are forgotten.

    Raises:
        UserError: there is no such folder.
    """
    now = [os.path.abspath(folder) for folder in folders]
    for folder in now:
        if not os.path.isdir(folder):
            raise UserError(f"--plugin-path: no such folder {shown(folder)}")
    for folder in sorted(_appended.difference(now)):
        tops = set(_loaded_from(folder))
        for name in [name for name in sys.modules if name.partition(".")[0] in tops]:
            del sys.modules[name]
        sys.path.remove(folder)
        _appended.remove(folder)
    new = [folder for folder in dict.fromkeys(now) if folder not in sys.path]
    sys.path += new
    _appended.update(new)
    _folders[:] = now
    importlib.invalidate_caches()


def load_plugin(name: str) -> ModuleType:
    """Import a plugin.

    Args:
        name: `baselines`, or a module that is installed, lies beside the package `revo_ray`, or
            lies in a folder of the plugin path; a dotted name is one of a package there.

    Raises:
        ImportError: it lies nowhere there, or has the name of another module.
        Exception: whatever the plugin raises.
    """
    if name == BASELINES:
        return own_baselines()
    top = name.partition(".")[0]
    if not all(part.isidentifier() for part in name.split(".")):
        raise ImportError("that is no name of a module")
    if "__main__" in name.split(".") or (top == "setup" and lies_beside(top)):
        raise ImportError("that is a program")
    if top in sys.stdlib_module_names or top == "revo_ray":
        raise ImportError(f"{top} is a module of {'revo-ray' if top == 'revo_ray' else 'Python'}")
    spec = _find(top)
    loaded = sys.modules.get(top)
    if loaded is None:
        _load(spec)
    elif not isinstance(loaded.__spec__, ModuleSpec) or _place(loaded.__spec__) != _place(spec):
        raise ImportError(
            f"another module {top} is loaded already, from {_origin(loaded)}; give the plugin "
            "another name"
        )
    return importlib.import_module(name)


def plugin_path() -> tuple[str, ...]:
    """The folders that `use_plugin_path` was given."""
    return tuple(_folders)


def plugin_modules() -> dict[str, Path]:
    """The plugins that are loaded from the plugin path, and the modules beside them, by name.

    The values are the folders in which they lie.
    """
    return {name: Path(folder) for folder in _folders for name in _loaded_from(folder)}


def lies_beside(name: str) -> bool:
    """Whether a plugin lies beside the package `revo_ray`, in a checkout."""
    top = name.partition(".")[0]
    return is_checkout() and PathFinder.find_spec(top, [str(CHECKOUT)]) is not None


def own_baselines() -> ModuleType:
    """The folder `baselines/` of this checkout, or the installed package `revo_ray_baselines`.

    A Ray job's working directory counts as a checkout. The module keeps its name `baselines` where
    the path finds that very folder; other people's modules have that name too.

    Raises:
        ImportError: neither is there.
    """
    installed = f"revo_ray_{BASELINES}"
    file = CHECKOUT / BASELINES / "__init__.py"
    if not file.is_file() or not is_checkout():
        return importlib.import_module(installed)
    with suppress(ValueError):  # a module of that name without a file is loaded
        found = importlib.util.find_spec(BASELINES)
        if found is not None and found.origin and Path(found.origin).resolve() == file:
            return importlib.import_module(BASELINES)
    loaded = sys.modules.get(installed)
    if loaded is not None and Path(str(loaded.__file__)).resolve() == file:
        return loaded
    spec = importlib.util.spec_from_file_location(installed, file)
    assert spec is not None
    return _load(spec)


def _find(top: str) -> ModuleSpec:
    """Find a module that does not lie in the current folder, without importing anything."""
    given = PathFinder.find_spec(top, _folders) if _folders else None
    installed = _find_installed(top)
    if given is not None and installed is not None and given.origin and installed.origin:
        if _place(given) == _place(installed):
            return given
        raise ImportError(
            f"{top} is also the name of a module at {installed.origin}; give the plugin another "
            "name"
        )
    found = installed if given is None or (installed and installed.origin) else given
    if found is not None:
        return found
    way = "install it, or give the folder that holds it as --plugin-path, if you trust its code"
    if PathFinder.find_spec(top, [os.curdir]) is not None:
        way = "it lies in the current folder; give --plugin-path . if you trust its code"
    raise ImportError(f"no such module is installed: {way}")


def _find_installed(top: str) -> ModuleSpec | None:
    path = [each for each in sys.path if each not in _appended and not is_current(each)]
    for finder in sys.meta_path:
        spec = finder.find_spec(top, [*path, str(CHECKOUT)] if finder is PathFinder else None)
        if spec is not None:
            return spec
    return None


def _load(spec: ModuleSpec) -> ModuleType:
    """Import the module that was found, whatever else of that name the path has."""
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    try:
        if spec.loader is not None:  # a package without a file has none
            spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(spec.name, None)
        raise
    return module


def _loaded_from(folder: str) -> list[str]:
    """Names of the modules and packages that were loaded from a folder itself."""
    folder = os.path.realpath(folder)
    found = []
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__dict__", {}).get("__spec__")
        if "." not in name and isinstance(spec, ModuleSpec):
            stem = os.path.join(folder, name)
            own = {stem, f"{stem}.py", os.path.join(stem, "__init__.py")}
            if not own.isdisjoint(_place(spec)):
                found.append(name)
    return found


def _place(spec: ModuleSpec) -> list[str]:
    places = [spec.origin] if spec.origin else spec.submodule_search_locations or []
    return [os.path.realpath(place) for place in places]


def _origin(module: ModuleType) -> str:
    return str(getattr(module, "__file__", None) or "elsewhere")
