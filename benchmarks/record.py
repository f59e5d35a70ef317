"""Records of benchmarks: figures, with the code, the machine and the command that made them.

Every benchmark begins with `begin` and ends with `Record.finish`: it prints one JSON line, and with
`--out benchmarks/results/NAME.json` it writes the same record to that file. `benchmarks.page` makes
`docs/results.md` of these files, and `benchmarks.stale` says whose code has changed since.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata, util
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("torch", "torchvision", "timm", "ray", "cmaes", "hyperopt", "optuna", "numpy")
PRODUCTS = ("benchmarks/results", "docs/results.md", "docs/models.md")
"""Files that are made of records. No figure depends on them."""
WRITES = ("--out", "--runs")
"""Options that name a file or a folder of this machine, and change no figure."""
KERNELS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")
"""Environment variables that choose a CPU's kernels, and so the last digits."""

TRAINING = ("revo_ray/data", "revo_ray/finetune", "revo_ray/objective.py")
"""Code that decides the scores of a plan."""
SEARCHING = (*TRAINING, "revo_ray/evolve", "revo_ray/methods", "revo_ray/search", "baselines")
"""Code that decides the result of a search."""


def begin(
    parser: argparse.ArgumentParser, name: str, measures: Sequence[str]
) -> tuple[argparse.Namespace, Record]:
    """Parse a benchmark's command line, to which `--out` is added, and begin its record.

    Args:
        parser: with the benchmark's own options.
        name: of the module below `benchmarks`.
        measures: files and folders whose code decides the figures, relative to the root. The
            benchmark's own file is added.

    Returns:
        The benchmark's own options, and the record.
    """
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the record there, too")
    arguments = parser.parse_args()
    out = vars(arguments).pop("out")
    if out is not None and out.suffix != ".json":
        parser.error(f"--out {out} must end with .json")
    return arguments, Record(name, (*measures, f"benchmarks/{name}.py"), out=out)


class Record:
    """The record of a benchmark that runs. Make it first: it notes the code as it is then.

    Args:
        name: of the benchmark.
        measures: as in `begin`, with all files.
        module: that was started; `benchmarks.NAME` by default.
        out: the file to write, if any.
    """

    def __init__(
        self, name: str, measures: Sequence[str], module: str | None = None, out: Path | None = None
    ) -> None:
        missing = [path for path in measures if not (ROOT / path).exists()]
        assert not missing, f"{name} measures what does not exist: {missing}"
        self.name, self.measures, self.out = name, tuple(measures), out
        self._module = module or f"benchmarks.{name}"
        self._began = datetime.now(UTC)
        self._revision, self._clean = code_state()
        self._cores = len(os.sched_getaffinity(0))
        self._load = round(os.getloadavg()[0], 2)
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            if not self._clean:
                why = "is no git checkout" if self._clean is None else "has uncommitted changes"
                print(f"{name}: the code {why}: its figures prove nothing", file=sys.stderr)

    def finish(
        self, figures: Mapping[str, Any], seeds: Iterable[int], searches: Iterable[Any] = ()
    ) -> None:
        """Print the figures with their record as one JSON line, and write the file.

        Args:
            figures: the figures, as JSON has them.
            seeds: all seeds that were used.
            searches: the recorded revisions of finished searches that the figures are of.
        """
        whole = self._whole(figures, seeds, searches)
        line = whole.pop("line")
        print(json.dumps(line | {"record": whole}))
        self._write(whole | {"line": line})

    def write(
        self, figures: Mapping[str, Any], seeds: Iterable[int], searches: Iterable[Any] = ()
    ) -> None:
        """Write the file alone; the arguments are those of `finish`."""
        self._write(self._whole(figures, seeds, searches))

    def _write(self, whole: Mapping[str, Any]) -> None:
        if self.out is not None:
            self.out.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")

    def _whole(
        self, figures: Mapping[str, Any], seeds: Iterable[int], searches: Iterable[Any]
    ) -> dict[str, Any]:
        return {
            "command": command(self._module, sys.argv[1:]),
            "date": f"{self._began:%Y-%m-%dT%H:%M:%SZ}",
            "revision": self._revision,
            "clean": self._clean,
            "searches": sorted({str(revision) for revision in searches}),
            "measures": sorted(self.measures),
            "seeds": spans(seeds),
            "machine": machine(self._cores) | {"load": self._load} | versions(),
            "line": {"benchmark": self.name, **figures},
        }


def command(module: str, words: Sequence[str]) -> str:
    """The command line to repeat a benchmark, without the options that say where it writes."""
    kept, skipped = [], False
    for word in words:
        if not skipped and not word.startswith(WRITES):
            kept.append(word)
        skipped = word in WRITES
    chosen = [f"{name}={os.environ[name]}" for name in KERNELS if name in os.environ]
    return shlex.join([*chosen, "python", "-m", module, *kept])


def spans(numbers: Iterable[int]) -> str:
    """Numbers in order, each run of neighbours as `first-last`."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)


def code_state() -> tuple[str | None, bool | None]:
    """The commit of this checkout, and whether nothing but products differs from it.

    Both are None outside a git checkout, and if `revo_ray` comes from another folder.
    """
    found = util.find_spec("revo_ray")
    here = found is not None and Path(str(found.origin)).resolve().parent == ROOT / "revo_ray"
    if not here or not (ROOT / ".git").exists():
        return None, None
    try:
        changed = git("status", "--porcelain", "--", ".", *(f":(exclude){p}" for p in PRODUCTS))
        return git("rev-parse", "HEAD"), not changed
    except (OSError, subprocess.SubprocessError):
        return None, None


def git(*words: str, root: Path = ROOT) -> str:
    """The answer of git about a checkout.

    Raises:
        OSError: there is no git.
        subprocess.SubprocessError: it failed.
    """
    line = ["git", "-C", str(root), *words]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def machine(cores: int) -> dict[str, Any]:
    """The processors that benchmarks run on.

    `kernels` are the vector instructions that torch uses, which decide the last digits.
    """
    found: dict[str, Any] = {"cores": cores, "cpu": cpu(), "device": "cpu"}
    try:
        import torch
    except ImportError:
        return found
    if torch.cuda.is_available():
        found["device"] = torch.cuda.get_device_name()
    return found | {"kernels": torch.backends.cpu.get_cpu_capability()}


def cpu() -> str:
    """The name of the CPU, with family and model, since virtual machines shorten the name."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    known = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.*)$", text, flags=re.M))
    if "model name" not in known:
        return platform.machine()
    return "{model name}, family {cpu family}, model {model}".format_map(known)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class Result:
    """A record that was written.

    Attributes:
        name: of its file, without `.json`; what README and docs call it.
        path: of its file.
        record: all but the figures.
        runs: commands with their figures; one, unless somebody put several together.
    """

    name: str
    path: Path
    record: dict[str, Any]
    runs: tuple[tuple[str, dict[str, Any]], ...]

    @property
    def benchmark(self) -> str:
        """The name of the benchmark."""
        return str(self.runs[0][1]["benchmark"])

    @property
    def revisions(self) -> tuple[str, ...]:
        """The commits that made the figures; none if the file does not say."""
        own = self.record.get("revision")
        return (own, *self.record["searches"]) if own else ()

    @property
    def doubt(self) -> str | None:
        """The reason why nobody can say which code made the figures; None if there is none."""
        if not self.revisions:
            return "no revision"
        unclear = [each for each in self.revisions if not re.fullmatch("[0-9a-f]{40}", each)]
        if not self.record["clean"] or unclear:
            return "uncommitted changes"
        return None if self.record["measures"] else "no code is named"


def read(path: Path, results: Path = RESULTS) -> Result:
    """Read a record."""
    whole = json.loads(path.read_text())
    runs = whole.pop("runs", None) or [{key: whole.pop(key) for key in ("command", "line")}]
    name = path.relative_to(results).with_suffix("").as_posix()
    return Result(name, path, whole, tuple((run["command"], run["line"]) for run in runs))


def read_all(results: Path = RESULTS) -> dict[str, Result]:
    """All records by name."""
    found = [read(path, results) for path in sorted(results.rglob("*.json"))]
    return {result.name: result for result in found}
