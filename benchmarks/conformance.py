"""Checks CMAMVSearch, OptunaSearch and HyperOptSearch for the properties that the tests name.

The checks are those of `tests/tune/conformance`, each a function that raises if a searcher lacks a
property. `checks` has a row for each, and for each searcher `passes` or the first line of its
failure; `why` says why a searcher fails, with `fault`, `limit` or `nature` in front. Prints one
JSON line.

    python -m benchmarks.conformance [--searchers CMAMVSearch OptunaSearch HyperOptSearch]
                                     [--groups "search spaces" …]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.record import begin
from tests.tune.conformance.checks import CHECKS, GROUPS
from tests.tune.conformance.kit import failure
from tests.tune.conformance.known import KNOWN
from tests.tune.conformance.searchers import COMPARED

MEASURES = ("revo_ray/evolve", "revo_ray/tune", "tests/tune/conformance")
PASSES = "passes"
UNEXPLAINED = "not known before"
Row = dict[str, str]


def rows(searchers: Sequence[str], groups: Iterable[str]) -> list[Row]:
    """A row for each check of some groups, with the answer of each searcher."""
    found = []
    for check in CHECKS.values():
        if check.group in groups:
            row = {"subject": check.group, "check": check.name}
            for name in searchers:
                # HyperOpt prints its errors.
                with contextlib.redirect_stdout(io.StringIO()):
                    failed = failure(check, COMPARED[name])
                row[name] = PASSES if failed is None else f"fails: {failed}"
            found.append(row)
    return found


def counts(found: Sequence[Row], name: str) -> dict[str, int]:
    """Checks that a searcher passes, and those that it fails by their kind."""
    kinds = [why(name, row["check"]).partition(":")[0] for row in found if row[name] != PASSES]
    return {
        "passed": len(found) - len(kinds),
        **{
            kind: kinds.count(known)
            for kind, known in {
                "faults": "fault",
                "limits": "limit",
                "by_nature": "nature",
                "unexplained": UNEXPLAINED,
            }.items()
        },
    }


def why(name: str, check: str) -> str:
    """The reason why a searcher fails a check."""
    return KNOWN[name].get(check, UNEXPLAINED)


def cell(row: Row) -> dict[str, str]:
    """A row whose texts are safe in a table in Markdown."""
    return {key: text.translate({ord("|"): "/", ord("<"): "‹"}) for key, text in row.items()}


def main() -> None:
    """Run the checks, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--searchers", nargs="*", choices=[*COMPARED], default=[*COMPARED])
    parser.add_argument("--groups", nargs="*", choices=GROUPS, default=GROUPS)
    arguments, record = begin(parser, "conformance", MEASURES)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    found = rows(arguments.searchers, arguments.groups)
    line: dict[str, Any] = {
        "searchers": {name: counts(found, name) for name in arguments.searchers},
        "checks": [cell(row) for row in found],
        "why": [
            cell({"searcher": name, "check": row["check"], "why": why(name, row["check"])})
            for name in arguments.searchers
            for row in found
            if row[name] != PASSES
        ],
    }
    record.finish(line, [3])


if __name__ == "__main__":
    main()
