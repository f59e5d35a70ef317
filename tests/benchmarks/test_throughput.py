"""The program that measures throughput runs and prints one JSON line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_throughput() -> None:
    """On few evaluations: what does not depend on their number."""
    command = [sys.executable, "-m", "benchmarks.throughput"]
    command += ["--evaluations", "40", "--concurrent", "2", "--repeats", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout.strip().splitlines()[-1])
    assert line["evaluations"] == 40
    figures = line["concurrent_2"]
    assert figures.keys() == {"search", "ray", "ray_logged", "search_over_ray"}
    rate, rays = (figures[name]["per_second"] for name in ("search", "ray"))
    assert abs(figures["search_over_ray"] - rate / rays) < 0.01
    for name in ("search", "ray", "ray_logged"):
        of = figures[name]
        # The rate is that of 32 of the 40, and all of them are in the whole.
        assert 32 / of["per_second"] < of["seconds"]
        assert 0 < of["driver_cpu"] < 2
        assert of["driver_ms"] > 0.3  # nobody hands work to a process for less
