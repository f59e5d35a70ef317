"""Measures a GPU in one call of at most eight minutes, on synthetic images and without Ray.

Each part runs in a process of its own within a time limit, and prints its JSON line as soon as it
is done. A part that fails or takes too long says so in its line, beside the figures that it had by
then. The others go on. Every figure is from one run on one device.

1. `determinism`: one evaluation twice, of four networks; whether every bit agrees.
2. `switches`: images a second of ResNet-18 at 224 pixels and batches of 32, with one switch changed
   at a time, and their share of the limit: the same steps of plain torch on one batch again and
   again, with the fastest kernels.
3. `evaluation`: seconds of an evaluation of 600 and of 6,000 images, ten epochs, split into its
   parts, and the hours of 100 of them.
4. `processes`: images a second of 1 to 4 processes on the GPU.
5. `feeds`: images a second from the GPU's memory and streamed, and with each augmentation.
6. `failures`: whether out of memory and a loss that is not finite are answered as on a CPU.

It needs this repository, torch, torchvision, timm, pyarrow, PyYAML and pydantic.

    python -m benchmarks.gpu                                # without a GPU it says so and exits 2
    python -m benchmarks.gpu --device cpu --seconds 60      # the same parts, tiny: no figures
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import queue
import signal
import sys
import time
from importlib.util import find_spec
from typing import Any

from benchmarks.record import TRAINING, begin

MEASURES = (*TRAINING, "benchmarks/gpu_parts.py")
NEEDS = ("torch", "torchvision", "timm", "pyarrow", "yaml", "pydantic")
LIMITS = {
    "determinism": 60,
    "switches": 90,
    "evaluation": 90,
    "processes": 90,
    "feeds": 40,
    "failures": 20,
}
"""Seconds of each part, in the order in which they run."""


def child(part: str, device: str, figures: Any) -> None:
    """Run one part, and hand over each figure as it comes."""
    from benchmarks import gpu_parts

    os.setsid()  # so that what it starts can be ended with it
    try:
        for figure in gpu_parts.PARTS[part](gpu_parts.sizes(device), device):
            figures.put(figure)
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        figures.put({"error": text})


def run(part: str, device: str, limit: float) -> dict[str, Any]:
    """The figures of one part, or as many as it had when its time was over."""
    context = multiprocessing.get_context("fork")  # before CUDA begins, and with torch imported
    figures: Any = context.Queue()
    process = context.Process(target=child, args=(part, device, figures))
    began = time.monotonic()
    process.start()
    line: dict[str, Any] = {"part": part}
    while (left := began + limit - time.monotonic()) > 0:
        try:
            merge(line, figures.get(timeout=min(left, 0.2)))
        except queue.Empty:
            if not process.is_alive() and figures.empty():
                break
    if process.is_alive() and left <= 0:
        line["error"] = f"stopped after its {limit:.0f} s"
        assert process.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.join()
    if process.exitcode and "error" not in line:
        line["error"] = f"the process ended with {process.exitcode}"
    return line | {"seconds": round(time.monotonic() - began, 1)}


def merge(line: dict[str, Any], figure: dict[str, Any]) -> None:
    """Add a figure to those of the same name."""
    for name, value in figure.items():
        if isinstance(value, dict) and name in line:
            merge(line[name], value)
        else:
            line[name] = value


def main() -> None:
    """Run the parts, and print their lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--seconds", type=float, default=sum(LIMITS.values()), metavar="S")
    parser.add_argument("--only", nargs="+", choices=LIMITS, default=list(LIMITS), metavar="PART")
    arguments, record = begin(parser, "gpu", MEASURES)
    if missing := [name for name in NEEDS if find_spec(name) is None]:
        sys.exit(f"benchmarks.gpu needs {', '.join(missing)}, not installed here")
    import benchmarks.gpu_parts  # noqa: F401  # the processes inherit what it imports

    device = arguments.device
    # This process must not begin CUDA, or those that it starts could not.
    found = run("name", device, 60)
    if (name := found.get("name")) is None:
        why = found.get("error", "no CUDA device here")
        sys.stderr.write(f"benchmarks.gpu: {why}; --device cpu tries the program on the CPU\n")
        sys.exit(2)
    parts = {}
    for part in arguments.only:
        # On a CPU every part takes about as long: most of it is loading networks.
        share = LIMITS[part] / sum(LIMITS.values()) if device == "cuda" else 1 / len(LIMITS)
        parts[part] = run(part, device, share * arguments.seconds)
        print(json.dumps(parts[part]), flush=True)
    record.write({"device": name, **parts}, [0])
    sys.exit(any("error" in line for line in parts.values()))


if __name__ == "__main__":
    main()
