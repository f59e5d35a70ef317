"""The files that a table lists, found by their paths without a look at what lies beside them."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from revo_ray.data.files.decode import explain
from revo_ray.data.files.image_files import File, Tree
from revo_ray.data.files.listing import Stored
from revo_ray.data.sources.common import read_file, shown_root
from revo_ray.errors import UserError

Lookup = Callable[[str], File | str]
"""The file at a path, or why there is none."""


def open_table(uri: str) -> tuple[bytes, Lookup]:
    """The content of a table, and what finds a file by its path from the table's folder.

    On a local disk the path may be absolute or lead out of the folder.

    Raises:
        UserError: there is no such table, or it cannot be read.
    """
    if "://" not in uri:
        return _open_local(os.path.expanduser(uri), shown_root(uri))
    try:
        system, path = fs.FileSystem.from_uri(uri)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(
            f"cannot read {shown_root(uri)}: {explain(error)}", key="data.root"
        ) from None
    if isinstance(system, fs.LocalFileSystem):
        return _open_local(path, shown_root(uri))
    return _open_remote(uri)


def _open_local(path: str, name: str) -> tuple[bytes, Lookup]:
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise UserError(
                f"{name} is a folder, and the source csv needs a csv or tsv file; the source "
                "folder reads class folders",
                key="data.root",
            )
        if not stat.S_ISREG(mode):
            raise UserError(f"{name} is no regular file", key="data.root")
        content = Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"no such file or folder {name}", key="data.root") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {name}: {explain(error)}", key="data.root") from None
    folder = os.path.dirname(path)

    def lookup(listed: str) -> File | str:
        for spelling in _spellings(listed):
            place = os.path.abspath(os.path.join(folder, spelling))
            try:
                status = os.stat(place)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, ValueError) as error:
                return explain(error)
            if not stat.S_ISREG(status.st_mode):
                return "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            return File(spelling, status.st_size, Stored(None, place, _stamp(place, status)))
        return "no such file"

    return content, lookup


def _open_remote(uri: str) -> tuple[bytes, Lookup]:
    """The same for a table in an object store, whose folder is listed once."""
    path, query, options = uri.partition("?")  # s3://bucket/folder/list.csv?region=…
    folder, _, base = path.rpartition("/")
    tree = Tree.open(folder + query + options)
    files = {file.path: file for file in tree.files}
    refused = dict(tree.problems)
    if base not in files:
        raise UserError(f"no such file or folder {shown_root(uri)}", key="data.root")

    def lookup(listed: str) -> File | str:
        if listed.startswith(("/", "../")):
            return "leads out of the table's folder, as only a table on a local disk may"
        for spelling in _spellings(listed):
            if found := files.get(spelling) or refused.get(spelling):
                return found
        return "no such file"

    return read_file(files[base]), lookup


def _spellings(path: str) -> list[str]:
    """A path as it is written, and as another system may have meant it."""
    slashed = path.replace("\\", "/")
    forms = [unicodedata.normalize(form, slashed) for form in ("NFC", "NFD")]
    return list(dict.fromkeys([path, slashed, *forms]))


def _stamp(path: str, status: os.stat_result) -> str:
    return f"{path} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
