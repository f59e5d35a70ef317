"""The usual way: a Ray Tune function trainable with HyperOptSearch, and a DataLoader in each trial.

Each trial imports torch, builds the model, fills it with the pretrained weights, and opens a
DataLoader on the same images as the search in RUN_DIRECTORY, whose model, epochs, batches and
optimizer it takes; only the last epoch is validated, as there, with BatchNorm's running statistics,
which costs it less than precise ones. For `revo-continuous` it searches a rate for each unit, for
`last` one rate and a weight decay for the head, with the rest frozen. Prints one line of JSON:
seconds from the first trial's start, without Ray's own, to the end, and when each trial ended.

    python -m benchmarks.practice RUN_DIRECTORY EVALUATIONS WORKERS
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.search.hyperopt import HyperOptSearch

from revo_ray.rundir import RunDirectory
from revo_ray.settings.schema import SearchConfig


def train(config: dict[str, Any]) -> None:
    """One trial, from the imports to its only report."""
    import math

    import torch
    from torch.nn import functional
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    from revo_ray.data.table.image_table import Table, split_table
    from revo_ray.finetune.training.assemble import load_network

    search = SearchConfig.model_validate(config["search"])
    torch.set_num_threads(1)
    table = Table.open(Path(config["table"]))
    backbone, units = load_network(search.model, search.data, search.train, table)
    model = backbone.model
    splits = split_table(table, search.data)

    class Images(Dataset[Any]):
        """A split's images, normalised one by one, as torchvision's tutorials have it."""

        def __init__(self, positions: Any) -> None:
            self.positions = positions
            self.transform = transforms.Compose(
                [
                    transforms.ToPILImage(),
                    transforms.ToTensor(),
                    transforms.Normalize(backbone.mean, backbone.std),
                ]
            )

        def __len__(self) -> int:
            return len(self.positions)

        def __getitem__(self, number: int) -> Any:
            position = self.positions[number]
            image = table.images[position].transpose(1, 2, 0).copy()
            return self.transform(image), int(table.labels[position])

    loader = DataLoader(Images(splits.train), search.train.batch_size, shuffle=True)
    validation = DataLoader(Images(splits.validation), 256)
    parameters = dict(model.named_parameters())
    groups, frozen = [], []
    for unit in units:
        rate = config["rates"].get(unit.name)
        tensors = [parameters[name] for name in unit.parameters]
        if rate is None:
            frozen += [model.get_submodule(name) for name in unit.modules]
            for tensor in tensors:
                tensor.requires_grad_(False)
        else:
            groups.append({"params": tensors, "lr": rate})
    optimizer: torch.optim.Optimizer
    if search.train.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            groups, momentum=search.train.momentum, weight_decay=config["decay"]
        )
    else:
        optimizer = torch.optim.AdamW(groups, weight_decay=config["decay"])
    schedule = None
    if search.train.schedule == "cosine":
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, search.train.epochs * len(loader)
        )
    for _ in range(search.train.epochs):
        model.train()
        for module in frozen:
            module.eval()
        for images, labels in loader:
            loss = functional.cross_entropy(model(images), labels)
            if not math.isfinite(loss.item()):
                break
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
    model.eval()
    total = 0.0
    with torch.inference_mode():
        for images, labels in validation:
            total += functional.cross_entropy(model(images), labels, reduction="sum").item()
    mean = total / len(splits.validation) if math.isfinite(total) else 1e6
    tune.report({"loss": mean, "ended": time.time()})


def main() -> None:
    """Run the trials, and print the line."""
    run, evaluations, workers = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    directory = RunDirectory(str(run))
    recorded = directory.config()
    record = recorded.config.model_dump(mode="json")
    from revo_ray.data.table.image_table import Table

    table = next(
        path
        for path in (run.parent / ".tables").glob("*.arrow")
        if Table.open(path).sha256 == recorded.provenance["sha256"]["table"]
    )
    units = directory.best.card()["units"]
    space: dict[str, Any] = {"search": record, "table": str(table), "decay": 0.0}
    if record["method"]["name"] == "last":
        space["rates"] = {units[-1]: tune.loguniform(1e-5, 0.1)}
        space["decay"] = tune.loguniform(1e-6, 0.1)
    else:
        low, high = record["method"]["low"], record["method"]["high"]
        space["rates"] = {name: tune.loguniform(10.0**low, 10.0**high) for name in units}
    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0"}
    ray.init(address="local", include_dashboard=False, log_to_driver=False,
             logging_level=logging.ERROR)  # fmt: skip
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="revo-") as folder:
        began = time.perf_counter()
        results = tune.Tuner(
            tune.with_resources(train, {"cpu": 1}),
            param_space=space,
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                num_samples=evaluations,
                search_alg=HyperOptSearch(random_state_seed=0),
                max_concurrent_trials=workers,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
        seconds = time.perf_counter() - began
    if results.num_errors:
        raise SystemExit(f"{results.num_errors} trials failed: {results.errors[0]}")
    metrics = [results[number].metrics or {} for number in range(len(results))]
    line = {
        "seconds": seconds,
        "evaluations": len(metrics),
        "best": min(float(each["loss"]) for each in metrics),
        "ended": [each["ended"] for each in metrics],
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
