"""Lists the results whose code has changed since they were measured.

Reads the records in `benchmarks/results`, and asks git for the commits since their revision that
touch the code they measure. It needs no package, and always exits with 0.

    python -m benchmarks.stale     # or: make stale
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from benchmarks.record import Result, git, read_all


def report(result: Result, ask: Callable[..., str] = git) -> str:
    """A line for a result, and one for each commit that changed its code.

    Args:
        result: the record.
        ask: gives git's answer.
    """
    if result.doubt:
        return f"{result.name}: {result.doubt}; nobody can say whether its code has changed"
    paths = result.record["measures"]
    try:
        answers = [
            ask("log", "--format=%h %cs %s", f"{revision}..HEAD", "--", *paths)
            for revision in result.revisions
        ]
    except (OSError, subprocess.SubprocessError):
        return f"{result.name}: git does not know {', '.join(result.revisions)} here"
    found = dict.fromkeys("\n".join(answers).splitlines())
    found.pop("", None)
    if not found:
        return f"{result.name}: up to date"
    commits = "1 commit has" if len(found) == 1 else f"{len(found)} commits have"
    return "\n    ".join([f"{result.name}: stale, {commits} changed its code since", *found])


def main() -> None:
    """Print a line for each result."""
    for result in read_all().values():
        print(report(result))


if __name__ == "__main__":
    main()
