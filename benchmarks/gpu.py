"""Measures a GPU: one evaluation, and several beside one another.

On synthetic images, without Ray: evaluations beside one another are processes of
`torch.multiprocessing`, each with a CUDA context of its own. Prints one JSON line with the device's
name. Every figure is from one run on one device:

- `images_per_second`: of one evaluation (`FineTuner`), of a plain torch loop over the same batches
  already on the device, and the device's limit: the same steps on one batch over and over, with
  the kernels that are fastest here. An evaluation is held to repeatable kernels, has a rate for
  each layer, and validates; all of that is in its figure.
- `trials_per_minute`: with 1, 2, 4 and 8 processes on the GPU.
- `search_hours`: of 100 evaluations on 600 and on 6,000 images of 224 pixels, from measured
  evaluations; beside the paper's 6 hours.

    python -m benchmarks.gpu             # some minutes; without a GPU it says so and exits 2
    python -m benchmarks.gpu --smoke     # the same program, tiny, on any machine: no figures
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import multiprocessing
from torch.nn import functional

from benchmarks.record import TRAINING, begin
from revo_ray.data.splits.split import Splits
from revo_ray.data.table.image_table import Table
from revo_ray.data.table.images import Images
from revo_ray.finetune.network.backbone import load_backbone
from revo_ray.finetune.network.units import find_units
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.settings.schema import TrainConfig

MEASURES = TRAINING
CLASSES = 7
PAPER_HOURS = 6.0


@dataclass(frozen=True)
class Size:
    """Sizes of the measurement."""

    model: str = "torchvision/resnet18"
    sides: tuple[int, ...] = (64, 224)
    batch: int = 32
    epochs: int = 10
    images: int = 600
    searches: tuple[int, ...] = (600, 6000)
    search_side: int = 224
    processes: tuple[int, ...] = (1, 2, 4, 8)
    precisions: tuple[str, ...] = field(default=("fp32", "bf16"))


SMOKE = Size(
    model="timm/test_resnet",
    sides=(32,),
    batch=8,
    epochs=2,
    images=16,
    searches=(16,),
    search_side=32,
    processes=(2,),
    precisions=("fp32",),
)


def make_tuner(
    size: Size, side: int, images: int, device: str, precision: str = "fp32"
) -> FineTuner:
    """A network and so many training images, a third as many to validate; the same each time."""
    rng = np.random.default_rng(0)
    count = images + images // 3
    pixels = rng.integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    labels = np.arange(count) % CLASSES
    table = Table(Path("none"), Images([pixels], side), labels, tuple("abcdefg"), pa.table({}))
    order = rng.permutation(count)
    splits = Splits(np.sort(order[:images]), np.sort(order[images:]), np.sort(order[images:]))
    backbone = load_backbone(size.model, "none", CLASSES)
    units = find_units(backbone.model, "layer", backbone.head)
    train = TrainConfig(
        epochs=size.epochs,
        batch_size=size.batch,
        optimizer="sgd",  # as the plain loops that it is compared with
        batch_norm="running",
        precision=precision,  # type: ignore[arg-type]
    )
    return FineTuner(backbone, units, table, splits, train, device=device)


def make_plan(tuner: FineTuner, seed: int = 0) -> Plan:
    """Every unit at a rate of its own, small enough to be stable."""
    rates = 10 ** np.random.default_rng(seed).uniform(-5, -3, len(tuner.units))
    return Plan(tuple(float(rate) for rate in rates))


def wait(device: str) -> float:
    """The time when all that was asked of the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def evaluate(tuner: FineTuner, device: str, repeats: int = 1) -> float:
    """Seconds of an evaluation, after one that warms up."""
    list(tuner.run(make_plan(tuner)))
    began = wait(device)
    for number in range(repeats):
        list(tuner.run(make_plan(tuner, number)))
    return (wait(device) - began) / repeats


def plain(size: Size, side: int, device: str, precision: str, *, limit: bool) -> float:
    """Images a second of a plain loop: SGD at one rate; at the limit, always the same batch."""
    # As a loop that does not care for repeatability would run.
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = limit
    torch.manual_seed(0)
    model = load_backbone(size.model, "none", CLASSES).model.to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    images = torch.rand(size.images, 3, side, side).to(device)
    labels = (torch.arange(size.images) % CLASSES).to(device)

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            logits = model(x)
        functional.cross_entropy(logits.float(), y).backward()
        optimizer.step()

    def epoch() -> None:
        order = torch.randperm(size.images).to(device)
        for index in order.split(size.batch):
            if limit:
                step(images[: len(index)], labels[: len(index)])
            else:
                step(images[index], labels[index])

    epoch()
    began = wait(device)
    for _ in range(size.epochs):
        epoch()
    seconds = wait(device) - began
    torch.backends.cudnn.benchmark = False
    return size.epochs * size.images / seconds


def worker(
    size: Size, side: int, device: str, ready: Any, go: Any, queue: Any, repeats: int
) -> None:
    """One process of those that share the device: warm up, wait for the others, go."""
    torch.set_num_threads(1)
    tuner = make_tuner(size, side, size.images, device)
    list(tuner.run(make_plan(tuner)))
    wait(device)
    ready.release()
    go.wait()
    for number in range(repeats):
        list(tuner.run(make_plan(tuner, number)))
    queue.put(wait(device))


def beside(size: Size, side: int, device: str, count: int, repeats: int = 3) -> float:
    """Trials a minute of so many processes."""
    context = multiprocessing.get_context("spawn")
    ready, go, queue = context.Semaphore(0), context.Event(), context.Queue()
    arguments = (size, side, device, ready, go, queue, repeats)
    processes = [context.Process(target=worker, args=arguments) for _ in range(count)]
    for process in processes:
        process.start()
    for _ in processes:
        # A worker that died would be waited for in vain.
        while not ready.acquire(timeout=5):
            if any(process.exitcode for process in processes):
                go.set()
                raise RuntimeError(f"one of {count} processes on the device died")
    began = time.perf_counter()
    go.set()
    for process in processes:
        process.join()
        if process.exitcode:
            raise RuntimeError(f"one of {count} processes on the device died")
    ended = max(queue.get() for _ in processes)  # of one clock: they run on one machine
    return 60 * count * repeats / (ended - began)


def attempt(way: Any, *arguments: Any) -> float | str:
    """A figure; or why there is none, such as a device's memory that does not suffice."""
    try:
        return round(way(*arguments), 1)
    except (RuntimeError, MemoryError) as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def measure(size: Size, device: str) -> dict[str, Any]:
    """All of the figures."""
    line: dict[str, Any] = {"images_per_second": {}, "trials_per_minute": {}, "search_hours": {}}
    for side in size.sides:
        for precision in size.precisions:
            tuner = make_tuner(size, side, size.images, device, precision)
            seconds = evaluate(tuner, device)
            line["images_per_second"][f"{side}px_{precision}"] = {
                "evaluation": round(size.epochs * size.images / seconds, 1),
                "plain_loop": round(plain(size, side, device, precision, limit=False), 1),
                "limit": round(plain(size, side, device, precision, limit=True), 1),
            }
            del tuner
        line["trials_per_minute"][f"{side}px"] = {
            "processes": {n: attempt(beside, size, side, device, n) for n in size.processes},
        }
    for images in size.searches:
        tuner = make_tuner(size, size.search_side, images, device)
        hours = 100 * evaluate(tuner, device) / 3600
        line["search_hours"][images] = {"ours": round(hours, 3), "paper": PAPER_HOURS}
    return line


def main() -> None:
    """Measure, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="tiny, on any machine")
    arguments, record = begin(parser, "gpu", MEASURES)
    smoke = arguments.smoke
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not smoke:
        print("benchmarks.gpu: no CUDA device here; --smoke tries the program on the CPU",
              file=sys.stderr)  # fmt: skip
        sys.exit(2)
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    line = {"device": name, "smoke": smoke, "torch": torch.__version__}
    record.finish(line | measure(SMOKE if smoke else Size(), device), [0])


if __name__ == "__main__":
    main()
