"""Method: the base class of all methods, those of plugins too."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from revo_ray.evolve.proposals import Proposals
from revo_ray.evolve.space import Sample, Space
from revo_ray.finetune.plan import Plan, Policy
from revo_ray.settings.schema import SearchOptions, Section, TrainConfig


class UnitLike(Protocol):
    """A unit of the network, as methods see it."""

    @property
    def name(self) -> str:
        """Qualified name, such as `layer1.0.conv1`."""

    @property
    def head(self) -> bool:
        """Whether it is the new classifier head."""


class Method(ABC):
    """A method: its search space, who proposes samples, and the plan that a sample becomes.

    Subclasses set `name`, and `Options` if they have any. The first line of their docstring is
    listed by `revo-ray methods`.

    Args:
        options: validated options, an instance of `Options`.
    """

    name: ClassVar[str]
    Options: ClassVar[type[Section]] = Section

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def space(self, units: Sequence[UnitLike]) -> Space:
        """The search space for a network of these units, input to output."""

    @abstractmethod
    def plan(self, sample: Sample, units: Sequence[UnitLike]) -> Plan:
        """The plan of a sample of that space."""

    @property
    def sweeps(self) -> bool:
        """Whether the first generation has one rate for all units in each plan."""
        return False

    @property
    def starts_warm(self) -> bool:
        """Whether `space_around` works: a search may begin at earlier ones' rates."""
        return False

    def space_around(self, winners: Sequence[Sequence[float]], units: Sequence[UnitLike]) -> Space:
        """The space, with an initial distribution around rates that won in earlier searches.

        Args:
            winners: rates of the units, one sequence for each winner; in each at least one trains.
            units: of this network, input to output.
        """
        raise NotImplementedError

    @abstractmethod
    def searcher(self, space: Space, search: SearchOptions) -> Proposals[Any]:
        """Proposals of samples of the space, for one search."""

    def scheduler(self, search: SearchOptions, train: TrainConfig) -> Any | None:
        """A `ray.tune` scheduler that stops evaluations early, or None.

        Its `time_attr` is `epoch`; its metric and mode are the column and the mode of
        `search.metric`.
        """
        return None

    @classmethod
    def policy(cls, options: Mapping[str, Any]) -> Policy | None:
        """The per-epoch policy for the options in `Plan.policy`, or None."""
        return None

    def genome(self, sample: Sample) -> list[float]:
        """The numbers of a sample, for the ledger; other values are left out."""
        return [float(value) for value in sample.values() if isinstance(value, int | float)]

    @classmethod
    def summary(cls) -> str:
        """The first line of the class's docstring."""
        return (cls.__doc__ or "").strip().partition("\n")[0]
