"""Measures one training step on this machine's CPU, and ways to make it cheaper.

Everything that is compared runs in one process, turn by turn: a ratio is the median over the turns,
each of which is paired with the plain step beside it. The plain step is fp32, contiguous, and
torch's optimizers as they come, with a rate of its own for each layer. `matrices` is the other way
through depthwise convolutions of small images (`finetune.training.depthwise`). Validation is a
forward pass of 128 images.

`update_by_rates` has the cost of an update by the number of different rates, on EfficientNet-Lite1:
torch's fused optimizer with a group for each rate, and `LayerwiseOptimizer`, each over its own cost
at one rate (`growth`), and ours over torch's (`ours_over_torch`). Prints one JSON line.

    python -m benchmarks.step [--model timm/tf_efficientnet_lite0] [--side 32] [--batch 16]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.record import begin
from revo_ray.finetune.network.backbone import load_backbone
from revo_ray.finetune.network.units import find_units
from revo_ray.finetune.training.depthwise import use_matrices
from revo_ray.finetune.training.layerwise import LayerwiseOptimizer

MEASURES = (
    "revo_ray/finetune/network",
    "revo_ray/finetune/training/depthwise.py",
    "revo_ray/finetune/training/layerwise.py",
)
CLASSES = 10
RATES = (1, 10, 54, 160)


class Step:
    """One way of making a step, with a model of its own."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        *,
        optimizer: str = "adamw",
        options: dict[str, Any] | None = None,
        frozen: float = 0.0,
        matrices: bool = False,
        channels_last: bool = False,
        bf16: bool = False,
    ) -> None:
        backbone = load_backbone(arguments.model, "none", CLASSES, image_size=arguments.side)
        units = find_units(backbone.model, "layer", backbone.head)
        self.model: nn.Module = backbone.model.train()
        self.x = torch.rand(arguments.batch, 3, arguments.side, arguments.side)
        self.labels = torch.arange(arguments.batch) % CLASSES
        self.bf16 = bf16
        if matrices:
            use_matrices(self.model)
        if channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.x = self.x.contiguous(memory_format=torch.channels_last)
        self.images = self.x.repeat(-(-128 // arguments.batch), 1, 1, 1)[:128]
        parameters = dict(self.model.named_parameters())
        first = round(frozen * len(units))
        groups: list[dict[str, Any]] = []
        for number, unit in enumerate(units):
            own = [parameters[name].requires_grad_(number >= first) for name in unit.parameters]
            if number >= first:
                groups.append({"params": own, "lr": 1e-5 * (1 + number / len(units))})
            else:
                for name in unit.modules:
                    self.model.get_submodule(name).training = False
        kind = torch.optim.SGD if optimizer == "sgd" else torch.optim.AdamW
        self.optimizer: torch.optim.Optimizer = kind(groups, **(options or {}))

    def forward(self) -> torch.Tensor:
        """The loss."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            logits = self.model(self.x)
        return functional.cross_entropy(logits.float(), self.labels)

    def whole(self) -> None:
        """A whole step."""
        self.optimizer.zero_grad(set_to_none=True)
        self.forward().backward()
        self.optimizer.step()

    def update(self) -> None:
        """The optimizer alone; the gradients of the last backward pass are still there."""
        self.optimizer.step()

    def validate(self) -> None:
        """A forward pass of 128 images without gradients."""
        self.model.eval()
        with torch.inference_mode():
            self.model(self.images)
        self.model.train()


def measure(ways: dict[str, Callable[[], None]], turns: int) -> dict[str, list[float]]:
    """Seconds of each way in each turn."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 2):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if turn >= 2:  # the first ones allocate
                seconds[name].append(time.perf_counter() - began)
    return seconds


def ratio(seconds: dict[str, list[float]], name: str, plain: str) -> float:
    """Median of a way's time over the plain one's in the same turn."""
    pairs = zip(seconds[name], seconds[plain], strict=True)
    return round(statistics.median(one / other for one, other in pairs), 3)


def updates_by_rates(kind: Any, turns: int) -> dict[str, Any]:
    """The cost of an update by the number of different rates, torch's and ours."""
    model = load_backbone("timm/tf_efficientnet_lite1", "none", CLASSES).model
    own = list(model.parameters())
    for parameter in own:
        parameter.grad = torch.randn_like(parameter) / 1000
    ways: dict[str, Callable[[], None]] = {}
    for count in RATES:
        rates = [1e-6 * (1 + number * count // len(own)) for number in range(len(own))]
        groups: dict[float, list[nn.Parameter]] = {}
        for parameter, rate in zip(own, rates, strict=True):
            groups.setdefault(rate, []).append(parameter)
        every = [{"params": group, "lr": rate} for rate, group in groups.items()]
        theirs: torch.optim.Optimizer = (
            torch.optim.SGD(every, momentum=0.9, weight_decay=0.01, fused=True)
            if kind == "sgd"
            else torch.optim.AdamW(every, weight_decay=0.01, fused=True)
        )
        ours = LayerwiseOptimizer(
            *(own, rates, [0.01] * len(own)), kind=kind, factor=lambda _: 1.0, momentum=0.9
        )
        ways |= {f"torch {count}": theirs.step, f"ours {count}": ours.step}
    seconds = measure(ways, turns)
    return {
        "growth": {
            name: {count: ratio(seconds, f"{name} {count}", f"{name} 1") for count in RATES}
            for name in ("torch", "ours")
        },
        "ours_over_torch": {
            count: ratio(seconds, f"ours {count}", f"torch {count}") for count in RATES
        },
    }


def main() -> None:
    """Measure, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="timm/tf_efficientnet_lite0")
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    arguments, record = begin(parser, "step", MEASURES)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    steps = {
        "adamw": Step(arguments),
        "adamw_fused": Step(arguments, options={"fused": True}),
        "adamw_foreach": Step(arguments, options={"foreach": True}),
        "sgd": Step(arguments, optimizer="sgd"),
        "sgd_fused": Step(arguments, optimizer="sgd", options={"fused": True}),
        "half_frozen": Step(arguments, frozen=0.5),
        "matrices": Step(arguments, matrices=True),
        "channels_last": Step(arguments, channels_last=True),
        "matrices_channels_last": Step(arguments, matrices=True, channels_last=True),
        "bf16": Step(arguments, bf16=True),
    }
    whole = measure({name: step.whole for name, step in steps.items()}, arguments.turns)
    updates = {name: step.update for name, step in steps.items() if name[:3] in ("ada", "sgd")}
    update = measure(updates, arguments.turns)
    ways = ("adamw", "matrices", "channels_last", "matrices_channels_last")
    forward = measure({name: steps[name].validate for name in ways}, arguments.turns)
    line: dict[str, Any] = {
        **vars(arguments),
        "plain_ms": round(1000 * statistics.median(whole["adamw"]), 1),
        "optimizer_share": {
            name: round(statistics.median(update[name]) / statistics.median(whole[name]), 3)
            for name in ("adamw", "sgd")
        },
        "update_over_plain": {
            "adamw_fused": ratio(update, "adamw_fused", "adamw"),
            "adamw_foreach": ratio(update, "adamw_foreach", "adamw"),
            "sgd_fused": ratio(update, "sgd_fused", "sgd"),
        },
        "step_over_plain": {
            name: ratio(whole, name, "sgd" if name.startswith("sgd_") else "adamw")
            for name in steps
            if name not in ("adamw", "sgd")
        },
        "validation_over_plain": {name: ratio(forward, name, "adamw") for name in ways[1:]},
        "update_by_rates": {
            kind: updates_by_rates(kind, arguments.turns) for kind in ("adamw", "sgd")
        },
    }
    record.finish(line, [0])


if __name__ == "__main__":
    main()
