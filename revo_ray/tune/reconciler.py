"""Reconciler: a callback that tells a searcher of trials whose end Tune did not report."""

from __future__ import annotations

from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from revo_ray.tune.cmamv_search import CMAMVSearch
from revo_ray.words import shown


class Reconciler(tune.Callback):
    """Tells a searcher of ended and lost trials; without it, the searcher may wait for ever.

    Tune does not report a trial whose reused worker could not be reset. And it saves its own state
    and the searcher's in two files, one after the other. If a driver is killed between them,
    `Tuner.restore` finds ended trials that are live for the searcher, or does not know a trial
    that is live for the searcher.

    Args:
        searcher: the searcher of the `Tuner`, or Ray's limiter or repeater around it.

    Raises:
        TypeError: it is no `CMAMVSearch`.

    Example:
        >>> tune.RunConfig(callbacks=[Reconciler(searcher)])               # doctest: +SKIP
    """

    def __init__(self, searcher: Searcher) -> None:
        while hasattr(searcher, "searcher"):
            searcher = searcher.searcher
        if not isinstance(searcher, CMAMVSearch):
            raise TypeError(f"Reconciler takes a CMAMVSearch, not {shown(searcher)}")
        self._searcher = searcher

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Let the searcher catch up with Tune's trials."""
        self._searcher.catch_up(trials)
