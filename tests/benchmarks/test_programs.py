"""Each benchmark program runs and prints one JSON line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_optimisers() -> None:
    """At full length on one seed: the claim itself, on the smallest scale."""
    command = [sys.executable, "-m", "benchmarks.optimisers", "--seeds", "1"]
    command += ["--proposals-seeds", "3", "--skip", "tpe"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout.strip().splitlines()[-1])
    assert line["variables"] == 20
    assert 0 < line["cmamv"]["mean"] < line["hyperopt"]["mean"]
    assert line["cmamv"]["mean"] < line["random"]["mean"]
    for problem, searchers in (("rates", "cma"), ("bits", "ga"), ("mixed", "sop")):
        found = line["proposals"][problem]
        for name in ("catcmawm", "cmawm", searchers):
            for lookahead in (0, 2, 5, 10):
                assert 0 <= found[f"{name}_{lookahead}"]["mean"] < found["random"]["mean"]
            assert found["lookahead_costs"][name].keys() == {"2", "5", "10"}


def test_preparation() -> None:
    """On few images: what does not depend on their number."""
    command = [sys.executable, "-m", "benchmarks.preparation", "--images", "64", "--parts", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout.strip().splitlines()[-1])
    assert line["seconds"].keys() == {"loop", "loop_reduced", "table", "table_unreduced"}
    assert 30 < line["kilobytes"] < 300
    assert 0 < line["peak_mb"] < 1500
    assert line["open_ms"] < 20
    assert line["batch_over_step"] < 0.05


def test_ledger() -> None:
    """A row costs the same however many there are, and a resumed search begins at once."""
    command = [sys.executable, "-m", "benchmarks.ledger", "--evaluations", "400"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout.strip().splitlines()[-1])
    assert 0 < line["last_over_first"] < 3
    assert 0 < line["resume_over_run"] < 0.5


def test_searcher() -> None:
    """The claims themselves, on few evaluations: thinking is cheap, and does not get dearer."""
    command = [sys.executable, "-m", "benchmarks.searcher"]
    command += ["--evaluations", "1500", "--compared", "40"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout.strip().splitlines()[-1])
    assert line["genes"] == 54
    for name in ("cmamv", "cmamv_bits", "search"):
        assert 0 < line["turns"][name]["median_ms"] < 1
        assert 0 < line["alone"][name]["last_over_first"] < 5
    for key in ("median", "with_updates"):
        assert line[f"hyperopt_over_cmamv_{key}"] > 30
