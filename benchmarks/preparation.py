"""Preparing a table of JPEG images against a plain loop of Pillow's decode and resize.

Writes JPEG files of 600 × 450 pixels, cut at random from scikit-learn's two photographs. On one
part of them after the other it times, in turn, each in a process of its own on the same cores: the
loop with one thread; the loop when it too decodes at a reduced scale (`Image.draft`); and
`prepare_table`, with and without that. The speeds are medians over the parts, so a machine that is
busy for a while does not decide them. Then it prepares all images at once for the peak of memory,
and times opening that table, and one batch of it beside a training step.

It also counts how often `inspect` and a preparation together read each file, times a preparation
that goes on from half of the images, finds near-duplicates among a number of hashes of such cuts
and among ten times as many, and prepares a number of images of 24 × 24 pixels and ten times as
many for the peak of memory. Prints one JSON line.

    python -m benchmarks.preparation [--images 10000] [--parts 10] [--size 64] [--hashes 20000]
                                     [--small 10000]
"""

from __future__ import annotations

import argparse
import io
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from benchmarks.record import begin

MEASURES = ("revo_ray/data", "revo_ray/finetune/training/feed.py")
WIDTH, HEIGHT = 600, 450
BATCH = 32


def main() -> None:
    """Measure, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--parts", type=int, default=10)
    parser.add_argument("--hashes", type=int, default=20_000)
    parser.add_argument("--small", type=int, default=10_000)
    arguments, record = begin(parser, "preparation", MEASURES)
    with tempfile.TemporaryDirectory(prefix="revo-") as name:
        folder = Path(name)
        images = folder / "images"
        written = alone(write_images, images, arguments.images, arguments.parts)
        parts = [measure(part, folder, arguments.size) for part in sorted(images.iterdir())]
        whole = alone(prepare, images, folder / "whole", arguments.size, True)
        use = alone(use_table, folder / "whole", arguments.size)
        reading = alone(count_reads, min(images.iterdir()), folder / "reads", arguments.size)
        seeking = alone(seek_near_duplicates, arguments.hashes)
        small = []
        for count in (arguments.small, 10 * arguments.small):
            alone(write_small, folder / str(count), count)
            small.append(alone(prepare_small, folder / str(count)))

    def total(what: str) -> dict[str, float]:
        return {way: round(sum(part[way][what] for part in parts), 2) for way in parts[0]}

    def speed(over: str, way: str) -> float:
        ratios = (part[over]["seconds"] / part[way]["seconds"] for part in parts)
        return round(statistics.median(ratios), 2)

    line = {
        **vars(arguments),
        **written,
        "seconds": total("seconds"),
        "cpu_seconds": total("cpu_seconds"),
        "speed_over_loop": speed("loop", "table"),
        "speed_over_loop_both_reduced": speed("loop_reduced", "table"),
        "speed_over_loop_none_reduced": speed("loop", "table_unreduced"),
        "peak_mb": whole["peak_mb"],
        **use,
        **reading,
        **seeking,
        "small_peak_mb": [each["peak_mb"] for each in small],
        "small_peak_ratio": round(small[1]["peak_mb"] / small[0]["peak_mb"], 3),
    }
    record.finish(line, range(arguments.images))


def measure(part: Path, folder: Path, size: int) -> dict[str, dict[str, float]]:
    """Every way once on the same images, right after one another."""
    return {
        "loop": alone(loop, part, size, False),
        "table": alone(prepare, part, folder / "table", size, True),
        "loop_reduced": alone(loop, part, size, True),
        "table_unreduced": alone(prepare, part, folder / "table", size, False),
    }


def alone(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Call a function in a fresh process, so that its peak of memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def write_images(folder: Path, count: int, parts: int) -> dict[str, Any]:
    """Distinct photographs in parts, each of two class folders."""
    from sklearn.datasets import load_sample_images

    from revo_ray.data.table.threads import in_order, usable_cores

    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]

    def write(number: int) -> int:
        rng = np.random.default_rng(number)
        photograph = photographs[number % 2]
        height = int(rng.integers(300, photograph.height + 1))
        width = height * WIDTH // HEIGHT
        left = int(rng.integers(0, photograph.width - width + 1))
        top = int(rng.integers(0, photograph.height - height + 1))
        cut = photograph.crop((left, top, left + width, top + height))
        cut = cut.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        cut = ImageOps.mirror(cut) if rng.random() < 0.5 else cut
        content = io.BytesIO()
        ImageEnhance.Brightness(cut).enhance(rng.uniform(0.8, 1.2)).save(
            content, "JPEG", quality=90
        )
        path = folder / f"{number * parts // count:03d}" / "ab"[number % 2] / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.getvalue())
        return content.tell()

    with closing(in_order(write, range(count))) as sizes:
        kilobytes = sum(sizes) / count / 1000
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "kilobytes": round(kilobytes, 1),
        "cores": usable_cores(),
    }


def loop(folder: Path, size: int, reduced: bool) -> dict[str, float]:
    """The code that users write: one image after the other, kept in a list."""
    kept = []
    clock = Clock()
    for path in sorted(folder.rglob("*.jpg")):
        with Image.open(path) as image:
            if reduced:
                image.draft("RGB", (2 * size, 2 * size))
            square = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BICUBIC)
        kept.append(np.asarray(square))
    return clock.read()


def prepare(images: Path, folder: Path, size: int, reduced: bool) -> dict[str, float]:
    """A first preparation: hash every file, decode, write."""
    from revo_ray.data.table.image_table import prepare_table
    from revo_ray.settings.schema import DataConfig

    if not reduced:
        from PIL.JpegImagePlugin import JpegImageFile

        JpegImageFile.draft = lambda *_: None  # type: ignore[method-assign, assignment]
    shutil.rmtree(folder, ignore_errors=True)
    settings = DataConfig(source="folder", root=str(images), image_size=size, splits="drawn")
    prepare_table(settings.model_copy(update={"max_images": 32}), folder)  # imports what it needs
    clock = Clock()
    prepare_table(settings, folder)
    return clock.read()


def count_reads(images: Path, folder: Path, size: int) -> dict[str, float]:
    """Reads of a file by `inspect` and a preparation; a preparation of which half is done."""
    from revo_ray.data.files import stored_file
    from revo_ray.data.inspect import inspect
    from revo_ray.data.sources import read_source
    from revo_ray.data.table.image_table import prepare_table
    from revo_ray.data.table.survey import Survey
    from revo_ray.settings.schema import DataConfig

    reads: list[str] = []
    read = stored_file.StoredFile.read
    recent = stored_file.RECENT_NS

    def counted(self: stored_file.StoredFile) -> bytes:
        reads.append(self.path)
        return read(self)

    stored_file.StoredFile.read = counted  # type: ignore[method-assign]
    stored_file.RECENT_NS = 0  # nobody changes these files
    settings = DataConfig(source="folder", root=str(images), image_size=size, splits="drawn")
    records = read_source(settings).records
    clock = Clock()
    inspect(settings, folder / "both")
    looked = clock.read()["seconds"]
    prepare_table(settings, folder / "both")
    once = len(reads) / len(records)
    half = records[: len(records) // 2]
    with Survey.open(settings, folder / "half") as survey:
        survey.look(half, survey.find(half))
    reads.clear()
    clock = Clock()
    prepare_table(settings, folder / "half")
    resumed = clock.read()["seconds"]
    stored_file.StoredFile.read = read  # type: ignore[method-assign]
    stored_file.RECENT_NS = recent
    return {
        "reads_a_file": round(once, 3),
        "looked_a_second": round(len(records) / looked),
        "resumed_seconds": round(resumed, 3),
        "resumed_reads": round(len(reads) / len(records), 3),
    }


def seek_near_duplicates(count: int) -> dict[str, Any]:
    """Near-duplicates among hashes of cuts of photographs, and among ten times as many.

    Each tenth of the larger set has the same hashes with other bits turned, so that a part of a
    hash is as common as among real ones, and the number of pairs grows with the number of hashes.
    """
    from sklearn.datasets import load_sample_images

    from revo_ray.data.near_duplicates.image_hashes import SIDE, ImageHashes
    from revo_ray.data.near_duplicates.similar_images import find_similar
    from revo_ray.data.table.threads import in_order

    photographs = load_sample_images().images

    def hashed(number: int) -> ImageHashes:
        rng = np.random.default_rng(number)
        side = int(rng.integers(40, 400))
        top, left = rng.integers(0, 427 - side), rng.integers(0, 640 - side)
        cut = photographs[number % 2][top : top + side, left : left + side]
        square = Image.fromarray(cut).resize((64, 64), Image.Resampling.BICUBIC)
        return ImageHashes.of(np.asarray(square).transpose(2, 0, 1).copy())

    with closing(in_order(hashed, range(count))) as results:
        made = [each for each in results if each.perceptual]
    bits = np.array([list(each.perceptual) for each in made], np.uint8)
    small = np.array([list(each.thumbnail) for each in made], np.uint8)
    rng = np.random.default_rng(0)
    turned = np.packbits(rng.random((10, SIDE**2)) < 0.25, axis=1)
    seconds, pairs = [], []
    for copies in (1, 10):
        many = np.tile(bits, (copies, 1)) ^ np.repeat(turned[:copies], len(bits), axis=0)
        thumbnails = np.tile(small, (copies, 1))
        clock = Clock()
        pairs.append(sum(map(len, find_similar(many, thumbnails.__getitem__))))
        seconds.append(clock.read()["cpu_seconds"])
    return {
        "near_duplicates_cpu_seconds": [round(each, 3) for each in seconds],
        "near_duplicates_pairs": pairs,
        "near_duplicates_ratio": round(seconds[1] / seconds[0], 2),
    }


def write_small(folder: Path, count: int) -> dict[str, Any]:
    """Small images in two class folders."""
    for label in "ab":
        (folder / "images" / label).mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        path = folder / "images" / "ab"[number % 2] / f"{number:06d}.bmp"
        small.resize((24, 24), Image.Resampling.BICUBIC).save(path)
    return {}


def prepare_small(folder: Path) -> dict[str, float]:
    """Prepare them at 32 × 32 pixels."""
    from revo_ray.data.table.image_table import prepare_table
    from revo_ray.settings.schema import DataConfig

    clock = Clock()
    settings = DataConfig(
        source="folder", root=str(folder / "images"), image_size=32, splits="drawn"
    )
    prepare_table(settings, folder / "tables")
    return clock.read()


def use_table(folder: Path, size: int) -> dict[str, float]:
    """Opening a table, and a batch of it beside a training step of ResNet-18 on the same cores."""
    import torch
    import torchvision

    from revo_ray.data.table.image_table import Table
    from revo_ray.data.table.threads import usable_cores
    from revo_ray.finetune.training.feed import Feed

    torch.set_num_threads(usable_cores())
    path = max(folder.glob("*.arrow"), key=lambda path: path.stat().st_size)
    opened = [timed(lambda: Table.open(path)) for _ in range(20)]
    table = Table.open(path)
    feed = Feed(table, np.arange(len(table.images)), torch.device("cpu"), resident=False)
    order = torch.randperm(len(feed)).split(BATCH)
    batches = [timed(partial(feed.pixels, index)) for index in order]

    model = torchvision.models.resnet18(num_classes=len(table.classes))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x, labels = feed.pixels(order[0]).float() / 255, feed.labels[order[0]]

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()

    steps = [timed(step) for _ in range(12)][2:]
    batch, whole = statistics.median(batches), statistics.median(steps)
    return {
        "open_ms": round(1000 * statistics.median(opened), 2),
        "first_open_ms": round(1000 * opened[0], 2),
        "batch_ms": round(1000 * batch, 3),
        "step_ms": round(1000 * whole, 1),
        "batch_over_step": round(batch / whole, 5),
    }


class Clock:
    """Time and memory since it was made, in this process alone."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Seconds on the clock and on all cores together; the peak of memory in megabytes."""
        return {
            "seconds": time.perf_counter() - self._wall,
            "cpu_seconds": time.process_time() - self._cpu,
            "peak_mb": peak_mb(),
        }


def timed(function: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def peak_mb() -> float:
    """The most memory that this process has held, in megabytes.

    Of the kernel's account of this program: `ru_maxrss` would count its parent's too.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000)


if __name__ == "__main__":
    main()
