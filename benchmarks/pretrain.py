"""A small network pretrained on Fashion-MNIST, for studies with many seeds on a few cores.

timm's `test_byobnet` (0.2 million parameters, 23 units) learns 56,000 training images of
Fashion-MNIST at 16 pixels, and is tested on the 10,000 that its authors set aside. `FOLDER` gets
the weights, which `model.weights` takes, and the image table, which may be deleted. Prints one
JSON line. On one kind of CPU the weights are always the same.

    sudo apt install dataset-fashion-mnist
    python -m benchmarks.pretrain FOLDER [--epochs 6] [--model test_byobnet] [--root PATH]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from benchmarks.plain import images_of
from benchmarks.record import begin
from revo_ray.data.table.image_table import prepare_table, split_table
from revo_ray.settings.schema import DataConfig

MEASURES = ("revo_ray/data", "benchmarks/plain.py")
BATCH = 128
LR, WEIGHT_DECAY = 3e-3, 0.05


def main() -> None:
    """Train, test, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="test_byobnet")
    parser.add_argument("--image-size", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--root", help="where Fashion-MNIST lies; Debian's package needs none")
    arguments, record = begin(parser, "pretrain", MEASURES)
    torch.set_num_threads(1)  # more threads round differently
    torch.manual_seed(0)
    data = DataConfig(
        source="fashion-mnist",
        root=arguments.root,
        image_size=arguments.image_size,
        train_fraction=0.8,
        validation_fraction=0.03,
        test_fraction=0.1,
    )
    table = prepare_table(data, arguments.folder)
    splits = split_table(table, data)
    images, labels = images_of(table, splits.train)
    test_images, test_labels = images_of(table, splits.test)
    model = timm.create_model(arguments.model, num_classes=len(table.classes))
    known: Any = model.default_cfg
    mean, std = (torch.tensor(known[key]).view(1, 3, 1, 1) for key in ("mean", "std"))

    def logits(batch: Tensor) -> Tensor:
        found: Tensor = model((batch.float() / 255 - mean) / std)
        return found

    optimizer = torch.optim.AdamW(model.parameters(), LR, weight_decay=WEIGHT_DECAY, fused=True)
    steps = arguments.epochs * (len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps, pct_start=0.15)
    began = time.perf_counter()
    for _ in range(arguments.epochs):
        model.train()
        for index in torch.randperm(len(labels)).split(BATCH)[: len(labels) // BATCH]:
            loss = functional.cross_entropy(logits(images[index]), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.inference_mode():
        found = torch.cat([logits(part) for part in test_images.split(500)]).argmax(1)
    accuracy = (found == test_labels).double().mean().item()
    file = arguments.folder / f"fashion_{arguments.model}.safetensors"
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, file)
    line = {
        "weights": str(file),
        "images": len(labels),
        "test_images": len(test_labels),
        "test_accuracy": round(accuracy, 4),
        "seconds": round(time.perf_counter() - began, 1),
    }
    record.finish(line, [0])


if __name__ == "__main__":
    main()
