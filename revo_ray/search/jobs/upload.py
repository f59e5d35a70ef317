"""The files of a job: which of them Ray would upload, how large they are, and what is left out."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from rich.filesize import decimal

from revo_ray.errors import UserError
from revo_ray.search.ray.internals import upload_limit, walk_upload

_ENTRY = 150
"""Bytes that a file takes in a zip archive beside its content, with a name of usual length."""
CODE = (".py", ".yaml", ".html")
"""Endings of the files that a package needs."""
NAMED = 3
"""Number of files that an error names."""


def uploaded_files(
    folder: Path, excludes: Sequence[str], *, gitignore: bool = True
) -> dict[str, int] | None:
    """Sizes of the files that Ray would upload, by their paths in the folder.

    Ray itself walks the folder; None where this Ray cannot tell.

    Args:
        folder: the working folder of the job.
        excludes: patterns of files that are left out.
        gitignore: whether files of `.gitignore` are left out too, unless the environment says no.
    """
    found: dict[str, int] = {}
    folder = folder.absolute()

    def note(path: Path) -> None:
        if path.is_file():
            found[str(path.relative_to(folder))] = path.stat().st_size

    gitignore = gitignore and os.environ.get("RAY_RUNTIME_ENV_IGNORE_GITIGNORE", "0") != "1"
    return found if walk_upload(folder, excludes, note, gitignore=gitignore) else None


def check_size(files: Mapping[str, int], limit: int | None = None) -> None:
    """Refuse files that are together larger than Ray takes.

    Raises:
        UserError: naming the largest.
    """
    most = upload_limit() if limit is None else limit
    size = sum(files.values()) + _ENTRY * len(files)
    if most is None or size < most:
        return
    largest = sorted(files, key=lambda name: -files[name])[:NAMED]
    named = ", ".join(f"{name} ({decimal(files[name])})" for name in largest)
    raise UserError(
        f"--working-dir: {decimal(size)} in {len(files):,} files would be uploaded, and Ray takes "
        f"{decimal(most)}; the largest are {named}: name them in a .rayignore file there, under "
        "`excludes` of --runtime-env, or give another --working-dir"
    )


def check_uploaded(
    folder: Path,
    needed: Collection[str],
    files: Mapping[str, int],
    excludes: Sequence[str],
) -> None:
    """Refuse to leave out a file that the job needs.

    Args:
        folder: the working folder of the job.
        needed: paths of files in it.
        files: those that are uploaded.
        excludes: patterns of files that are not.

    Raises:
        UserError: naming the first, and who leaves it out.
    """
    missing = sorted(name for name in needed if name not in files)
    if not missing:
        return
    without = uploaded_files(folder, excludes, gitignore=False) or {}
    more = f" (and {len(missing) - 1:,} more)" if len(missing) > 1 else ""
    if missing[0] in without:
        reason = "a .gitignore leaves it out: name it there behind a `!`, or take its pattern away"
    else:
        reason = "`excludes` or a .rayignore leave it out: give it another name or place"
    raise UserError(
        f"the job needs {missing[0]!r}{more} of --working-dir, and it is not uploaded; {reason}"
    )


def module_files(folder: Path, names: Collection[str]) -> Iterator[str]:
    """Paths of the modules that lie in a folder: there a job finds them first.

    It yields all files of code of a package, for its modules import each other.

    Args:
        folder: the working folder of the job.
        names: the modules, dotted.
    """
    for top in dict.fromkeys(name.partition(".")[0] for name in names):
        module, package = folder / f"{top}.py", folder / top
        if package.is_dir():
            for path in sorted(package.rglob("*")):
                if path.suffix in CODE and "__pycache__" not in path.parts:
                    yield str(path.relative_to(folder))
        elif module.is_file():
            yield module.name
