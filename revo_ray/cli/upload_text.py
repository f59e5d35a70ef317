"""Lists the files of a job's upload before they go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from rich.filesize import decimal

from revo_ray.cli.console import errors, mode, say
from revo_ray.errors import printable


def show_upload(files: Mapping[str, int] | None) -> None:
    """Print number and size of the files by the folder they lie in; each file, if verbose.

    Args:
        files: sizes in bytes, by paths; None where Ray does not tell them.
    """
    if mode.quiet:
        return
    if files is None:
        say("uploads --working-dir; this Ray does not tell which of its files", errors)
        return
    sizes = defaultdict(list)
    for path, size in sorted(files.items()):
        top, within, _ = path.partition("/")
        sizes[path if mode.verbose else top + within].append(size)
    say(f"uploads {_counted([*files.values()])}:", errors)
    for name, each in sizes.items():
        say(f"  {printable(name)}  {_counted(each)}", errors)


def _counted(sizes: list[int]) -> str:
    count = f"{len(sizes):,} files, " if len(sizes) > 1 else ""
    return count + decimal(sum(sizes))
