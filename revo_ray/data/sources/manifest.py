"""A manifest is a text file that lists images by path: open it and look its files up."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from revo_ray.data.files.decode import explain
from revo_ray.data.files.image_files import File, ImageFiles, root_error
from revo_ray.data.files.stored_file import StoredFile
from revo_ray.data.sources.root import read_file

Lookup = Callable[[str], File | str]
"""Finds the file at a path of the manifest; returns the cause if there is none."""


def open_manifest(uri: str) -> tuple[bytes, Lookup]:
    """Read a manifest, and return a function that finds its files without listing the folder.

    Paths are relative to the manifest's folder. On a local disk they may be absolute or lead out
    of the folder. In an object store the folder is listed, once.

    Raises:
        UserError: the manifest does not exist or cannot be read.
    """
    if "://" not in uri:
        return _open_local(os.path.expanduser(uri), repr(uri))
    try:
        system, path = fs.FileSystem.from_uri(uri)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise root_error(f"cannot read {uri!r}: {error}") from None
    if isinstance(system, fs.LocalFileSystem):
        return _open_local(path, repr(uri))
    return _open_remote(uri)


def _open_local(path: str, name: str) -> tuple[bytes, Lookup]:
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
            return File(spelling, status.st_size, StoredFile.on_disk(place, status))
        return "no such file"

    return _read_local(path, name), lookup


def _read_local(path: str, name: str) -> bytes:
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise root_error(
                f"{name} is a folder, and the source csv needs a csv or tsv file; the source "
                "folder reads class folders"
            )
        if not stat.S_ISREG(mode):
            raise root_error(f"{name} is no regular file")
        return Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise root_error(f"no such file or folder {name}") from None
    except (OSError, ValueError) as error:
        raise root_error(f"cannot read {name}: {explain(error)}") from None


def _open_remote(uri: str) -> tuple[bytes, Lookup]:
    path, query, options = uri.partition("?")  # s3://bucket/folder/list.csv?region=…
    folder, _, base = path.rpartition("/")
    listed_files = ImageFiles.open(folder + query + options)
    files = {file.path: file for file in listed_files.all}
    refused = dict(listed_files.problems)
    if base not in files:
        raise root_error(f"no such file or folder {uri!r}")

    def lookup(listed: str) -> File | str:
        if listed.startswith(("/", "../")):
            return "leads out of the table's folder, as only a table on a local disk may"
        for spelling in _spellings(listed):
            if found := files.get(spelling) or refused.get(spelling):
                return found
        return "no such file"

    return read_file(files[base]), lookup


def _spellings(path: str) -> list[str]:
    """Spell a path as it stands, with slashes, and in both Unicode forms."""
    slashed = path.replace("\\", "/")
    forms = [unicodedata.normalize(form, slashed) for form in ("NFC", "NFD")]
    return list(dict.fromkeys([path, slashed, *forms]))
