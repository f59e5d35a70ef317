"""The number of examples of a property test: few in `make test`, many in `make nightly`."""

from __future__ import annotations

from hypothesis import settings


def examples(count: int) -> settings:
    """Try so many examples in `make test`, and 20 times as many in `make nightly-properties`."""
    return settings(max_examples=count * settings.default.max_examples // 100)
