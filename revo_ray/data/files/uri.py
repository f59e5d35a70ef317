"""Paths and URIs, as people write them, opened by `pyarrow.fs`."""

from __future__ import annotations

import os
from urllib.parse import quote, unquote

from pyarrow import fs

from revo_ray.credentials import refuse_credentials


def open_uri(uri: str) -> tuple[fs.FileSystem | None, str]:
    """Open the file system of a local path or a URI.

    A path may begin with `~`. A URI may hold spaces, `#` and letters outside of ASCII, or have them
    encoded.

    Returns:
        The file system, or None for a local or mounted disk, and the path on it.

    Raises:
        OSError, ValueError, pa.ArrowException: `pyarrow.fs` cannot open it.
        UserError: it holds credentials.
    """
    refuse_credentials(uri, "data.root")
    if "://" not in uri:
        return None, os.path.abspath(os.path.expanduser(uri))
    if uri.startswith("file://"):
        path = uri.removeprefix("file://")
        return None, os.path.abspath(path if os.path.exists(path) else unquote(path))
    place, mark, options = uri.partition("?")
    system, path = fs.FileSystem.from_uri(quote(place, safe="/:@!$&'()*+,;=~%") + mark + options)
    return system, path.rstrip("/")


def parent(uri: str) -> str:
    """The folder that a path or URI lies in, with the URI's options."""
    if "://" not in uri:
        return os.path.dirname(os.path.abspath(os.path.expanduser(uri)))
    place, mark, options = uri.partition("?")
    return place.rstrip("/").rpartition("/")[0] + mark + options
