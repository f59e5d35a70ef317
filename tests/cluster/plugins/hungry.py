"""A method whose evaluations run out of memory as often as a test says."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from revo_ray.methods import (
    CMAMV,
    Method,
    Plan,
    Policy,
    Proposals,
    Real,
    Sample,
    SearchOptions,
    Section,
    Space,
    UnitLike,
)


class Hungry(Method):
    """One rate for all units. An evaluation is known by it."""

    name = "hungry"

    class Options(Section):
        folder: str
        """Folder of a file for each evaluation, with a line for each of its trials."""
        rates: tuple[float, ...] = ()
        """Rates of the evaluations that run out of memory."""
        times: tuple[int, ...] = ()
        """Number of trials of each in which they do."""
        memory: str = "device"
        seconds: float = 0.5
        """Time that an evaluation takes beyond its training."""

    def space(self, units: Sequence[UnitLike]) -> Space:
        return Space({"rate": Real(1e-5, 1e-2, log=True)})

    def plan(self, sample: Sample, units: Sequence[UnitLike]) -> Plan:
        options, rate = self.options, sample["rate"]
        times = dict(zip(options.rates, options.times, strict=True))
        policy = options.model_dump(include={"folder", "memory", "seconds"})
        policy |= {"method": self.name, "rate": rate, "times": times.get(rate, 0)}
        return Plan((rate,) * len(units), policy=policy)

    def searcher(self, space: Space, search: SearchOptions) -> Proposals:
        optimiser = CMAMV(space, population_size=search.population, seed=search.seed)
        return Proposals(optimiser, space, budget=search.evaluations, reuse=True)

    @classmethod
    def policy(cls, options: Mapping[str, Any]) -> Policy:
        def run_out(epoch: int, tuner: Any) -> None:
            import torch

            if epoch > 1:
                return
            file = Path(options["folder"]) / repr(options["rate"])
            with file.open("a") as trials:
                trials.write(f"{time.time()}\n")
            time.sleep(options["seconds"])
            if len(file.read_text().splitlines()) <= options["times"]:
                if options["memory"] == "device":
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
                torch.empty(2**50)  # more than the machine has

        return run_out


METHODS = [Hungry]
