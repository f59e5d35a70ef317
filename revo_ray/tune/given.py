"""Given: the points of a user, with the rewards that are known for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from revo_ray.evolve.space import Sample
from revo_ray.tune.param_space import ParamSpace
from revo_ray.tune.points import to_sample
from revo_ray.words import shown


@dataclass(frozen=True)
class Given:
    """A point that the user gives.

    Attributes:
        point: values by key, nested or flat.
        name: the argument that it comes from, for messages.
        evaluated: whether its reward is known, so that it need not be run.
        reward: the metric's value as trials report it; None for a failure.
    """

    point: Any
    name: str
    evaluated: bool = False
    reward: float | None = None

    def sample(self, space: ParamSpace) -> Sample:
        """The point as a sample.

        Raises:
            ValueError: it does not fit the search space; the text names the argument and the key.
        """
        try:
            return to_sample(space, self.point)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None


def given_points(points: Any, rewards: Any) -> list[Given]:
    """The points to evaluate, each with its reward if there are rewards.

    Raises:
        ValueError: one of the two is no list, they are not equally long, or a reward is no number.
    """
    for name, value in (("points_to_evaluate", points), ("evaluated_rewards", rewards)):
        if value is not None and (not isinstance(value, Sequence) or isinstance(value, str)):
            raise ValueError(f"{name}={shown(value)} is no list; give a list")
    names = [f"points_to_evaluate[{number}]" for number in range(len(points or ()))]
    if not rewards:
        return [Given(point, name) for point, name in zip(points or (), names, strict=True)]
    if len(rewards) != len(names):
        raise ValueError(
            f"evaluated_rewards has {len(rewards)} values for {len(names)} points_to_evaluate; "
            "give one for each point, or none at all"
        )
    for number, reward in enumerate(rewards):
        check_reward(reward, f"evaluated_rewards[{number}]")
    return [
        Given(point, name, evaluated=True, reward=float(reward))
        for point, name, reward in zip(points, names, rewards, strict=True)
    ]


def check_reward(reward: Any, name: str) -> None:
    """Refuse what is no number; NaN is one, and a failure.

    Raises:
        ValueError: it is no number.
    """
    try:
        number = isinstance(reward, Real) and not isinstance(reward, bool)
        float(reward if number else 0)
    except OverflowError:
        raise ValueError(f"{name}={shown(reward)} is too large a number") from None
    if not number:
        raise ValueError(f"{name}={shown(reward)} is no number; give the metric's value")
