"""CMAMVSearch: mixed-variable CMA-ES for any `tune.Tuner`, over any search space of Tune."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.search.repeater import TRIAL_INDEX

from revo_ray.tune.arguments import check_arguments
from revo_ray.tune.given import Given, check_reward, given_points
from revo_ray.tune.metric_and_mode import agreed, check_metric, check_mode
from revo_ray.tune.param_space import ParamSpace
from revo_ray.tune.saved_searcher import SavedSearcher
from revo_ray.tune.trials import flat, has_repeats
from revo_ray.tune.unresolved import find_domains


class CMAMVSearch(SavedSearcher):
    """Proposes by mixed-variable CMA-ES: a thin face of `Proposals` for Ray Tune.

    Real, integer and categorical parameters may be mixed, nested in dictionaries, lists and tuples,
    and stand beside constants. The proposals are a function of the seed, the given points and the
    reported values; the number of concurrent trials and the order in which they end change nothing.
    A trial that fails, or reports no finite value, counts as the worst of its generation. A trial
    that a scheduler stops counts with its last value.

    Give `metric` and `mode` here if `space` is given here; else `tune.TuneConfig` has them. Add a
    `Reconciler` if the driver may be killed and restored, or if workers are reused and their
    `reset_config` may fail.

    Args:
        space: a Tune search space; None takes `param_space` of the `Tuner`.
        metric: name of the value that trials report.
        mode: `min` or `max`.
        points_to_evaluate: configurations that are tried first, in order, nested as the search
            space or flat with slashes. Each has a value of every variable.
        evaluated_rewards: the metric's value of each point, as trials report it. The points then
            count among the first generations without being run.
        algorithm: `catcmawm`, `cmawm`, `sop` or `cma` (continuous parameters only).
        population: evaluations a generation.
        lookahead: candidates sampled ahead of each generation's end, so that no worker idles.
        sigma: initial standard deviation, as a fraction of each parameter's range.
        seed: seed of the proposals.
        repeats: trials for each evaluation, whose mean counts; those that fail are left out. Each
            gets its number from 0 as `config["__trial_index__"]` if there is more than one.
            `num_samples` counts trials. Unlike Ray's `Repeater` it can be restored.

    Raises:
        ValueError: the space has grid searches, functions, domains inside a choice or unbounded
            ones; a point does not fit it; or metric and mode are not one name and one word.

    Example:
        >>> tuner = tune.Tuner(                                            # doctest: +SKIP
        ...     train,
        ...     param_space={"lr": tune.loguniform(1e-4, 1), "depth": tune.randint(1, 9)},
        ...     tune_config=tune.TuneConfig(
        ...         metric="loss", mode="min", num_samples=100, search_alg=CMAMVSearch()
        ...     ),
        ... )
    """

    def __init__(
        self,
        space: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: list[dict[str, Any]] | None = None,
        evaluated_rewards: list[float] | None = None,
        *,
        algorithm: str = "catcmawm",
        population: int = 10,
        lookahead: int = 0,
        sigma: float | None = None,
        seed: int = 0,
        repeats: int = 1,
    ) -> None:
        check_arguments(
            space, sigma, population=population, lookahead=lookahead, seed=seed, repeats=repeats
        )
        settings = {
            "algorithm": algorithm,
            "population_size": population,
            "sigma": sigma,
            "seed": seed,
            "lookahead": lookahead,
            "repeats": repeats,
        }
        super().__init__(
            metric, mode, settings, given_points(points_to_evaluate, evaluated_rewards)
        )
        self._max_concurrent: int | None = None
        self._wrapped = False  # whether Ray's `Repeater` makes trials of its own
        if space is not None:
            self._set_space(ParamSpace(space))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a state, also one from before there were points and repeats."""
        if "_search" in state:
            self.__dict__.update(state)
            return
        old = state["_settings"]
        space = state["_space"] and vars(state["_space"])["_template"]
        CMAMVSearch.__init__(
            self,
            space,
            state["_metric"],
            state["_mode"],
            algorithm=old["algorithm"],
            population=old["population_size"],
            lookahead=state["_lookahead"],
            sigma=old["sigma"],
            seed=old["seed"],
        )

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Take metric, mode and search space from the `Tuner`, unless they were given before.

        Returns:
            Whether they were taken: not if there is another search space already.

        Raises:
            ValueError: metric or mode are given twice and differ, or as for the constructor.
        """
        check_metric(metric)
        check_mode(mode)
        if self._space is not None and config and any(True for _ in find_domains(config)):
            known = self._space.to_json()
            if known is None or known != ParamSpace(config).to_json():
                return False
        both = agreed("metric", self._metric, metric), agreed("mode", self._mode, mode)
        self._metric, self._mode = both
        if self._space is None:
            self._set_space(ParamSpace(config))
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next configuration; None while the generation's last trials run.

        Raises:
            RuntimeError: there is no search space, metric or mode.
            ValueError: that of `restore`.
        """
        if self._refused is not None:
            raise self._refused
        self._check_complete()
        search = self._begin()
        if trial_id not in search.live:
            if self._max_concurrent is not None and len(search.live) >= self._max_concurrent:
                return None
            if not search.start(trial_id):
                return None
            self._handed.add(trial_id)
        trial = search.live[trial_id]
        config = search.space.config(trial.sample)
        if self._settings["repeats"] > 1:
            config[TRIAL_INDEX] = trial.repeat[1]
        return config

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Keep to `max_concurrent_trials` here: a limiter would miss the trials of `catch_up`."""
        self._max_concurrent = max_concurrent
        return True

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Keep a trial's last value, which counts if a scheduler stops it while it is paused."""
        if self._search is not None and trial_id in self._search.live:
            trial = self._search.live[trial_id]
            trial.reported, trial.value = True, self._value(result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Learn the value of a trial; unknown and repeated trials change nothing.

        A trial that ended before it reported anything, without an error, is proposed again.
        """
        if self._search is None or trial_id not in self._search.live:
            return
        trial = self._search.live[trial_id]
        if error or result:
            # Tune reports an error without a result. Ray's `Repeater` has both: a mean of trials,
            # and the error of the last one.
            self._search.end(trial_id, self._value(result))
        elif trial.reported:
            self._search.end(trial_id, trial.value)
        else:
            self._search.lose(trial_id)

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float | None,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Take a point that was evaluated elsewhere for the next evaluation that is not proposed.

        Args:
            parameters: a configuration, as in `points_to_evaluate`.
            value: the metric's value, as trials report it; None, like NaN, is a failure.
            error: whether it failed; then the value does not count.
            pruned: whether it was stopped early. Its value counts, or else the last intermediate
                one.
            intermediate_values: values of the metric before the last.

        Raises:
            RuntimeError: there is no search space, metric or mode.
            ValueError: the point does not fit the search space, or the value is no number.
        """
        self._check_complete()
        assert self._space is not None
        if value is None and pruned and intermediate_values:
            value = intermediate_values[-1]
        if error or value is None:
            given = Given(parameters, "parameters", evaluated=True)
        else:
            check_reward(value, "value")
            given = Given(parameters, "parameters", evaluated=True, reward=float(value))
        sample = given.sample(self._space)
        if not self._is_fresh:
            self._begin().add(sample, self._outcome(given))
            return
        self._given.append(given)
        self._search = None  # it begins anew, with one more point

    def catch_up(self, trials: Iterable[Trial]) -> None:
        """Complete live trials that have ended for Tune, or that Tune does not know.

        The last result of a trial that ended before this searcher was restored counts. The sample
        of an unknown trial is proposed again.

        Args:
            trials: all trials of Tune.

        Raises:
            ValueError: Ray's `Repeater` wraps this searcher, which was restored.
        """
        if self._search is None or not self._search.live:
            return
        known = {trial.trial_id: trial for trial in trials}
        alone = self._settings["repeats"] == 1
        if alone and self._restored is not None and has_repeats(known.values()):
            raise ValueError(
                "Ray's Repeater forgets which trials repeat each other, so it cannot be restored; "
                "begin anew with CMAMVSearch(repeats=…), which can"
            )
        if self._restored is None and len(known) > len(self._handed):
            self._wrapped = True
        for trial_id in list(self._search.live):
            trial = known.get(trial_id)
            if trial is None:
                self._search.lose(trial_id)
            elif trial.status == Trial.ERROR:
                # Under a repeater its trial's mean comes later.
                self._wrapped |= alone and has_repeats([trial])
                if not self._wrapped:
                    self._search.end(trial_id, None)
            elif trial.status == Trial.TERMINATED and trial_id in (self._restored or ()):
                self.on_trial_complete(trial_id, dict(flat(trial.last_result)))

    def _check_complete(self) -> None:
        parts = ("search space", self._space), ("metric", self._metric), ("mode", self._mode)
        missing = [name for name, value in parts if value is None]
        if missing:
            raise RuntimeError(
                f"CMAMVSearch needs a search space, a metric and a mode, and has no "
                f"{' and no '.join(missing)}: pass them to it, or param_space to the Tuner and "
                "metric and mode to tune.TuneConfig (which are passed on only with a param_space)"
            )
