"""Pages with a quick importance: `figures/test_importance.py` tests the thorough one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from revo_ray.report.figures import importance


@pytest.fixture(scope="module", autouse=True)
def few_forests() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importance, "RESAMPLES", 5)
        patch.setattr(importance, "SHUFFLES", 5)
        yield
