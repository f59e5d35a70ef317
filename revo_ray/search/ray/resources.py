"""Resources of an evaluation, and the number of evaluations that a cluster holds at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import ray
from ray import tune

from revo_ray.errors import UserError
from revo_ray.finetune.training.exhausted import Memory
from revo_ray.search.core.slots import slots
from revo_ray.search.ray.autoscaler import refuses


@dataclass(frozen=True)
class TrialResources:
    """Resources of an evaluation: CPUs, and GPUs or a fraction of one, of one machine.

    Attributes:
        grows: whether the cluster starts machines for evaluations that wait for one.
    """

    cpus: int
    gpus: float
    grows: bool = False

    @property
    def bundle(self) -> dict[str, float]:
        """The resources, as Ray counts them."""
        return {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})

    @property
    def request(self) -> tune.PlacementGroupFactory:
        """The resources, as Tune asks for them. Ray pins the trial to the GPUs that it grants."""
        return tune.PlacementGroupFactory([self.bundle])

    def alone(self, memory: Memory) -> TrialResources:
        """The resources of an evaluation that shares no memory with another one.

        Args:
            memory: a device's takes the whole GPU; a machine's takes all CPUs of the largest one.
        """
        if memory == "device":
            return replace(self, gpus=math.ceil(self.gpus))
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        most = max((int(node.get("CPU", 0)) for node in nodes if self._fits(node)), default=0)
        return replace(self, cpus=max(self.cpus, most))

    def slots(self, wanted: int = 0) -> int:
        """Number of evaluations that may be live: as many as the machines that are up hold at once.

        Args:
            wanted: least number if the cluster grows, since it grows only for evaluations that
                wait.
        """
        held = sum(self._fits(node["Resources"]) for node in ray.nodes() if node["Alive"])
        return max(held, wanted) if self.grows else held

    def check(self) -> str | None:
        """Refuse resources that no machine of the cluster could ever hold.

        Returns:
            A line about the wait for a machine; None if evaluations can begin.

        Raises:
            UserError: naming the resource and the most that one machine has.
        """
        if self.slots():
            return None
        if self.grows and not refuses(self.bundle):
            return f"no machine with {self} is up; waiting for the autoscaler to start one"
        where = "of the cluster, or that its autoscaler starts," if self.grows else "of the cluster"
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        for key, value, resource in (
            ("resources.cpus_per_trial", self.cpus, "CPU"),
            ("resources.gpus_per_trial", self.gpus, "GPU"),
        ):
            most = max((node.get(resource, 0) for node in nodes), default=0)
            if value > most and not self.grows:
                raise UserError(
                    f"is {value:g}, but no machine of the cluster has more than {most:g}", key=key
                )
        raise UserError(
            f"an evaluation needs {self} of one machine, and no machine {where} has them",
            key="resources",
        )

    def __str__(self) -> str:
        counts = ((self.cpus, "CPU"), (self.gpus, "GPU"))
        return " and ".join(f"{n:g} {what}{'s' * (n > 1)}" for n, what in counts if n)

    def _fits(self, resources: dict[str, float]) -> int:
        by_cpus = int(resources.get("CPU", 0) // self.cpus)
        if not self.gpus:
            return by_cpus
        return min(by_cpus, slots(resources.get("GPU", 0), self.gpus))
