"""The parts of `benchmarks.gpu`: each yields its figures one after the other."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import timm  # noqa: F401  # here, since every part and process is a fork of this one
import torch
from torch import Tensor
from torch.nn import functional

from revo_ray.data.splits.split import Splits
from revo_ray.data.table.image_table import Table
from revo_ray.data.table.images import Images
from revo_ray.finetune.network.backbone import load_backbone
from revo_ray.finetune.network.units import find_units
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.augment import Kind
from revo_ray.finetune.training.feed import Feed
from revo_ray.finetune.training.numerics import numerics
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.settings.schema import TrainConfig

Figures = Iterator[dict[str, Any]]

CLASSES = 7
SWITCHES: dict[str, dict[str, Any]] = {
    "fp32": {},
    "tf32": {"precision": "tf32"},
    "bf16": {"precision": "bf16"},
    "fp32 channels last": {"layout": torch.channels_last},
    "tf32 channels last": {"precision": "tf32", "layout": torch.channels_last},
    "bf16 channels last": {"precision": "bf16", "layout": torch.channels_last},
    "fp32 graphs": {"cuda_graphs": True},
    "tf32 graphs": {"precision": "tf32", "cuda_graphs": True},
    "bf16 channels last graphs": {
        **{"precision": "bf16", "layout": torch.channels_last, "cuda_graphs": True}
    },
}
PAPER_HOURS = 6.0


@dataclass(frozen=True)
class Size:
    """Sizes of the measurements."""

    model: str = "torchvision/resnet18"
    networks: tuple[str, ...] = (
        *("torchvision/resnet18", "torchvision/mobilenet_v3_small"),
        *("timm/tf_efficientnet_lite0", "timm/vit_tiny_patch16_224"),
    )
    side: int = 224
    batch: int = 32
    epochs: int = 10
    images: int = 600
    searches: tuple[int, ...] = (600, 6000)
    processes: tuple[int, ...] = (1, 2, 3, 4)


def sizes(device: str) -> Size:
    """The sizes of a GPU; of a CPU tiny ones, which try the program with one thread."""
    if device == "cuda":
        return Size()
    torch.set_num_threads(1)
    return Size(
        model="timm/test_resnet",
        networks=("timm/test_resnet", "timm/test_vit"),
        **{"side": 32, "batch": 8, "epochs": 2, "images": 16},
        searches=(16,),
        processes=(2,),
    )


def make_tuner(
    size: Size,
    device: str,
    *,
    layout: torch.memory_format | None = torch.contiguous_format,
    resident: bool = True,
    **options: Any,
) -> FineTuner:
    """A network and so many training images, a third as many to validate; the same each time."""
    rng = np.random.default_rng(0)
    count = size.images + size.images // 3
    pixels = rng.integers(0, 256, (count, 3, size.side, size.side), dtype=np.uint8)
    labels = np.arange(count) % CLASSES
    table = Table(Path("none"), Images([pixels], size.side), labels, tuple("abcdefg"), pa.table({}))
    order = rng.permutation(count)
    train, validation = np.sort(order[: size.images]), np.sort(order[size.images :])
    backbone = load_backbone(size.model, "none", CLASSES, image_size=size.side)
    # SGD and running statistics, as the plain loop that is the limit.
    usual = {"optimizer": "sgd", "batch_norm": "running", "cache_mb": 0}
    train_config = TrainConfig(
        **{"epochs": size.epochs, "batch_size": size.batch, **usual, **options}
    )
    units = find_units(backbone.model, "layer", backbone.head)
    splits = Splits(train, validation, validation)
    tuner = FineTuner(backbone, units, table, splits, train_config, device=device, layout=layout)
    if not resident:
        tuner.feeds["train"] = Feed(table, train, tuner.device, resident=False)
    return tuner


def make_plan(tuner: FineTuner, seed: int = 0) -> Plan:
    """Every unit at a rate of its own, small enough to be stable."""
    rates = 10 ** np.random.default_rng(seed).uniform(-5, -3, len(tuner.units))
    return Plan(tuple(float(rate) for rate in rates))


def now(device: str) -> float:
    """The time when all that was asked of the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def evaluate(tuner: FineTuner, device: str) -> float:
    """Seconds of an evaluation, after one that warms up."""
    list(tuner.run(make_plan(tuner)))
    began = now(device)
    list(tuner.run(make_plan(tuner, 1)))
    return now(device) - began


def name(size: Size, device: str) -> Figures:
    """The name of the device; none if there is no such device."""
    if torch.cuda._is_in_bad_fork():
        raise RuntimeError("CUDA began before this process was forked")
    if device == "cpu":
        yield {"name": "cpu"}
    elif torch.cuda.is_available():
        yield {"name": torch.cuda.get_device_name()}


def determinism(size: Size, device: str) -> Figures:
    """Whether two runs of one plan agree in every bit, after another plan and in a new tuner."""
    size = replace(size, images=min(size.images, 64), epochs=2)
    for network in size.networks:
        own = replace(size, model=network)
        yield {"networks": {network: {"equal": _agrees(own, device)}}}


def _agrees(size: Size, device: str) -> bool:
    tuner = make_tuner(size, device, layout=None)
    runs: list[tuple[float | None, Tensor, dict[str, Tensor]]] = []
    for each in (tuner, tuner, make_tuner(size, device, layout=None)):
        *_, last = each.run(make_plan(each))
        assert last.logits is not None
        runs.append((last.train_loss, last.logits.cpu(), each.state_dict()))
        list(each.run(make_plan(each, 1)))
    (loss, logits, state), *others = runs
    return all(
        loss == other_loss
        and torch.equal(logits, other_logits)
        and all(torch.equal(state[name], other_state[name]) for name in state)
        for other_loss, other_logits, other_state in others
    )


def switches(size: Size, device: str) -> Figures:
    """Images a second of training by each switch, and the share of what the device can do."""
    size = replace(size, epochs=min(size.epochs, 5))
    for name, options in SWITCHES.items():
        if options.get("cuda_graphs") and device != "cuda":
            yield {"images_per_second": {name: "skipped: needs a CUDA device"}}
            continue
        tuner = make_tuner(size, device, **options)
        found = training(size, tuner)
        if options.get("cuda_graphs") and not tuner._graphs.active:
            yield {"images_per_second": {name: "skipped: no graph is exact here"}}
            continue
        limit = plain(size, device, options.get("precision", "fp32"), options.get("layout"))
        share = round(found / limit, 3)
        yield {"images_per_second": {name: {"ours": found, "limit": limit, "share": share}}}


def training(size: Size, tuner: FineTuner) -> float:
    """Images a second of the steps alone, without validation."""
    seconds = []
    for epoch in tuner.run(make_plan(tuner)):
        seconds.append(epoch.seconds)  # it ends with a loss that was read, so the device is done
    # The first epoch warms up; the last one validates.
    steady = [after - before for before, after in pairwise(seconds[:-1])]
    return round(size.images / statistics.median(steady or [seconds[0]]), 1)


def plain(
    size: Size, device: str, precision: str, layout: torch.memory_format | None = None
) -> float:
    """Images a second of plain torch: SGD at one rate, always on the same batch."""
    torch.backends.cudnn.benchmark = True
    model = load_backbone(size.model, "none", CLASSES).model.to(device).train()
    order = layout or torch.contiguous_format
    model = model.to(memory_format=order)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, fused=True)
    images = torch.rand(size.batch, 3, size.side, size.side, device=device)
    images = images.contiguous(memory_format=order)
    labels = torch.arange(size.batch, device=device) % CLASSES
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"

    def steps(count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
                logits = model(images)
            functional.cross_entropy(logits.float(), labels).backward()
            optimizer.step()

    count = max(3, 2 * size.images // size.batch)
    steps(count)
    began = now(device)
    steps(count)
    seconds = now(device) - began
    torch.backends.cudnn.benchmark = False
    return round(count * size.batch / seconds, 1)


def evaluation(size: Size, device: str) -> Figures:
    """Seconds of an evaluation, split, and the hours of 100."""
    for images in size.searches:
        own = replace(size, images=images)
        tuner = make_tuner(own, device)
        whole = evaluate(tuner, device)
        hours = {"100 evaluations": round(100 * whole / 3600, 3), "paper": PAPER_HOURS}
        yield {"images": {str(images): {"evaluation": round(whole, 3), "hours": hours}}}
        yield {"images": {str(images): {"split": split(own, tuner, device)}}}


def split(size: Size, tuner: FineTuner, device: str, steps: int = 20) -> dict[str, float]:
    """Seconds of each part of an evaluation, each waited for: more in sum than the whole."""
    tuner.begin(make_plan(tuner).unit_lrs)
    parts = tuner.batches
    names = ("feed", "forward", "backward", "step")
    taken: dict[str, list[float]] = {name: [] for name in names}
    optimizer = tuner._optimizer
    assert optimizer is not None
    with numerics(tuner.device, tuner.train.precision):
        for part in (parts * steps)[:steps]:
            optimizer.zero_grad()
            marks = [now(device)]
            batch = tuner._batch(part)
            marks.append(now(device))
            loss = tuner._loss_of_batch(*batch)
            marks.append(now(device))
            loss.backward()
            marks.append(now(device))
            optimizer.step()
            marks.append(now(device))
            for name, begin, end in zip(names, marks[:-1], marks[1:], strict=True):
                taken[name].append(end - begin)
    every = len(parts) * size.epochs
    found = {name: round(every * statistics.median(each), 3) for name, each in taken.items()}
    tuner.predict("validation")
    began = now(device)
    tuner.predict("validation")
    return found | {"validation": round(now(device) - began, 3)}


def processes(size: Size, device: str) -> Figures:
    """Images a second in total, by the number of processes on the device."""
    for count in size.processes:
        try:
            found: float | str = beside(replace(size, epochs=3), device, count)
        except RuntimeError as error:
            found = str(error)
        yield {"images_per_second": {str(count): found}}


def worker(size: Size, device: str, ready: Any, go: Any, ended: Any, repeats: int) -> None:
    """One process of those that share the device: warm up, wait for the others, go."""
    torch.set_num_threads(1)
    tuner = make_tuner(size, device)
    list(tuner.run(make_plan(tuner)))
    now(device)
    ready.release()
    go.wait()
    for number in range(repeats):
        list(tuner.run(make_plan(tuner, number)))
    ended.put(now(device))


def beside(size: Size, device: str, count: int, repeats: int = 3) -> float:
    """Images a second of so many processes."""
    context = multiprocessing.get_context("fork")  # CUDA has not begun in this part
    ready, go, ended = context.Semaphore(0), context.Event(), context.Queue()
    arguments = (size, device, ready, go, ended, repeats)
    workers = [context.Process(target=worker, args=arguments, daemon=True) for _ in range(count)]
    for process in workers:
        process.start()
    died = f"one of {count} processes on the device died"
    for _ in workers:
        # A worker that died would be waited for in vain.
        while not ready.acquire(timeout=1):
            if any(process.exitcode for process in workers):
                for process in workers:
                    process.kill()
                raise RuntimeError(died)
    began = time.perf_counter()
    go.set()
    for process in workers:
        process.join()
        if process.exitcode:
            raise RuntimeError(died)
    last = max(ended.get() for _ in workers)  # of one clock: they run on one machine
    return round(count * repeats * size.epochs * size.images / (last - began), 1)


def feeds(size: Size, device: str) -> Figures:
    """Images a second from the device's memory and from the host's, and with each augmentation."""
    size = replace(size, epochs=3)
    if device == "cuda":
        for name, resident in (("resident", True), ("streamed", False)):
            tuner = make_tuner(size, device, resident=resident)
            yield {"images_per_second": {name: training(size, tuner)}}
    else:
        yield {"images_per_second": {"streamed": "skipped: needs a CUDA device"}}
    for kind in Kind.__args__:  # type: ignore[attr-defined]
        tuner = make_tuner(size, device, augment=kind)
        yield {"images_per_second": {kind: training(size, tuner)}}
    tuner = make_tuner(size, device, mixup=0.2, cutmix=1.0)
    yield {"images_per_second": {"mixup and cutmix": training(size, tuner)}}


def failures(size: Size, device: str) -> Figures:
    """Whether the run after a failure is the run before it."""
    size = replace(size, images=min(size.images, 64), epochs=1)
    tuner = make_tuner(size, device)

    def loss(rate: float = 1e-3) -> tuple[float | None, bool]:
        *_, last = tuner.run(Plan((rate,) * len(tuner.units)))
        return last.validation.loss, last.diverged

    before = loss()
    wild = loss(1e6)
    yield {"not finite": {"diverged": wild[1], "next run equal": loss() == before}}
    if device != "cuda":
        yield {"out of memory": "skipped: needs a CUDA device"}
        return
    raised = _without_memory(loss)
    yield {"out of memory": {"raised": raised, "next run equal": loss() == before}}


def _without_memory(run: Callable[[], object]) -> str | None:
    """The name of the exception that a run ends with when the device has no memory left."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.0)
    try:
        run()
    except torch.OutOfMemoryError as error:
        return type(error).__name__
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    return None


PARTS: dict[str, Callable[[Size, str], Figures]] = {
    part.__name__: part
    for part in (name, determinism, switches, evaluation, processes, feeds, failures)
}
