"""What `resources.fuse: auto` measures: plans trained together against plans trained one by one.

Synthetic images, without Ray, one thread on a CPU. A ratio is the median over the turns, each of
which is paired with the plan alone beside it: images a second together ÷ images a second alone.
Above 1, fusing pays. Prints one JSON line.

    python -m benchmarks.fuse [--model timm/test_efficientnet] [--side 32] [--batch 32]
"""

from __future__ import annotations

import argparse
import json
import statistics

import torch

from benchmarks.gpu import Size, make_tuner
from revo_ray.finetune.pace import images_per_second


def main() -> None:
    """Measure, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="timm/test_efficientnet")
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--counts", type=int, nargs="+", default=[2, 4, 8])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = Size(model=arguments.model, batch=arguments.batch)
    tuner = make_tuner(size, arguments.side, size.images, device)
    alone: list[float] = []
    ratios: dict[int, list[float]] = {count: [] for count in arguments.counts}
    for _ in range(arguments.turns):
        alone.append(images_per_second(tuner, 1))
        for count, found in ratios.items():
            found.append(images_per_second(tuner, count) / alone[-1])
    line = {
        "benchmark": "fuse",
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "model": arguments.model,
        "side": arguments.side,
        "batch": arguments.batch,
        "images_per_second_alone": round(statistics.median(alone), 1),
        "together_over_alone": {n: round(statistics.median(r), 3) for n, r in ratios.items()},
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
