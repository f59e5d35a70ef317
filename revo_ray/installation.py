"""The way in which this revo-ray was installed, for messages that say how to install more of it."""

from __future__ import annotations

import json
import shlex
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from revo_ray.credentials import without_secrets

CHECKOUT = Path(__file__).resolve().parents[1]
"""The folder that holds `revo_ray/`: a checkout, a Ray job's working directory, site-packages."""


def is_checkout() -> bool:
    """Whether this code runs from a checkout, and not from an installed package."""
    try:
        with (CHECKOUT / "pyproject.toml").open("rb") as file:
            return tomllib.load(file).get("project", {}).get("name") == "revo-ray"
    except (OSError, ValueError):
        return False


def install_command(extra: str) -> str:
    """The command that installs an extra of revo-ray from where this one came.

    It names the package index only where revo-ray was installed from one: on another index anybody
    could have the name.

    Args:
        extra: a name in `[project.optional-dependencies]`.

    Example:
        >>> install_command("export")                     # doctest: +SKIP
        "pip install -e '/home/me/revo-ray[export]'"
    """
    return f"pip install {_source(extra)}"


def _source(extra: str) -> str:
    if is_checkout():  # installed or not
        editable = "-e " if _origin().get("dir_info", {}).get("editable") else ""
        return editable + shlex.quote(f"{CHECKOUT}[{extra}]")
    origin = _origin()
    url = without_secrets(str(origin.get("url", "")))
    if "vcs_info" in origin:
        vcs = origin["vcs_info"]
        url = f"{vcs.get('vcs')}+{url}@{vcs.get('commit_id')}"
    elif url.startswith("file:"):
        return shlex.quote(f"{unquote(urlsplit(url).path)}[{extra}]")
    return shlex.quote(f"revo-ray[{extra}]" + (f" @ {url}" if url else ""))


def _origin() -> dict[str, Any]:
    """Pip's note of the place (PEP 610); empty where revo-ray came from an index."""
    try:
        noted = json.loads(metadata.distribution("revo-ray").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}
