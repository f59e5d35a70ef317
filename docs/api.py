"""Builds the API reference from the docstrings: `python docs/api.py [FOLDER]`.

A docstring that does not render, or a name that does not resolve, is an error.
"""

from __future__ import annotations

import pkgutil
import sys
import warnings
from importlib import import_module
from pathlib import Path

import matplotlib.font_manager  # noqa: F401  starts a program the first time, which pdoc forbids
import pdoc
import pdoc.render

PACKAGES = ("revo_ray", "baselines")


def build(folder: Path) -> None:
    """Write a page for each module, and an index."""
    warnings.simplefilter("ignore")  # other packages' own, as they are imported
    # pdoc looks into __dict__ alone, and lists the names in `__all__` in place of a package's
    # modules. So every module is named here, also those that it would find.
    modules = list(PACKAGES)
    for name in PACKAGES:
        for info in pkgutil.walk_packages(import_module(name).__path__, f"{name}."):
            if info.name != "revo_ray.__main__":  # it runs the program
                modules.append(info.name)
    for name in modules:
        package = import_module(name)
        for lazy in getattr(package, "__all__", ()):
            setattr(package, lazy, getattr(package, lazy))
    warnings.filterwarnings("error", category=UserWarning)
    warnings.filterwarnings("ignore", message="The module specification")
    pdoc.render.configure(docformat="google", footer_text="revo-ray", show_source=False)
    pdoc.pdoc(*modules, output_directory=folder)


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "build/docs")
    build(target)
    print(target / "index.html")
