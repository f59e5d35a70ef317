"""`CMAMVSearch`: mixed-variable CMA-ES for anyone's `tune.Tuner`, over any Tune search space."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher
from ray.tune.search.variant_generator import assign_value, parse_spec_vars

from revo_ray.evolve.cmamv import CMAMV
from revo_ray.evolve.proposals import Outcome, Proposals, ReplayError, Sample
from revo_ray.evolve.space import Categorical, Space
from revo_ray.tune.search_space import KeyPath, from_json, to_json, to_variable

FORMAT = 2


class _State(BaseModel):
    """What `CMAMVSearch.save` writes; samples have categories by their place."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[2]
    space: Any
    metric: str | None
    mode: Literal["min", "max"] | None
    settings: dict[str, Any]
    told: dict[NonNegativeInt, tuple[dict[str, Any], float | None]]
    live: dict[str, tuple[int, dict[str, Any]]]


class CMAMVSearch(Searcher):
    """Proposes by mixed-variable CMA-ES; a thin face of `Proposals` for Ray Tune.

    Real, integer and categorical parameters may be mixed, nested in dictionaries and lists, and
    stand beside constants. The proposals are a function of the seed and of the reported values:
    neither the number of concurrent trials nor the order in which they end changes them. A trial
    that fails, or whose value is not finite, counts as the worst of its generation.

    Give `metric` and `mode` here where `space` is given here; else `tune.TuneConfig` has them.
    Where a driver may be killed and restored, or where workers are reused and their `reset_config`
    may fail, add a `Reconciler`.

    Args:
        space: a Tune search space; None takes `param_space` of the `Tuner`.
        metric: what trials report.
        mode: `min` or `max`.
        algorithm: `catcmawm`, `cmawm`, `sop` or `cma` (continuous parameters only).
        population: trials a generation.
        lookahead: candidates sampled ahead of each generation's end, so that no worker idles.
        sigma: initial standard deviation, as a fraction of each parameter's range.
        seed: of the proposals.

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
        self._template: dict[str, Any] = {}
        self._blank: dict[str, Any] = {}
        self._paths: dict[str, KeyPath] = {}
        self._proposals: Proposals[Any] | None = None
        self._max_concurrent: int | None = None
        self._live: dict[str, tuple[int, Sample]] = {}
        self._told: dict[NonNegativeInt, tuple[Sample, Outcome]] = {}
        self._refused: ValueError | None = None
        if space is not None:
            self._set_space(space)

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Take metric, mode and search space from the `Tuner`, where they were not given before."""
        if self._proposals is not None and config:
            return False
        if metric:
            self._metric = metric
        if mode:
            self._mode = mode
        if self._proposals is None:
            self._set_space(config)
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next configuration; None while the generation's last trials run.

        Raises:
            RuntimeError: there is no search space, metric or mode.
            ValueError: that of `restore`.
        """
        if self._refused is not None:
            raise self._refused
        if self._proposals is None or self._metric is None or self._mode is None:
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
        return self._config(self._live[trial_id][1])

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Hold to `max_concurrent_trials` itself: a limiter would miss what `Reconciler` tells."""
        self._max_concurrent = max_concurrent
        return True

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: only a trial's last value counts."""

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

    def reconcile(self, trials: Iterable[Trial]) -> None:
        """Settle live trials that have ended by Tune's account, or that Tune does not know.

        Of the first the last result counts; the samples of the others are proposed again.

        Args:
            trials: all that Tune has.
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
        try:
            space = to_json(self._template) if self._proposals else None
        except TypeError:
            space = None
        state = {
            "format": FORMAT,
            "space": space,
            "metric": self._metric,
            "mode": self._mode,
            "settings": self._settings | {"lookahead": self._lookahead},
            "told": {
                str(n): [self._code(sample), None if outcome.failed else outcome.value]
                for n, (sample, outcome) in self._told.items()
            },
            "live": {trial: [n, self._code(s)] for trial, (n, s) in self._live.items()},
        }
        temporary = f"{checkpoint_path}.tmp"
        Path(temporary).write_text(json.dumps(state, allow_nan=False))
        os.replace(temporary, checkpoint_path)

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

    def _restore(self, checkpoint_path: str) -> None:
        state = _read_state(checkpoint_path)
        settings = self._settings | {"lookahead": self._lookahead}
        if state.settings != settings:
            raise ValueError(f"{checkpoint_path} was saved with {state.settings}, not {settings}")
        if self._proposals is None:  # `Tuner.restore` may leave the search space out
            if state.space is None:
                raise ValueError(
                    f"{checkpoint_path} holds no search space, since that has values that are not "
                    "JSON; give it again: Tuner.restore(path, trainable, param_space=…)"
                )
            try:
                self._set_space(from_json(state.space))
            except _UNFIT as error:
                raise ValueError(f"{checkpoint_path} is damaged: {error}") from None
        proposals = self._make_proposals()
        try:
            told = {
                n: (self._decode(codes), Outcome(value)) for n, (codes, value) in state.told.items()
            }
            proposals.replay(told)
            live = {trial: (n, self._decode(codes)) for trial, (n, codes) in state.live.items()}
            self._take_live(proposals, told, live)
        except (ReplayError, *_UNFIT) as error:
            raise ValueError(
                f"{checkpoint_path} was saved with another search space ({error}); restore it with "
                "the one that it was saved with"
            ) from None
        self._metric = self._metric or state.metric
        self._mode = self._mode or state.mode
        self._proposals, self._told, self._live = proposals, told, live

    def _take_live(
        self,
        proposals: Proposals[Any],
        told: Mapping[int, Any],
        live: Mapping[str, tuple[int, Sample]],
    ) -> None:
        """Take back from fresh proposals what live trials work on; all else is handed out later.

        Raises:
            ReplayError: something is told or live that was not proposed.
        """
        waiting, again = dict(live.values()), []
        missing = next(n for n in range(len(told) + 1) if n not in told)
        beyond = proposals.first_dependent(missing)
        if len(waiting) < len(live) or (beyond is not None and max(told, default=-1) >= beyond):
            raise ReplayError("it has values that no trial can have had")
        while waiting and (proposal := proposals.ask()) is not None:
            sample = waiting.pop(proposal.evaluation, None)
            if sample is None:
                again.append(proposal.evaluation)
            elif self._space.key(sample) != self._space.key(proposal.sample):
                raise ReplayError(f"a trial is live with a sample that is not proposed: {sample}")
        if waiting:
            raise ReplayError(f"a trial is live with evaluation {min(waiting)}, not proposed yet")
        for evaluation in again:
            proposals.requeue(evaluation)

    def _set_space(self, space: Mapping[str, Any]) -> None:
        self._template = copy.deepcopy(dict(space))
        _, domains, grids = parse_spec_vars(self._template)
        if grids:
            name = "/".join(map(str, grids[0][0]))
            raise ValueError(f"{name}: a grid_search cannot be evolved; use tune.choice")
        if not domains:
            raise ValueError("the search space has nothing to search: no tune.uniform or the like")
        self._paths = {"/".join(map(str, path)): tuple(path) for path, _ in domains}
        self._blank = copy.deepcopy(self._template)  # domains are slow to copy
        for path in self._paths.values():
            assign_value(self._blank, path, None)
        self._space = Space(
            {"/".join(map(str, path)): to_variable(path, domain) for path, domain in domains}
        )
        self._proposals = self._make_proposals()

    def _make_proposals(self) -> Proposals[Any]:
        return Proposals(
            CMAMV(self._space, **self._settings), self._space.key, lookahead=self._lookahead
        )

    def _config(self, sample: Sample) -> dict[str, Any]:
        config = copy.deepcopy(self._blank)
        for name, value in sample.items():
            assign_value(config, self._paths[name], value)
        return config

    def _value(self, result: Mapping[str, Any] | None) -> float | None:
        value = (result or {}).get(str(self._metric))
        if value is None:
            return None
        try:
            return float(value) if self._mode == "min" else -float(value)
        except Exception:  # a metric may be any object, and Tune would run its trial again
            return None

    def _code(self, sample: Sample) -> dict[str, Any]:
        """Categories by their place, since they need not be JSON."""
        coded = dict(sample)
        for name, variable in self._space.items():
            if isinstance(variable, Categorical):
                coded[name] = variable.index(sample[name])
        return coded

    def _decode(self, coded: Mapping[str, Any]) -> Sample:
        return {
            name: variable.at(coded[name]) if isinstance(variable, Categorical) else coded[name]
            for name, variable in self._space.items()
        }


class Reconciler(tune.Callback):
    """Settles what Tune did not tell a searcher; without it, the searcher may wait for ever.

    Tune tells nothing of a trial whose reused worker could not be reset. And it saves its own
    state and the searcher's in two files, one after the other: when a driver is killed between
    them, `Tuner.restore` finds trials that ended and that the searcher takes for live, or none
    of a trial that the searcher handed out.

    Args:
        searcher: the one that the `Tuner` has.

    Example:
        >>> tune.RunConfig(callbacks=[Reconciler(searcher)])               # doctest: +SKIP
    """

    def __init__(self, searcher: CMAMVSearch) -> None:
        self._searcher = searcher

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Compare Tune's trials with the searcher's."""
        self._searcher.reconcile(trials)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested dictionaries, each under its path, with slashes."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


_UNFIT = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError)
"""What values of a file that was changed raise where they are used."""


def _read_state(path: str) -> _State:
    try:
        return _State.model_validate(json.loads(Path(path).read_text()))
    except (ValueError, RecursionError) as error:
        what = "of another version, or "
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            what += f"damaged: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        else:
            what += "damaged: no JSON"
        raise ValueError(f"{path} is {what}") from None
