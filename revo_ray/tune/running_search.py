"""RunningSearch: the proposals of one search, and the trials that they became."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from revo_ray.evolve.cmamv import CMAMV
from revo_ray.evolve.given_points import GivenPoints
from revo_ray.evolve.proposals import Outcome, Proposals, ReplayError
from revo_ray.evolve.space import Sample
from revo_ray.tune.param_space import ParamSpace
from revo_ray.tune.repeats import Repeat, Repeats
from revo_ray.tune.saved_state import Open, SavedState, Snapshot


@dataclass
class LiveTrial:
    """A trial that runs.

    Attributes:
        repeat: its evaluation, and its index among the trials of that.
        sample: variable names to values.
        reported: whether it has reported a result.
        value: the last value that it reported, to be minimised; None if that was none.
    """

    repeat: Repeat
    sample: Sample
    reported: bool = False
    value: float | None = None


class RunningSearch:
    """Proposals over a search space, by trial.

    Args:
        space: the search space.
        settings: those of `CMAMV`, `lookahead` and `repeats`.
        given: samples of the user, by evaluation.
        told: samples and outcomes of the evaluations that have ended, also of given ones whose
            turn is yet to come.

    Raises:
        ValueError: a setting, or a space, that cannot be searched with.
        ReplayError: the evaluations told are not those that this search proposes.
    """

    def __init__(
        self,
        space: ParamSpace,
        settings: Mapping[str, Any],
        given: Mapping[int, Sample],
        told: Mapping[int, tuple[Sample, Outcome]],
    ) -> None:
        self.space = space
        self.told = dict(told)
        self.live: dict[str, LiveTrial] = {}
        rest = dict(settings)
        lookahead, repeats = rest.pop("lookahead"), rest.pop("repeats")
        self._points = GivenPoints(CMAMV(space.space, **rest), given)
        self._proposals = Proposals(self._points, space.space, lookahead=lookahead)
        self._proposals.replay(self.told)
        self._repeats = Repeats(self._proposals, repeats)

    @classmethod
    def resumed(
        cls, space: ParamSpace, settings: Mapping[str, Any], state: SavedState
    ) -> RunningSearch:
        """The search that a state was saved of.

        Raises:
            ReplayError: it is the state of another search.
            ValueError, TypeError, LookupError, ArithmeticError: it holds values that none has.
        """
        names = state.header.names
        if names is not None and names not in (list(space.space), space.slashed_names):
            raise ReplayError(f"it has the variables {', '.join(names)}")
        given = {n: space.decode(coded) for n, coded in state.given.items()}
        told = {
            n: (space.decode(coded), Outcome(value)) for n, (coded, value) in state.told.items()
        }
        search = cls(space, settings, given, told)
        for trial_id, each in state.snapshot.live.items():
            search.live[trial_id] = LiveTrial(
                (each.evaluation, each.index),
                space.decode(each.sample),
                each.reported,
                each.value,
            )
        live = {trial.repeat: trial.sample for trial in search.live.values()}
        ended = {
            (each.evaluation, each.index): (space.decode(each.sample), each.value)
            for each in state.snapshot.ended
        }
        if len(live) < len(search.live) or not live.keys().isdisjoint(ended):
            raise ReplayError("two trials are the same one")
        search._repeats.resume(told, given, live, ended)
        return search

    def start(self, trial_id: str) -> bool:
        """Give a trial the next sample; False at the generation's barrier."""
        asked = self._repeats.ask()
        if asked is not None:
            self.live[trial_id] = LiveTrial(*asked)
        return asked is not None

    def end(self, trial_id: str, value: float | None) -> None:
        """Take the value of a live trial, to be minimised; None or no finite one is a failure."""
        repeat = self.live.pop(trial_id).repeat
        if (ended := self._repeats.end(repeat, value)) is not None:
            self.told[repeat[0]] = ended

    def lose(self, trial_id: str) -> None:
        """Propose the sample of a live trial again."""
        self._repeats.requeue(self.live.pop(trial_id).repeat)

    def add(self, sample: Sample, outcome: Outcome) -> None:
        """Take an evaluated sample for the next evaluation that is not sampled yet."""
        evaluation = self._points.add(sample)
        self._proposals.expect(evaluation, sample, outcome)
        self.told[evaluation] = sample, outcome

    @property
    def given(self) -> Mapping[int, Sample]:
        """Samples of the user, by evaluation."""
        return self._points.given

    def snapshot(self, metric: str | None, mode: Any) -> Snapshot:
        """The part of the state that changes, beside the evaluations told."""
        encode = self.space.encode
        return Snapshot(
            metric=metric,
            mode=mode,
            live={
                trial_id: Open(
                    evaluation=trial.repeat[0],
                    index=trial.repeat[1],
                    sample=encode(trial.sample),
                    reported=trial.reported,
                    value=Outcome(trial.value).finite,
                )
                for trial_id, trial in self.live.items()
            },
            ended=[
                Open(
                    evaluation=evaluation,
                    index=index,
                    sample=encode(sample),
                    reported=True,
                    value=value,
                )
                for (evaluation, index), sample, value in self._repeats.partial()
            ],
        )
