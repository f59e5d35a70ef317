"""SavedSearcher: the state of a searcher, which is saved and restored."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ray.tune.search import Searcher

from revo_ray.evolve.proposals import Outcome
from revo_ray.tune.given import Given
from revo_ray.tune.metric_and_mode import agreed, check_metric, check_mode
from revo_ray.tune.param_space import ParamSpace
from revo_ray.tune.restoring import resumed, saved_space
from revo_ray.tune.running_search import RunningSearch
from revo_ray.tune.saved_state import Growing, Header, SavedState, Snapshot, StateWriter


class SavedSearcher(Searcher):
    """A searcher that begins once it has a search space, and can be saved at any time.

    Args:
        metric: name of the value that trials report.
        mode: `min` or `max`.
        settings: those of `RunningSearch`.
        given: points of the user, which are evaluated first.

    Raises:
        ValueError: metric and mode are not one name and one word.
    """

    def __init__(
        self,
        metric: str | None,
        mode: str | None,
        settings: Mapping[str, Any],
        given: list[Given],
    ) -> None:
        check_metric(metric)
        check_mode(mode)
        super().__init__(metric=metric, mode=mode)
        self._settings = dict(settings)
        self._given = given
        self._space: ParamSpace | None = None
        self._search: RunningSearch | None = None
        self._handed: set[str] = set()  # all trials of this process
        self._restored: set[str] | None = None  # trials that were live in the restored state
        self._refused: ValueError | None = None
        self._writer = StateWriter()

    def __getstate__(self) -> dict[str, Any]:
        """All but a search that has not begun, since the library's pickles lose their seeds."""
        return self.__dict__ | ({"_search": None} if self._is_fresh else {})

    def save(self, checkpoint_path: str) -> None:
        """Write the state as lines of JSON: settings, told values, live trials, and the space.

        The optimiser is not in it: `restore` replays the told values. A search space with objects
        or functions in it is left out.
        """
        self._writer.write(checkpoint_path, *self._state())

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Write the state as `save` does, or append to the session's file what is new in it."""
        if self._refused is not None:
            return  # the state that could not be restored stays the newest one
        path = os.path.join(checkpoint_dir, self.CKPT_FILE_TMPL.format(session_str))
        self._writer.append(path, *self._state())

    def _state(self) -> tuple[Header, Snapshot, Growing]:
        space = self._space
        header = Header(
            space=space.to_json() if space else None,
            names=list(space.space) if space else None,
            settings=self._settings,
        )
        if space is None or (self._search is None and not self._may_begin):
            empty = Snapshot(metric=self._metric, mode=self._mode, live={}, ended=[])
            return header, empty, Growing({}, {}, list)
        search = self._begin()
        growing = Growing(search.given, search.told, space.encode)
        return header, search.snapshot(self._metric, self._mode), growing

    def restore(self, checkpoint_path: str) -> None:
        """Continue the trajectory that `save` wrote, on an instance made with the same settings.

        The file is only read: nothing in it is run. An instance that could not be restored
        proposes nothing, since Tune would begin the experiment anew with it.

        Raises:
            ValueError: it was saved with other settings, points, metric or mode, or another search
                space, is damaged, or holds no search space and none was given.
            OSError: it cannot be read.
        """
        try:
            state = SavedState.read(checkpoint_path)
            metric = agreed("metric", self._metric, state.snapshot.metric, checkpoint_path)
            mode = agreed("mode", self._mode, state.snapshot.mode, checkpoint_path)
            # `Tuner.restore` may leave the search space out.
            space = self._space or saved_space(state, checkpoint_path)
            search = resumed(state, checkpoint_path, space, self._settings, self._given)
        except ValueError as error:
            self._refused = error
            raise
        self._metric, self._mode, self._space = metric, mode, space
        if search is not None:
            self._search, self._restored = search, set(search.live)

    @property
    def _is_fresh(self) -> bool:
        """Whether no trial has had a configuration yet."""
        return not self._handed and self._restored is None

    @property
    def _may_begin(self) -> bool:
        return self._mode is not None or not any(given.evaluated for given in self._given)

    def _set_space(self, space: ParamSpace) -> None:
        self._space = space
        if self._may_begin:
            self._begin()

    def _begin(self) -> RunningSearch:
        """The search, which begins with the given points."""
        if self._search is None:
            assert self._space is not None
            given = {n: each.sample(self._space) for n, each in enumerate(self._given)}
            told = {
                n: (given[n], self._outcome(each))
                for n, each in enumerate(self._given)
                if each.evaluated
            }
            self._search = RunningSearch(self._space, self._settings, given, told)
        return self._search

    def _outcome(self, given: Given) -> Outcome:
        return Outcome(self._value({str(self._metric): given.reward}))

    def _value(self, result: Mapping[str, Any] | None) -> float | None:
        """The metric's value of a result, to be minimised; None if it has none."""
        value = (result or {}).get(str(self._metric))
        if value is None:
            return None
        try:
            return float(value) if self._mode == "min" else -float(value)
        except Exception:  # a metric may be any object, and Tune would run its trial again
            return None
