"""All checks, in the order of the table."""

from __future__ import annotations

from tests.tune.conformance import (
    crowds,
    experiments,
    kit,
    quality,
    repeatable,
    reports,
    saving,
    settings,
    spaces,
    warm_start,
)
from tests.tune.conformance.kit import Check

GROUPS = [
    module.GROUP
    for module in (
        spaces,
        reports,
        repeatable,
        crowds,
        warm_start,
        saving,
        settings,
        experiments,
        quality,
    )
]
CHECKS: dict[str, Check] = {
    each.name: each
    for each in sorted(kit.CHECKS.values(), key=lambda each: GROUPS.index(each.group))
}
"""Every check by name."""
