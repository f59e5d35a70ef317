"""Types of options that methods share, beside pydantic's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    ValidationInfo,
)
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
"""An option's two positive numbers, the lower one first."""


@dataclass(frozen=True)
class ByOptimizer:
    """Marks an option whose default follows `train.optimizer`; null, too, stands for it.

    AdamW's steps are about as long as the rate, whatever the gradient, so its rates end lower.

        high: Annotated[float, ByOptimizer(sgd=0, adamw=-1)] = Field(None, validate_default=True)

    The validation context's `train` is the `TrainConfig` in question; by default, the defaults.
    """

    sgd: Any
    adamw: Any

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


Exponent = Annotated[float, Field(ge=-12, le=4)]
"""Of ten: where rates lie on a log scale."""
Highest = Annotated[Exponent, ByOptimizer(sgd=0.0, adamw=-1.0)]
"""The exponent at which searched rates end: at 1 with SGD, at 0.1 with AdamW."""
