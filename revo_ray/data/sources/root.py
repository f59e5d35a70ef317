"""`data.root`: read what a source needs from it, and show it in messages."""

from __future__ import annotations

from collections.abc import Sequence

from revo_ray.data.files.archive import is_archive
from revo_ray.data.files.decode import explain
from revo_ray.data.files.exclude import excluder
from revo_ray.data.files.image_files import File, ImageFiles, root_error
from revo_ray.settings.schema import DataConfig


def needed_root(config: DataConfig, needed: str) -> str:
    """Return `data.root` for a source that cannot do without it.

    Raises:
        UserError: `data.root` is null; the message names what is `needed`.
    """
    if config.root is None:
        raise root_error(f"is null, and the source {config.source} needs it: give {needed}")
    return config.root


def open_files(config: DataConfig, needed: str, *, unpack: bool = False) -> ImageFiles:
    """List the files at `data.root` without those of `data.exclude`.

    Raises:
        UserError: as `needed_root` and `ImageFiles.open`.
    """
    files = ImageFiles.open(needed_root(config, needed), unpack=unpack)
    return files.without(excluder(config.exclude)) if config.exclude else files


def read_file(file: File) -> bytes:
    """Read a file that a data set cannot do without.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        return file.read()
    except OSError as error:
        raise root_error(f"cannot read {file.path!r}: {explain(error)}") from None


def quoted(names: Sequence[str], most: int = 8) -> str:
    """List names for a message: all of them, or the first `most` and the number of the others."""
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + rest


def unread(files: ImageFiles) -> str:
    """End a message about missing data: name files and archives that were not read, if any."""
    if files.problems:
        name, cause = files.problems[0]
        return f" ({len(files.problems):,} files cannot be read, the first is {name!r}: {cause})"
    archives = [file.path for file in files.all if is_archive(file.path)]
    return f" (archives in it are not opened: {quoted(archives, 3)})" if archives else ""
