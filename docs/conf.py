"""Settings of Sphinx: `make docs` builds the site from this folder, without a network."""

from __future__ import annotations

import warnings
from typing import Any

from revo_ray import __version__

project = "revo-ray"
release = __version__
html_title = f"revo-ray {release}"
html_theme = "furo"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4  # links name headings as GitHub does
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["misc.highlighting_failure"]  # programs with "…" in place of lines

default_role = "code"  # docstrings are Markdown: `name` is code
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "exclude-members": "model_config, model_post_init"}
napoleon_numpy_docstring = False

warnings.filterwarnings("ignore")  # other packages' own, as they are imported


def separate_attributes(
    app: Any, what: str, name: str, obj: object, options: Any, lines: list[str]
) -> None:
    """Keep napoleon from reading `Name: text` in the docstring of an attribute as a type."""
    if what in ("attribute", "property"):
        lines.insert(0, "")


def setup(app: Any) -> None:
    """Connect it ahead of napoleon, whose priority is 500."""
    app.connect("autodoc-process-docstring", separate_attributes, priority=400)
