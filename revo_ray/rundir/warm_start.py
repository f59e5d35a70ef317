"""The warm start of a search, `warm_start.json`: the winners of earlier searches."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter

from revo_ray.errors import UserError
from revo_ray.settings.safe_json import read_json
from revo_ray.storage import Storage
from revo_ray.words import counted

FILE = "warm_start.json"


@dataclass(frozen=True)
class Winners:
    """The best evaluations of one earlier search.

    Attributes:
        directory, model: its run directory and its network.
        evaluations: their numbers, the best first.
        unit_lrs: their rates, for the units of the new search's network.
    """

    directory: str
    model: str
    evaluations: list[int]
    unit_lrs: list[list[float]]


@dataclass(frozen=True)
class WarmStart:
    """The winners that a search begins with, from one or more earlier searches."""

    sources: list[Winners]

    @property
    def unit_lrs(self) -> list[list[float]]:
        """The rates of all winners."""
        return [rates for source in self.sources for rates in source.unit_lrs]

    @property
    def text(self) -> str:
        """The winners in a few words: how many, and of which searches."""
        found = counted(len(self.unit_lrs), "winner")
        return f"{found} of {', '.join(source.directory for source in self.sources)}"


_WARM_START = TypeAdapter(WarmStart)


def read_warm_start(storage: Storage, units: int) -> WarmStart:
    """Read the warm start in a run directory.

    Args:
        storage: the run directory.
        units: number of units of the search's network.

    Raises:
        UserError: it is missing or damaged.
        OSError: the storage is unreachable.
    """
    try:
        found = _WARM_START.validate_python(read_json(storage.read(FILE)))
        for rates in found.unit_lrs:
            if len(rates) != units or not all(0 <= rate < math.inf for rate in rates):
                raise ValueError("not a rate for each unit")
            if not any(rates):
                raise ValueError("nothing trains")
        if not found.unit_lrs:
            raise ValueError("no winner")
    except (FileNotFoundError, ValueError):
        raise UserError(
            f"{storage.uri}/{FILE} is missing or damaged; restore it, or choose another name"
        ) from None
    return found


def write_warm_start(storage: Storage, found: WarmStart) -> None:
    """Write the warm start into a run directory.

    Raises:
        OSError: the storage is full or unreachable.
    """
    storage.write(FILE, (json.dumps(asdict(found)) + "\n").encode())
