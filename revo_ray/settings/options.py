"""Option types that methods share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from revo_ray.settings.schema import TrainConfig


def _two(bounds: Any) -> Any:
    if not isinstance(bounds, list | tuple) or len(bounds) != 2:
        raise ValueError("give two numbers, the lower bound and the upper one")
    return bounds


def _rising(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] >= bounds[1]:
        raise ValueError("the lower bound must come first, and differ from the upper one")
    return bounds


Positive = Annotated[float, Field(gt=0)]
Bounds = Annotated[tuple[Positive, Positive], BeforeValidator(_two), AfterValidator(_rising)]
"""Two positive numbers, the lower bound first."""


@dataclass(frozen=True)
class ByOptimizer:
    """Marks an option whose default depends on `train.optimizer`. None stands for that default::

        lr: Annotated[float, ByOptimizer(sgd=0.1, adamw=1e-3)] = Field(None, validate_default=True)

    The key `train` of pydantic's validation context holds the `TrainConfig`. Without it, the
    default `TrainConfig` counts.
    """

    sgd: Any
    adamw: Any

    takes_null: ClassVar[bool] = True

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.with_info_before_validator_function(self._filled, handler(source))

    def __str__(self) -> str:
        return f"{self.adamw} with adamw, {self.sgd} with sgd"

    def _filled(self, value: Any, info: ValidationInfo) -> Any:
        if value is not None:
            return value
        train: TrainConfig = (info.context or {}).get("train") or TrainConfig()
        return getattr(self, train.optimizer)


LOWEST, HIGHEST = -6.0, 0.0
"""Exponents of the learning rates that all methods search by default, between 10^-6 and 1."""
Exponent = Annotated[float, Field(ge=-12, le=4)]
"""Exponent of ten that bounds learning rates on a log scale."""
