"""CMAMVSearch and two of Ray's own searchers under the same checks.

A check that a searcher is known to fail must fail; `known.py` says why it does.
"""

from __future__ import annotations

import pytest
import ray

from tests.tune.conformance import broken
from tests.tune.conformance.checks import CHECKS, GROUPS
from tests.tune.conformance.kit import Check, Maker, failure
from tests.tune.conformance.known import KNOWN, KNOWN_WITH
from tests.tune.conformance.searchers import COMPARED, VARIANTS

QUICK = {"search spaces", "metric, mode and search space"}
"""Groups of checks with few trials, for which TPE does not take long."""
LONG = {
    *("60 variables", "1,000 choices", "every variable varies"),
    *("several metrics work or are refused", "one metric in a list works or is refused"),
}
IN_EACH_RUN = {"another process gives the same search"}
"""Checks with a process of their own that `make test` has."""


def cases() -> list[object]:
    """Each check with each searcher; what takes long is not in `make test`."""
    return [
        pytest.param(name, each, marks=marks(name, each), id=f"{name}: {each.name}")
        for name in COMPARED
        for each in CHECKS.values()
    ]


def marks(searcher: str, each: Check) -> list[pytest.MarkDecorator]:
    ours = searcher == "CMAMVSearch"
    if each.own:
        return [pytest.mark.slow if ours and each.name in IN_EACH_RUN else pytest.mark.nightly]
    late = not ours and (each.group not in QUICK or each.name in LONG)
    return [pytest.mark.nightly] if late else []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("searcher", "each"), cases())
def test_a_searcher_passes_a_check_unless_it_is_known_to_fail(searcher: str, each: Check) -> None:
    found = failure(each, COMPARED[searcher])
    why = KNOWN[searcher].get(each.name)
    assert found is None or why, f"{each.sentence}\n{found}"
    if ray.__version__.startswith(KNOWN_WITH):
        assert found or not why, f"it passes, and is known to fail: {why}"


@pytest.mark.nightly
@pytest.mark.parametrize("each", [e for e in CHECKS.values() if not e.own], ids=lambda e: e.name)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_cmamv_search_passes(variant: str, each: Check) -> None:
    found = failure(each, VARIANTS[variant])
    assert found is None or each.name in KNOWN["CMAMVSearch"], found


def test_what_is_known_names_checks_and_says_its_kind() -> None:
    assert KNOWN.keys() == COMPARED.keys()
    for known in KNOWN.values():
        assert known.keys() <= CHECKS.keys()
        assert {why.partition(":")[0] for why in known.values()} <= {"fault", "limit", "nature"}


def test_every_check_has_a_sentence_and_a_group() -> None:
    for each in CHECKS.values():
        assert each.sentence.endswith("."), each.name
        assert each.group in GROUPS


SEEN_TO_FAIL = {check for known in KNOWN.values() for check in known}


@pytest.mark.parametrize(
    ("maker", "each"),
    [
        pytest.param(
            maker,
            CHECKS[name],
            marks=[pytest.mark.nightly] if CHECKS[name].own else [],
            id=f"{maker.__name__}: {name}",
        )
        for maker, names in broken.FAILS.items()
        for name in names
    ],
)
def test_a_broken_searcher_fails_the_check_that_is_meant_for_it(maker: Maker, each: Check) -> None:
    assert failure(each, maker)


def test_every_check_fails_for_some_searcher() -> None:
    seen = SEEN_TO_FAIL | {name for names in broken.FAILS.values() for name in names}
    assert CHECKS.keys() - seen == set()
