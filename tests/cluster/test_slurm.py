"""The Slurm script, whole, on this machine: Slurm's two commands are stand-ins, Ray is real.

`ray symmetric-run` joins and stops every Ray that it sees on a machine, so a script that reaches it
runs in a process and network namespace of its own, which takes all that it started away with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.namespaces import NAMESPACE, skip_without_namespaces
from tests.cluster.shell import PROGRAMS, complaints
from tests.end_to_end.cli import SMALL, Cli
from tests.forks.client import without_forks

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "cluster" / "slurm.sh"

SRUN = """#!{python}
import os, subprocess, sys
while sys.argv[1].startswith("--"):
    del sys.argv[1]
if sys.argv[1] == "python":
    os.execvp("python", sys.argv[1:])
command = os.environ["STEP"].split() if "STEP" in os.environ else sys.argv[1:]
step = subprocess.Popen(command, start_new_session=True)
open("step.new", "w").write(str(step.pid))
os.rename("step.new", "step")
sys.exit(abs(step.wait()))
"""

SCONTROL = """#!{python}
import os, signal, sys
if sys.argv[1:3] == ["show", "hostnames"]:
    print("node1")
elif sys.argv[1:] == ["show", "node", "node1"]:
    address = os.environ.get("NODE_ADDRESS", "127.0.0.1")
    print(f"NodeName=node1 CoresPerSocket=1\\n   NodeAddr={{address}} NodeHostName=node1")
else:
    open("requeued", "a").write(" ".join(sys.argv[1:]))
    os.killpg(int(open("step").read()), signal.SIGTERM)
"""


class Slurm:
    """A node on which the script runs as a job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cli = Cli(folder)
        self._jobs: list[subprocess.Popen[str]] = []
        programs = folder / "bin"
        programs.mkdir()
        for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
            (programs / name).write_text(text.format(python=sys.executable))
            (programs / name).chmod(0o755)
        (folder / "venv" / "bin").mkdir(parents=True)
        (folder / "venv" / "bin" / "activate").write_text(f"PATH={programs}:{PROGRAMS}\n")
        self.environment = without_forks() | {  # they would be out of the namespace
            "HOME": str(folder),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "VENV": str(folder / "venv"),
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": "node[1-1]",
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_CPUS_ON_NODE": "2",
        }

    def start(self, *sets: str, **environment: str) -> subprocess.Popen[str]:
        words = [word for item in (*SMALL, *sets) for word in ("--set", item)]
        command = ["bash", str(SCRIPT), "preset:quickstart", *words]
        if "STEP" not in environment:
            skip_without_namespaces()
            inside = 'ip link set lo up && exec "$0" "$@"'
            command = [*NAMESPACE, "bash", "-c", inside, *command]
        job = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._jobs.append(job)
        return job

    def wait_for(self, name: str, job: subprocess.Popen[str]) -> None:
        while not (self.folder / name).exists():
            assert job.poll() is None, job.communicate()[0]
            time.sleep(0.02)

    def close(self) -> None:
        for job in self._jobs:
            job.kill()
            job.communicate()


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    made = Slurm(tmp_path)
    yield made
    made.close()


def test_the_shell_takes_it() -> None:
    assert not complaints(SCRIPT.read_text())


def test_what_slurm_is_asked_for() -> None:
    lines = SCRIPT.read_text().splitlines()
    asked = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")}
    # Ray's own start and stop know one Ray a machine: one task a node, and whole nodes.
    assert {"--requeue", "--exclusive", "--ntasks-per-node=1", "--open-mode=append"} <= asked
    assert "--mem=0" in asked, "a whole node's memory, where a CPU brings its share only"
    assert any(each.startswith("--signal=B:USR1@") for each in asked)


@pytest.mark.nightly
def test_a_search_on_one_node(slurm: Slurm) -> None:
    sets = ("name=job", "search.evaluations=4", "resources.max_concurrent=1")
    job = slurm.start(f"storage={slurm.folder}", *sets, NODE_ADDRESS="127.0.1.1")  # as on Debian
    log, _ = job.communicate(timeout=280)
    assert job.returncode == 0, log
    assert [row.status for row in slurm.cli.ledger("job")] == ["ok"] * 4
    assert (slurm.folder / "job" / "result.json").exists()
    assert len((slurm.folder / ".ray" / "auth_token").read_text()) >= 32


@pytest.mark.nightly
def test_a_ray_that_does_not_start_is_no_success(slurm: Slurm) -> None:
    job = slurm.start(RAY_TMPDIR=f"/tmp/{'long' * 30}")  # of a socket's path
    log, _ = job.communicate(timeout=120)
    assert "Failed to start Ray" in log
    assert job.returncode == 3, log


def test_a_node_without_an_address_is_named(slurm: Slurm) -> None:
    job = slurm.start(STEP="true", NODE_ADDRESS="::1")
    log, _ = job.communicate(timeout=60)
    assert "node1 finds no IPv4 address of node1 (::1)" in log
    assert job.returncode == 3, log


@pytest.mark.parametrize(("step", "status"), [("true", 3), ("false", 1)])
def test_the_job_ends_as_its_step(slurm: Slurm, step: str, status: int) -> None:
    """A step that ends well without a search is no success, either."""
    job = slurm.start(STEP=step)
    log, _ = job.communicate(timeout=60)
    assert job.returncode == status, log


def test_a_job_out_of_time_is_queued_again(slurm: Slurm) -> None:
    job = slurm.start(STEP="sleep 60")
    slurm.wait_for("step", job)
    job.send_signal(signal.SIGUSR1)  # as Slurm does with `--signal=B:…`: to the script itself
    log, _ = job.communicate(timeout=60)
    assert (slurm.folder / "requeued").read_text() == "requeue 7", log
    assert job.returncode == signal.SIGTERM, "it waits for the step that Slurm ends"
