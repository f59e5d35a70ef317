"""Tries whether revo-ray keeps its promises under other releases of Python, torch and Ray.

Each combination gets an environment of its own below `build/versions`, with what pip finds for it,
and the tests of each promise are run in it. `--vary ray` tries the oldest and the newest Ray that
`pyproject.toml` allows, beside the Python and the torch of `BASE`; the others likewise. A
combination that was tried with the same code is not tried again. Ends with an error if a promise is
broken.

    python -m benchmarks.versions --vary ray      # or: make ray-versions
    python -m benchmarks.versions --out benchmarks/results/versions.json
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmarks.record import ROOT, begin, code_state

PROMISES = {
    "same search with any number of workers": ("tests/end_to_end/test_search.py", "tests/search"),
    "killed and resumed": ("tests/end_to_end/test_survival.py", "tests/faults"),
    "pinned to devices": ("tests/cluster/test_pinning.py",),
    "CMAMVSearch under Tune": ("tests/tune", "tests/end_to_end/test_cmamv_search.py"),
    "jobs": ("tests/cluster/test_jobs.py",),
    "training and models": ("tests/finetune", "tests/model"),
}
"""The files whose tests say whether a promise is kept."""
MEASURES = ("revo_ray", "baselines", "pyproject.toml", "tests")
EXTRAS = "demo,dev,cluster"
LIMIT_S = 45 * 60


@dataclass(frozen=True)
class Combination:
    """Minor releases that are installed together."""

    python: str
    torch: str
    ray: str

    @property
    def requirements(self) -> list[str]:
        """Pip's words; a release of torchvision belongs to each of torch."""
        major, minor = map(int, self.torch.split("."))
        assert major == 2
        vision = f"torchvision==0.{minor + 15}.*"
        return [f"torch=={self.torch}.*", vision, f"ray[default]=={self.ray}.*"]


BASE = Combination(python="3.11", torch="2.12", ray="2.60")
ENDS = {"ray": ("2.52", "2.60"), "python": ("3.12", "3.13"), "torch": ("2.10", "2.14")}
"""The oldest and the newest release that `pyproject.toml` allows, each tried beside `BASE`."""


def interpreter(version: str) -> str | None:
    """The program of a release of Python, from the path or from pyenv."""
    found = shutil.which(f"python{version}")
    places = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    return str(places[-1]) if places else found


def install(combination: Combination, folder: Path) -> str | None:
    """Make the environment; returns why that cannot be done, if it cannot."""
    program = interpreter(combination.python)
    if program is None:
        return f"no python{combination.python} on this machine"
    subprocess.run([program, "-m", "venv", "--clear", str(folder)], check=True)
    words = ["-m", "pip", "install", "--quiet", "--no-compile", "--editable", f"{ROOT}[{EXTRAS}]"]
    done = subprocess.run(
        [str(folder / "bin/python"), *words, *combination.requirements],
        stderr=subprocess.PIPE,
        text=True,
    )
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["pip"])[-1]


def test(python: Path, promises: tuple[str, ...], report: Path) -> dict[str, str]:
    """Run the tests of all promises with a program, and count them by promise.

    Args:
        python: the program, of an environment.
        promises: keys of `PROMISES`.
        report: the XML file that pytest writes; a `.log` stands beside it.
    """
    files = [file for promise in promises for file in PROMISES[promise]]
    words = ["-q", "-p", "no:cacheprovider", "--numprocesses=2", "--dist=loadfile"]
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    outside["PATH"] = os.pathsep.join([str(python.parent), os.environ["PATH"]])
    with report.with_suffix(".log").open("w") as log:
        subprocess.run(
            [str(python), "-m", "pytest", *words, f"--junitxml={report}", *files],
            cwd=ROOT,
            env=outside,
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_S,
        )
    counts = {promise: Counter[str]() for promise in promises}
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.get("classname", "").replace(".", "/")
        for promise in promises:
            if any(name.startswith(file.removesuffix(".py")) for file in PROMISES[promise]):
                kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
                counts[promise][min(kinds, default="passed")] += 1
    return {promise: words_of(count) for promise, count in counts.items()}


def words_of(count: Counter[str]) -> str:
    """`kept (28 tests)`, or `broken (2 of 28)`."""
    broken = count["failure"] + count["error"]
    total = broken + count["passed"]
    return f"kept ({total} tests)" if total and not broken else f"broken ({broken} of {total})"


def tried(
    combinations: list[Combination], promises: tuple[str, ...], folder: Path, keep: bool
) -> Iterator[dict[str, Any]]:
    """A row for each combination, as soon as it is tried."""
    for combination in combinations:
        name = "-".join(asdict(combination).values())
        file = folder / f"{name}.json"
        if not file.exists():
            began, environment = time.monotonic(), folder / name
            why = install(combination, environment)
            if why is None:
                found = test(environment / "bin/python", promises, folder / f"{name}.xml")
            row = asdict(combination) | ({"cannot be installed": why} if why else found)
            row["minutes"] = f"{(time.monotonic() - began) / 60:.0f}"
            file.write_text(json.dumps(row))
            if not keep:
                shutil.rmtree(environment, ignore_errors=True)
        row = json.loads(file.read_text())
        print(row, file=sys.stderr, flush=True)
        yield row


def main() -> None:
    """Try the combinations and print the line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--vary", nargs="+", choices=ENDS, default=list(ENDS))
    parser.add_argument("--versions", nargs="+", metavar="X.Y", help="default: the two ends")
    parser.add_argument("--promises", nargs="+", choices=PROMISES, metavar="PROMISE")
    parser.add_argument("--keep", action="store_true", help="keep the environments")
    arguments, record = begin(parser, "versions", MEASURES)
    revision, clean = code_state()
    folder = ROOT / "build" / "versions" / (str(revision)[:12] if clean else "uncommitted")
    folder.mkdir(parents=True, exist_ok=True)
    combinations = [
        replace(BASE, **{name: release})
        for name in arguments.vary
        for release in arguments.versions or ENDS[name]
    ]
    promises = tuple(arguments.promises or PROMISES)
    rows = list(tried(combinations, promises, folder, arguments.keep))
    record.finish({"combinations": rows}, seeds=[])
    sys.exit(not all(kept(row) for row in rows))


def kept(row: dict[str, Any]) -> bool:
    """Whether a combination keeps every promise."""
    said = [row[promise] for promise in PROMISES if promise in row]
    return bool(said) and all(words.startswith("kept") for words in said)


if __name__ == "__main__":
    main()
