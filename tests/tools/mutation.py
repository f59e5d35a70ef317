"""Counts the small faults in a room that its tests notice: `python -m tests.tools.mutation evolve`.

A seeded sample of mutants is put, one at a time, into a copy of the tree. The room's own tests run
first, without the slow ones. A mutant that they let pass meets the slow ones and tests of the
rooms around. It is killed if a test fails, or if the tests take far longer than without it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.tools.forked import Run, Selection, import_libraries, run_tests
from tests.tools.mutants import Mutant, find_mutants

ROOT = Path(__file__).parents[2]
LEAST = 85
"""Per cent of its mutants that the tests of a room must kill."""
PATIENCE = 5
"""A mutant whose tests take this many times the CPU time of the tests without it is killed."""
GRACE = 10
"""Seconds of CPU time beyond that, for tests that take next to none."""


@dataclass(frozen=True)
class Room:
    """A part of the product, and its tests.

    Attributes:
        code: its folder or file.
        tests: its own tests.
        others: tests of other rooms, for mutants that its own let pass.
        count: number of mutants in the sample; None for all.
    """

    code: str
    tests: str
    others: tuple[str, ...] = ()
    count: int | None = 60


MONITOR = tuple(
    f"tests/monitor/{name}.py"
    for name in ("test_progress", "test_watch", "tensorboard/test_search_curves")
)
ROOMS = {
    "evolve": Room(
        "revo_ray/evolve",
        "tests/evolve",
        ("tests/tune", "tests/search/core", MONITOR[-1]),
    ),
    "rundir": Room(
        "revo_ray/rundir",
        "tests/rundir",
        ("tests/search/core", "tests/settings", *MONITOR, "tests/report/test_outcomes.py"),
    ),
    "core": Room(
        "revo_ray/search/core",
        "tests/search/core",
        ("tests/search/ray", "tests/settings", "tests/end_to_end/test_library.py"),
    ),
    "splits": Room(
        "revo_ray/data/splits",
        "tests/data/splits",
        ("tests/data/test_inspect.py", "tests/finetune/training/test_feed.py"),
    ),
    "training": Room(
        "revo_ray/finetune/training",
        "tests/finetune/training",
        ("tests/finetune/reuse", "tests/finetune/network", "tests/baselines/test_auto_rgn.py"),
    ),
    "objective": Room(
        "revo_ray/objective.py",
        "tests/test_objective.py",
        (
            *("tests/search/core", "tests/finetune/training/test_metrics.py", *MONITOR),
            *("tests/report/test_outcomes.py", "tests/report/pages/test_objective.py"),
        ),
        count=None,
    ),
}


def sample(total: int, count: int | None, seed: int) -> list[int]:
    """Numbers of some of the mutants, in order; the same ones for a seed."""
    return sorted(random.Random(seed).sample(range(total), min(total, count or total)))


def judge(
    room: Room, tree: Path, mutants: dict[int, Mutant], jobs: int = 1
) -> Iterator[dict[str, Any]]:
    """Judge mutants, in the order in which their tests end.

    Args:
        room: the tests.
        tree: the product and its tests; stays as it is.
        mutants: by their numbers.
        jobs: mutants that are judged at once.

    Raises:
        AssertionError: the tests fail without a mutant.
    """
    spent = dict.fromkeys(mutants, 0.0)
    stages = (
        Selection((room.tests,)),
        Selection((room.tests, *room.others), slow=True, done=(room.tests,)),
    )
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        clean = Path(scratch) / "clean"
        hidden = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "revo_results")
        shutil.copytree(tree, clean, ignore=hidden)
        for stage in stages:
            if not spent:
                return
            whole = run_tests(clean, stage, keep=True)
            assert whole.passed, f"without a mutant: {whole.failed}\n{whole.output}"
            if not whole.files:
                continue
            context = get_context("fork")
            tasks = [(number, mutants[number], stage, whole) for number in spent]
            with context.Pool(jobs, _make_copy, (clean,)) as pool:
                for number, run in pool.imap_unordered(_run_mutant, tasks):
                    spent[number] += run.cpu
                    if not run.passed:
                        verdict = "timeout" if run.status is None else "killed"
                        yield _result(number, verdict, run.failed, spent.pop(number))
        for number, cpu in spent.items():
            yield _result(number, "survived", "", cpu)


def _result(number: int, verdict: str, by: str, cpu: float) -> dict[str, Any]:
    by = by if verdict == "killed" else ""
    return {"number": number, "verdict": verdict, "by": by, "cpu_s": round(cpu, 2)}


def _make_copy(clean: Path) -> None:
    """Give this process of the pool its own copy of the tree."""
    global _copy
    _copy = clean.with_name(f"copy-{os.getpid()}")
    shutil.copytree(clean, _copy)


def _run_mutant(task: tuple[int, Mutant, Selection, Run]) -> tuple[int, Run]:
    """Run the tests with a mutant: first those of its module, then those that take least."""
    number, mutant, stage, whole = task
    module = mutant.file.removesuffix(".py")

    def priority(file: str) -> tuple[bool, bool, float]:
        mirrors = Path(file).stem == f"test_{Path(module).name}"
        names = module.replace("/", ".") in (_copy / file).read_text()
        return not mirrors, not names, whole.files[file]

    stage = replace(stage, paths=tuple(sorted(whole.files, key=priority)))
    file = _copy / mutant.file
    source, stat = file.read_bytes(), file.stat()
    file.write_bytes(mutant.applied(source))
    os.utime(file, (stat.st_atime, stat.st_mtime + 60))  # not the compiled module's
    try:
        cpu, wall = PATIENCE * whole.cpu + GRACE, 2 * PATIENCE * whole.wall + 10 * GRACE
        return number, run_tests(_copy, stage, cpu, wall)
    finally:
        file.write_bytes(source)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.mutation", description=__doc__)
    parser.add_argument("room", choices=ROOMS)
    parser.add_argument("--seed", type=int, default=0, help="of the sample (0)")
    parser.add_argument("--count", type=int, help="mutants in the sample (60; objective: all)")
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="these mutants alone")
    parser.add_argument("--list", action="store_true", help="show the mutants, run nothing")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at once (1)")
    parser.add_argument("--out", type=Path, help="JSON file; what it has is not judged again")
    args = parser.parse_args(words)

    room = ROOMS[args.room]
    found = find_mutants(ROOT, [room.code])
    numbers = args.only or sample(len(found), args.count or room.count, args.seed)
    texts = {n: found[n].described((ROOT / found[n].file).read_bytes()) for n in numbers}
    if args.list:
        print(*(f"{number:4} {text}" for number, text in texts.items()), sep="\n")
        return 0

    git = ("git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--dirty")
    revision = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    results = _read(args.out, revision)
    left = {n: found[n] for n in numbers if n not in results or args.only}
    if left:
        import_libraries()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ctrl-C: end what was started
    for result in judge(room, ROOT, left, args.jobs):
        number, verdict, by = result["number"], result["verdict"], result["by"]
        print(f"{number:4} {texts[number]}: {verdict}{by and f' by {by}'}", flush=True)
        results[number] = result | {"mutant": texts[number]}
        if args.out is not None:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            ordered = [results[number] for number in sorted(results)]
            head = {"room": args.room, "revision": revision, "of": len(found)}
            args.out.write_text(json.dumps(head | {"mutants": ordered}, indent=1) + "\n")

    survivors = [number for number in numbers if results[number]["verdict"] == "survived"]
    share = 100 * (1 - len(survivors) / len(numbers))
    cpu = sum(results[number]["cpu_s"] for number in numbers) / len(numbers)
    print(f"{args.room}: {share:.1f} % of {len(numbers)} mutants killed, {cpu:.1f} CPU s a mutant")
    for number in survivors:
        print(f"survived: {number:4} {texts[number]}")
    return 0 if share >= LEAST or args.only else 1


def _read(file: Path | None, revision: str) -> dict[int, dict[str, Any]]:
    """Earlier results by number, if they are of this revision and the tree is as committed."""
    if file is None or not file.exists() or revision.endswith("-dirty"):
        return {}
    earlier = json.loads(file.read_text())
    if earlier["revision"] != revision:
        return {}
    return {result["number"]: result for result in earlier["mutants"]}


if __name__ == "__main__":
    sys.exit(main())
