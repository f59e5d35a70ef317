"""Every family of networks: its units, two steps of training, and its export.

A family is a module of timm, or a file of torchvision's models. Of each the smallest member that
has a classifier is built without pretrained weights, at the image size of its weights, and checked
by `benchmarks.one_model`. Each family has a process of its own with one thread, and a limit of
time. Families that are finished with the same code are not checked again. Ends with an error if a
family lacks a property, or if fewer than 60 of timm's hold them all. `make results` makes
`docs/models.md` of the record.

    python -m benchmarks.models --out benchmarks/results/models.json     # or: make models
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision

from benchmarks.one_model import Finding, cause, check
from benchmarks.record import TRAINING, begin, code_state, git
from revo_ray.errors import UserError

MEASURES = (*TRAINING, "revo_ray/model", "benchmarks/one_model.py")
LEAST = 60
"""Families of timm that must hold every property."""
MOST_PARAMETERS = 150_000_000
MOST_PIXELS = 384
"""Networks whose weights are of larger images get images of `SIDE` pixels."""
SIDE = 224


def families() -> dict[str, list[str]]:
    """The names of each family's members, by `LIBRARY/FAMILY`."""
    found = {
        f"timm/{module}": timm.list_models(module=module, include_tags=False)
        for module in timm.list_modules()
    }
    for name in torchvision.models.list_models(torchvision.models):
        file = torchvision.models.get_model_builder(name).__module__.rpartition(".")[2]
        found.setdefault(f"torchvision/{file}", []).append(name)
    return {family: members for family, members in sorted(found.items()) if members}


def smallest(family: str, members: Sequence[str]) -> tuple[str, int, int]:
    """The name of the smallest member, its parameters, and the image size of its weights.

    Raises:
        UserError: no member has a classifier.
    """
    sizes: dict[str, int] = {}
    if family.startswith("torchvision/"):
        entries = {name: torchvision.models.get_model_weights(name).DEFAULT for name in members}
        sizes = {name: entry.meta["num_params"] for name, entry in entries.items()}
        chosen = min(sizes, key=sizes.__getitem__)
        side = entries[chosen].transforms().crop_size[0]
    else:
        for name in members:
            with torch.device("meta"):
                model: Any = timm.create_model(name)
            if model.num_classes > 0:
                sizes[name] = sum(p.numel() for p in model.parameters())
        if not sizes:
            raise UserError("no member has a classifier")
        chosen = min(sizes, key=sizes.__getitem__)
        config: Any = timm.get_pretrained_cfg(chosen)
        side = config.input_size[-1]
    return chosen, sizes[chosen], side if side <= MOST_PIXELS else SIDE


def examine(family: str, members: Sequence[str], file: Path) -> None:
    """Check a family, and write the finding to a file."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    began = time.process_time()
    finding: Finding = {"family": family}
    try:
        name, parameters, side = smallest(family, members)
        finding |= {"model": name, "parameters": parameters, "image_size": side}
        if parameters > MOST_PARAMETERS:
            finding["left_out"] = f"{parameters / 1e6:.0f} million parameters"
        else:
            finding |= check(f"{family.partition('/')[0]}/{name}", side)
    except UserError as error:
        finding["left_out"] = str(error)
    # A network's code raises anything; the other families go on.
    except Exception as error:
        finding["problems"] = [f"{type(error).__name__}: {cause(error)}"]
    finding["seconds"] = round(time.process_time() - began, 1)
    finished = file.with_suffix(".tmp")
    finished.write_text(json.dumps(finding, indent=1) + "\n")
    finished.rename(file)


def examine_all(
    wanted: dict[str, list[str]], folder: Path, at_once: int, limit: float
) -> Iterator[Finding]:
    """Check families in processes of their own, and give the findings in the order of the names."""
    fork = multiprocessing.get_context("fork")  # with torch and timm imported
    files = {family: folder / f"{family.replace('/', '_')}.json" for family in wanted}
    waiting = [family for family in wanted if not files[family].exists()]
    running: dict[str, tuple[Any, float]] = {}
    while waiting or running:
        while waiting and len(running) < at_once:
            family = waiting.pop(0)
            process = fork.Process(target=examine, args=(family, wanted[family], files[family]))
            process.start()
            running[family] = process, time.monotonic() + limit
        first = min(end for _, end in running.values())
        wait([p.sentinel for p, _ in running.values()], max(0.0, first - time.monotonic()))
        for family, (process, end) in list(running.items()):
            late = time.monotonic() >= end
            if late:
                process.kill()
            elif process.is_alive():
                continue
            process.join()
            del running[family]
            if not files[family].exists():
                why = f"not done after {limit:g} s" if late else f"exit code {process.exitcode}"
                files[family].write_text(json.dumps({"family": family, "problems": [why]}))
            finding = json.loads(files[family].read_text())
            print(family, finding.get("left_out") or finding["problems"] or "", file=sys.stderr)
    for file in files.values():
        yield json.loads(file.read_text())


def code_name(measures: Sequence[str]) -> str:
    """A name of the code that is measured: its last commit, or the time if it is not committed."""
    _, clean = code_state()
    if not clean:
        return time.strftime("%Y-%m-%d-%H-%M-%S")
    return git("log", "-1", "--format=%H", "--", *measures)


def main() -> None:
    """Check, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--families", nargs="+", metavar="LIBRARY/FAMILY", default=None)
    parser.add_argument("--runs", type=Path, default="build/models", help="finished families")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--limit", type=float, default=900, help="seconds for a family")
    arguments, record = begin(parser, "models", MEASURES)
    torch.set_num_threads(1)
    known = families()
    wanted = {family: known[family] for family in arguments.families or known}
    folder = arguments.runs / code_name(record.measures)
    folder.mkdir(parents=True, exist_ok=True)
    found = list(examine_all(wanted, folder, arguments.at_once, arguments.limit))
    held = [finding for finding in found if not finding.get("problems", ["left out"])]
    wrong = [finding for finding in found if finding.get("problems")]
    timms = sum(finding["family"].startswith("timm/") for finding in held)
    figures = {
        "families": len(found),
        "timm_families": sum(family.startswith("timm/") for family in wanted),
        "timm_held": timms,
        "torchvision_families": sum(family.startswith("torchvision/") for family in wanted),
        "torchvision_held": len(held) - timms,
        "left_out": sum("left_out" in finding for finding in found),
        "in_onnx": sum(finding["onnx"] is None for finding in held),
        "not_in_onnx": sum(finding["onnx"] is not None for finding in held),
        "cpu_seconds": round(sum(finding.get("seconds", 0) for finding in found)),
        "networks": found,
    }
    record.finish(figures, [0])
    for finding in wrong:
        print(f"{finding['family']}: {'; '.join(finding['problems'][:5])}", file=sys.stderr)
    if wrong or (arguments.families is None and timms < LEAST):
        sys.exit(1)


if __name__ == "__main__":
    main()
