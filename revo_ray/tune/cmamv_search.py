"""CMAMVSearch: mixed-variable CMA-ES for any `tune.Tuner`, over any search space of Tune."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from revo_ray.evolve.cmamv import CMAMV
from revo_ray.evolve.proposals import Outcome, Proposals, ReplayError
from revo_ray.evolve.space import Sample
from revo_ray.tune.param_space import ParamSpace
from revo_ray.tune.saved_state import SavedState, resume_live

_UNFIT = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError)
"""Errors that values of an edited file may raise when they are used."""


class CMAMVSearch(Searcher):
    """Proposes by mixed-variable CMA-ES: a thin face of `Proposals` for Ray Tune.

    Real, integer and categorical parameters may be mixed, nested in dictionaries and lists, and
    stand beside constants. The proposals are a function of the seed and the reported values; the
    number of concurrent trials and the order in which they end change nothing. A trial that fails,
    or reports no finite value, counts as the worst of its generation.

    Give `metric` and `mode` here if `space` is given here; else `tune.TuneConfig` has them. Add a
    `Reconciler` if the driver may be killed and restored, or if workers are reused and their
    `reset_config` may fail.

    Args:
        space: a Tune search space; None takes `param_space` of the `Tuner`.
        metric: name of the value that trials report.
        mode: `min` or `max`.
        algorithm: `catcmawm`, `cmawm`, `sop` or `cma` (continuous parameters only).
        population: trials a generation.
        lookahead: candidates sampled ahead of each generation's end, so that no worker idles.
        sigma: initial standard deviation, as a fraction of each parameter's range.
        seed: seed of the proposals.

    Raises:
        ValueError: the space has grid searches, functions or unbounded parameters.

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
        *,
        algorithm: str = "catcmawm",
        population: int = 10,
        lookahead: int = 0,
        sigma: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(metric=metric, mode=mode)
        self._settings: dict[str, Any] = {
            "algorithm": algorithm,
            "population_size": population,
            "sigma": sigma,
            "seed": seed,
        }
        self._lookahead = lookahead
        self._space: ParamSpace | None = None
        self._proposals: Proposals[Any] | None = None
        self._max_concurrent: int | None = None
        self._live: dict[str, tuple[int, Sample]] = {}
        self._told: dict[int, tuple[Sample, Outcome]] = {}
        self._refused: ValueError | None = None
        if space is not None:
            self._set_space(ParamSpace(space))

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Take metric, mode and search space from the `Tuner`, unless they were given before."""
        if self._proposals is not None and config:
            return False
        if metric:
            self._metric = metric
        if mode:
            self._mode = mode
        if self._proposals is None:
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
        if None in (self._metric, self._mode) or self._space is None or self._proposals is None:
            raise RuntimeError(
                "CMAMVSearch needs a search space, a metric and a mode: pass them to it, or "
                "param_space to the Tuner and metric and mode to tune.TuneConfig"
            )
        if trial_id not in self._live:
            if self._max_concurrent is not None and len(self._live) >= self._max_concurrent:
                return None
            proposal = self._proposals.ask()
            if proposal is None:
                return None
            self._live[trial_id] = (proposal.evaluation, proposal.sample)
        return self._space.config(self._live[trial_id][1])

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Keep to `max_concurrent_trials` here: a limiter would miss the trials of `catch_up`."""
        self._max_concurrent = max_concurrent
        return True

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Do nothing: only a trial's last value counts."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Learn the value of a trial; unknown and repeated trials change nothing.

        A trial that ended before it reported anything, without an error, is proposed again.
        """
        if self._proposals is None or trial_id not in self._live:
            return
        evaluation, sample = self._live.pop(trial_id)
        if not result and not error:
            self._proposals.requeue(evaluation)
            return
        outcome = Outcome(None if error else self._value(result))
        self._told[evaluation] = (sample, outcome)
        self._proposals.tell(evaluation, outcome)

    def catch_up(self, trials: Iterable[Trial]) -> None:
        """Complete live trials that have ended for Tune, or that Tune does not know.

        The last result of an ended trial counts. The sample of an unknown one is proposed again.

        Args:
            trials: all trials of Tune.
        """
        known = {trial.trial_id: trial for trial in trials} if self._live else {}
        for trial_id in list(self._live):
            trial = known.get(trial_id)
            if trial is None:
                self.on_trial_complete(trial_id)
            elif trial.status == Trial.ERROR:
                self.on_trial_complete(trial_id, error=True)
            elif trial.status == Trial.TERMINATED:
                self.on_trial_complete(trial_id, dict(_flat(trial.last_result)))

    def save(self, checkpoint_path: str) -> None:
        """Write the state as JSON: settings, told values, live trials, and the search space.

        The optimiser is not in it: `restore` replays the told values. A search space with objects
        or functions in it is left out.
        """
        encode = self._space.encode if self._space else dict[str, Any]
        values = {
            "space": self._space.to_json() if self._space else None,
            "metric": self._metric,
            "mode": self._mode,
            "settings": self._saved_settings,
            "told": {n: (encode(sample), told.finite) for n, (sample, told) in self._told.items()},
            "live": {trial: (n, encode(sample)) for trial, (n, sample) in self._live.items()},
        }
        SavedState.model_validate(values).write(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Continue the trajectory that `save` wrote, on an instance made with the same settings.

        The file is only read: nothing in it is run. An instance that could not be restored
        proposes nothing, since Tune would begin the experiment anew with it.

        Raises:
            ValueError: it was saved with other settings or another search space, is damaged, or
                holds no search space and none was given.
            OSError: it cannot be read.
        """
        try:
            self._restore(checkpoint_path)
        except ValueError as error:
            self._refused = error
            raise

    def _restore(self, path: str) -> None:
        state = SavedState.read(path)
        if state.settings != self._saved_settings:
            raise ValueError(f"{path} was saved with {state.settings}, not {self._saved_settings}")
        # `Tuner.restore` may leave the search space out.
        space = self._space or _saved_space(state, path)
        proposals = self._make_proposals(space)
        try:
            told = {
                n: (space.decode(coded), Outcome(value)) for n, (coded, value) in state.told.items()
            }
            proposals.replay(told)
            live = {trial: (n, space.decode(coded)) for trial, (n, coded) in state.live.items()}
            resume_live(proposals, told, live)
        except (ReplayError, *_UNFIT) as error:
            raise ValueError(
                f"{path} was saved with another search space ({error}); restore it with "
                "the one that it was saved with"
            ) from None
        self._metric = self._metric or state.metric
        self._mode = self._mode or state.mode
        self._space, self._proposals, self._told, self._live = space, proposals, told, live

    @property
    def _saved_settings(self) -> dict[str, Any]:
        return self._settings | {"lookahead": self._lookahead}

    def _set_space(self, space: ParamSpace) -> None:
        self._space, self._proposals = space, self._make_proposals(space)

    def _make_proposals(self, space: ParamSpace) -> Proposals[Any]:
        optimiser = CMAMV(space.space, **self._settings)
        return Proposals(optimiser, space.space, lookahead=self._lookahead)

    def _value(self, result: Mapping[str, Any] | None) -> float | None:
        value = (result or {}).get(str(self._metric))
        if value is None:
            return None
        try:
            return float(value) if self._mode == "min" else -float(value)
        except Exception:  # a metric may be any object, and Tune would run its trial again
            return None


def _saved_space(state: SavedState, path: str) -> ParamSpace:
    if state.space is None:
        raise ValueError(
            f"{path} holds no search space, since that has values that are not JSON; give it "
            "again: Tuner.restore(path, trainable, param_space=…)"
        )
    try:
        return ParamSpace.from_json(state.space)
    except _UNFIT as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested dictionaries, each under its path, with slashes."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value
