"""Measures how busy a study keeps its workers: four searches on two workers, by the command line.

Both encodings of the paper and two seeds on the quick start (EfficientNet-Lite0, digits). Each
search has its generations' barriers, at which its workers serve the others. `busy` is the seconds
that evaluations trained and validated (the ledger's `seconds`, so without what a worker loads
between two of them), over the workers' time: `steady` from the first evaluation's start until
there are none left to start, `whole` from the command's start to its exit. `held` counts, for the
steady part, all of the time from an evaluation's start to its end in the worker. `handover_ms` is
the median time from one evaluation's end to the next one's start in a worker. `cold_starts` counts
workers that had to import torch. Prints one JSON line.

    python -m benchmarks.study [--evaluations 20] [--workers 2] [--set KEY=VALUE …]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.record import begin
from benchmarks.runs import clocked, revo_ray, use_of_time
from revo_ray.rundir import StudyDirectory
from revo_ray.settings.schema import SearchConfig

MEASURES = ("revo_ray", "baselines", "benchmarks/runs.py")
NAME = "study"
SEEDS = [0, 1]


def configuration(evaluations: int, settings: list[str]) -> dict[str, Any]:
    """Four searches of the quick start."""
    quickstart = SearchConfig.load(
        "preset:quickstart", [f"name={NAME}", f"search.evaluations={evaluations}", *settings]
    )
    sections = quickstart.model_dump(mode="json", exclude={"method", "plugins", "storage"})
    for section in ("data", "train", "search"):
        del sections[section]["seed"]  # the study's
    methods = [{"name": "revo-continuous", "high": -1}, {"name": "revo-binary"}]
    return sections | {"study": {"methods": methods, "seeds": SEEDS}}


def main() -> None:
    """Measure, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--evaluations", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=[], dest="settings", help="KEY=VALUE, of all")
    arguments, record = begin(parser, "study", MEASURES)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.workers])
    settings = [f"resources.max_concurrent={arguments.workers}", *arguments.settings]
    with tempfile.TemporaryDirectory(prefix="revo-") as folder:
        file = Path(folder) / "study.yaml"
        file.write_text(yaml.safe_dump(configuration(arguments.evaluations, settings)))
        command = clocked(revo_ray("study", f"storage={folder}", preset=str(file)))
        runs = StudyDirectory(f"{folder}/{NAME}").runs().values()
        results = [result for run in runs if (result := run.outcome()) is not None]
        rows = [row for run in runs for row in run.rows()]
    assert len(results) == 4
    assert all(result.evaluations == arguments.evaluations for result in results)
    used = use_of_time(rows, arguments.workers)
    trained = sum(row.seconds for row in rows)
    line = {
        **vars(arguments),
        "searches": len(results),
        "busy": {
            "steady": used["trained"],
            "whole": round(trained / (arguments.workers * command.seconds), 4),
            "held": used["held"],
        },
        "handover_ms": used["handover_ms"],
        "cold_starts": sum(result.cold_starts for result in results),
        "mean_evaluation_s": used["mean_evaluation_s"],
        "start_s": round(min(row.started_at for row in rows) - command.began, 2),
        "seconds": round(command.seconds, 2),
    }
    record.finish(line, SEEDS)


if __name__ == "__main__":
    main()
