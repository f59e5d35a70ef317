"""The fine-tunings of a finished search, again, in plain torch: no Ray, none of `FineTuner`.

What somebody would write who knows the plans and wants nothing but their losses: the images in
memory, one model, its pretrained weights put back before each plan, an optimizer with a rate for
each unit, validation after the last epoch. Depthwise convolutions of small images are `FineTuner`'s
(`finetune.training.depthwise`), or with a last argument `torch` torch's own. Prints `ready` when
all is loaded, waits for a line, and prints one line of JSON: the seconds of each fine-tuning, of
the clock and of computing, and its validation loss. It runs evaluations PART, PART + PARTS, … of
the ledger.

    python -m benchmarks.plain RUN_DIRECTORY PART PARTS [torch]
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.runs import rows_of
from revo_ray.data.table.image_table import Table, split_table
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.assemble import load_network
from revo_ray.finetune.training.depthwise import use_matrices
from revo_ray.finetune.training.feed import batches
from revo_ray.rundir import RunDirectory
from revo_ray.settings.schema import SearchConfig


class Plain:
    """A model and its images; fine-tunes under one plan after the other."""

    def __init__(self, config: SearchConfig, table: Table, convolutions: str = "own") -> None:
        self.train = config.train
        backbone, self.units = load_network(config.model, config.data, config.train, table)
        self.model = backbone.model
        if convolutions == "own":
            use_matrices(self.model)
        self.pretrained = {key: value.clone() for key, value in self.model.state_dict().items()}
        self.mean = torch.tensor(backbone.mean).view(1, 3, 1, 1)
        self.std = torch.tensor(backbone.std).view(1, 3, 1, 1)
        splits = split_table(table, config.data)
        self.images, self.labels = images_of(table, splits.train)
        self.val_images, self.val_labels = images_of(table, splits.validation)

    def logits(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) uint8 to logits (B, C)."""
        logits: Tensor = self.model((images.float() / 255 - self.mean) / self.std)
        return logits

    def fine_tune(self, plan: Plan) -> float:
        """The validation loss under a plan."""
        logits = self.logits_after(plan)
        return functional.cross_entropy(logits.double(), self.val_labels).item()

    def logits_after(self, plan: Plan) -> Tensor:
        """Logits (n, C) of the validation images after training under a plan."""
        self.model.load_state_dict(self.pretrained)
        optimizer, frozen = self.optimizer(plan)
        shuffler = torch.Generator().manual_seed(self.train.seed)
        size, epochs = self.train.batch_size, self.train.epochs
        count = len(self.labels)
        steps, step = epochs * len(batches(torch.arange(count), size)), 0
        for _ in range(epochs):
            self.model.train()
            for module in frozen:
                module.eval()
            for index in batches(torch.randperm(count, generator=shuffler), size):
                loss = functional.cross_entropy(self.logits(self.images[index]), self.labels[index])
                optimizer.zero_grad()
                loss.backward()
                if self.train.schedule == "cosine":
                    for group in optimizer.param_groups:
                        group["lr"] = group["initial"] * (1 + math.cos(math.pi * step / steps)) / 2
                optimizer.step()
                step += 1
        if self.train.batch_norm == "precise":
            self.take_statistics(frozen)
        self.model.eval()
        with torch.inference_mode():
            return torch.cat([self.logits(part) for part in self.val_images.split(256)])

    def take_statistics(self, frozen: list[torch.nn.Module]) -> None:
        """Give BatchNorm the statistics of all training images, in one batch."""
        self.model.eval()
        norms = [
            module
            for module in self.model.modules()
            if isinstance(module, torch.nn.BatchNorm2d) and module not in frozen
        ]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        with torch.no_grad():
            self.logits(self.images)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    def optimizer(self, plan: Plan) -> tuple[torch.optim.Optimizer, list[torch.nn.Module]]:
        """One or two groups for each unit that trains; and the modules of those that do not."""
        parameters = dict(self.model.named_parameters())
        groups: list[dict[str, Any]] = []
        frozen = []
        for unit, rate in zip(self.units, plan.unit_lrs, strict=True):
            tensors = [parameters[name] for name in unit.parameters]
            for tensor in tensors:
                tensor.requires_grad_(rate > 0)
            if rate > 0:
                vectors = [] if self.train.decay_all else [t for t in tensors if t.ndim <= 1]
                rest = [tensor for tensor in tensors if all(tensor is not v for v in vectors)]
                group = {"lr": rate, "initial": rate}
                groups.append(group | {"params": vectors, "weight_decay": 0.0})
                groups.append(group | {"params": rest, "weight_decay": plan.weight_decay})
            else:
                frozen += [self.model.get_submodule(name) for name in unit.modules]
        if self.train.optimizer == "sgd":
            return torch.optim.SGD(groups, momentum=self.train.momentum), frozen
        return torch.optim.AdamW(groups, fused=True), frozen


def images_of(table: Table, positions: Any) -> tuple[Tensor, Tensor]:
    """A split's images (n, 3, S, S) uint8 and labels (n,), in memory."""
    images = torch.from_numpy(table.images[positions].copy())
    return images, torch.from_numpy(table.labels[positions]).long()


def recorded(run: Path) -> tuple[SearchConfig, Table]:
    """The configuration of a finished search, and its images."""
    record = RunDirectory(str(run)).config()
    tables = [Table.open(path) for path in (run.parent / ".tables").glob("*.arrow")]
    wanted = record.provenance["sha256"]["table"]
    return record.config, next(table for table in tables if table.sha256 == wanted)


def main() -> None:
    """Load, wait, run, and print the line."""
    run, part, parts = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    convolutions = sys.argv[4] if len(sys.argv) > 4 else "own"
    torch.set_num_threads(1)
    plain = Plain(*recorded(run), convolutions)
    rows = [row for row in rows_of(run)[part::parts] if row.status == "ok"]
    print("ready", flush=True)
    sys.stdin.readline()
    done = []
    for row in rows:
        began, computed = time.perf_counter(), time.process_time()
        loss = plain.fine_tune(Plan.from_json(row.whole_plan))
        seconds, cpu = time.perf_counter() - began, time.process_time() - computed
        done.append({"evaluation": row.evaluation, "seconds": seconds, "cpu": cpu, "loss": loss})
    print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
