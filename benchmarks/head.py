"""Training a new head on a frozen network: features kept, against the network run each time.

The same training twice, turn by turn in one process: as `FineTuner` makes it under a plan in which
the head alone has a rate, and as a trial function usually does, with a `DataLoader` over the same
table, the frozen layers in eval mode and without gradients, and one validation at the end. Both
take the images in the same order, so that rounding alone sets their `losses` apart. The usual one
is spared what it would spend on imports, on building the network and on Ray. Prints one JSON line;
the ratio is the median over the turns, after a first evaluation that computes the features, which
is given by itself.

    python -m benchmarks.head [--epochs 10] [--turns 5]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from benchmarks.record import TRAINING, begin
from benchmarks.runs import loss_of
from revo_ray.data.table.image_table import Table, prepare_table, split_table
from revo_ray.finetune.network.backbone import Backbone
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.assemble import load_network, load_tuner
from revo_ray.settings.schema import SearchConfig

MEASURES = TRAINING
RATE = 0.01


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """Images of a split, normalised one by one, as a `DataLoader` takes them."""

    def __init__(self, table: Table, indices: list[int], backbone: Backbone) -> None:
        self._table, self._indices = table, indices
        self._mean = torch.tensor(backbone.mean).view(3, 1, 1)
        self._std = torch.tensor(backbone.std).view(3, 1, 1)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, at: int) -> tuple[torch.Tensor, int]:
        row = self._indices[at]
        image = torch.from_numpy(self._table.images[[row]])[0].float() / 255
        return (image - self._mean) / self._std, int(self._table.labels[row])


def usual(backbone: Backbone, train: Pictures, validation: Pictures, config: SearchConfig) -> float:
    """The validation loss of a training as it is usually written."""
    model = backbone.model.requires_grad_(False)
    assert isinstance(backbone.head, str)
    head = model.get_submodule(backbone.head).requires_grad_(True)
    start = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    optimizer = torch.optim.SGD(head.parameters(), lr=RATE)
    model.eval()  # the frozen norms; the network has no dropout that is on
    shuffler = torch.Generator().manual_seed(config.train.seed)
    for _ in range(config.train.epochs):
        order = torch.randperm(len(train), generator=shuffler)
        parts = [part.tolist() for part in order.split(config.train.batch_size)]
        for images, labels in DataLoader(train, batch_sampler=parts):
            optimizer.zero_grad()
            functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    losses = []
    with torch.no_grad():
        for images, labels in DataLoader(validation, 256):
            losses.append(functional.cross_entropy(model(images), labels, reduction="sum"))
    head.load_state_dict(start)
    return float(sum(losses)) / len(validation)


def main() -> None:
    """Measure, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="timm/tf_efficientnet_lite0")
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--turns", type=int, default=5)
    arguments, record = begin(parser, "head", MEASURES)
    torch.set_num_threads(1)
    config = SearchConfig.load(
        None,
        [
            f"model.name={arguments.model}",
            "model.weights=none",
            f"data.image_size={arguments.side}",
            f"train.epochs={arguments.epochs}",
            "train.optimizer=sgd",
            "train.schedule=constant",
        ],
    )
    pairs: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory(prefix="revo-") as folder:
        table = prepare_table(config.data, Path(folder))
        tuner = load_tuner(config.model, config.data, config.train, table.path)
        plan = Plan((0.0,) * (len(tuner.units) - 1) + (RATE,))
        backbone, _ = load_network(config.model, config.data, config.train, table)
        splits = split_table(table, config.data)
        train, validation = (
            Pictures(table, indices.tolist(), backbone)
            for indices in (splits.train, splits.validation)
        )
        began = time.perf_counter()
        *_, last = tuner.run(plan)
        first = time.perf_counter() - began
        for _ in range(arguments.turns):
            began = time.perf_counter()
            loss = usual(backbone, train, validation, config)
            middle = time.perf_counter()
            *_, last = tuner.run(plan)
            pairs.append((middle - began, time.perf_counter() - middle))
    line = {
        **vars(arguments),
        "train_images": len(train),
        "validation_images": len(validation),
        "usual_s": round(statistics.median(one for one, _ in pairs), 3),
        "kept_s": round(statistics.median(two for _, two in pairs), 4),
        "first_s": round(first, 3),
        "evaluations_an_hour": round(statistics.median(one / two for one, two in pairs), 1),
        "losses": [round(loss, 4), round(loss_of(last.validation), 4)],
    }
    record.finish(line, [config.train.seed])


if __name__ == "__main__":
    main()
