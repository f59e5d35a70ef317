"""Makers of the searchers that the checks are run over."""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher
from ray.tune.search.hyperopt import HyperOptSearch
from ray.tune.search.optuna import OptunaSearch

from revo_ray.tune import CMAMVSearch
from tests.tune.conformance.kit import Maker


def cmamv(**options: Any) -> Searcher:
    """CMAMVSearch with its defaults."""
    return CMAMVSearch(**options)


def cmamv_ahead(**options: Any) -> Searcher:
    """CMAMVSearch that samples three candidates ahead."""
    return CMAMVSearch(lookahead=3, **options)


def cmamv_cmawm(**options: Any) -> Searcher:
    """CMAMVSearch with CMA-ES with margin."""
    return CMAMVSearch(algorithm="cmawm", **options)


def cmamv_sop(**options: Any) -> Searcher:
    """CMAMVSearch with CMA-ES on sets of points."""
    return CMAMVSearch(algorithm="sop", **options)


def optuna(**options: Any) -> Searcher:
    """Ray's OptunaSearch with its default sampler, TPE."""
    return OptunaSearch(**options)


def hyperopt(*, seed: int | None = None, **options: Any) -> Searcher:
    """Ray's HyperOptSearch with its defaults."""
    return HyperOptSearch(random_state_seed=seed, **options)


COMPARED: dict[str, Maker] = {
    "CMAMVSearch": cmamv,
    "OptunaSearch": optuna,
    "HyperOptSearch": hyperopt,
}
"""The searchers of the table."""
VARIANTS: dict[str, Maker] = {
    "lookahead": cmamv_ahead,
    "cmawm": cmamv_cmawm,
    "sop": cmamv_sop,
}
"""Other settings of CMAMVSearch."""
