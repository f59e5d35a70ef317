"""The Slurm script under a real Slurm: two nodes of unequal size, each in namespaces of its own.

On each node its own name means 127.0.1.1, as Debian installs it. What differs from a cluster: the
nodes share one disk, and processes are tracked without cgroups.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.namespaces import Machine, connect, skip_without
from tests.cluster.shell import PROGRAMS
from tests.end_to_end.cli import SMALL, Cli
from tests.forks.client import without_forks

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "cluster" / "slurm.sh"
PACKAGES = {"slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "munged": "munge", "ip": "iproute2"}
ADDRESSES = {"node1": "10.77.0.1", "node2": "10.77.0.2"}
ROWS = 150

CONFIGURATION = """
ClusterName=test
SlurmctldHost=node1
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
MpiDefault=none
KillWait=5
SchedulerParameters=sched_interval=2,bf_interval=2
JobAcctGatherType=jobacct_gather/none
NodeName=node1 CPUs=1 RealMemory=4000
NodeName=node2 CPUs=2 RealMemory=6000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """A cluster of two nodes; the first is also the controller."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cli = Cli(folder)
        (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder))
        (folder / "venv" / "bin").mkdir(parents=True)
        (folder / "venv" / "bin" / "activate").write_text(f"PATH={PROGRAMS}\n")
        for name in ("state", "spool-node1", "spool-node2"):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        self._environment = without_forks() | {
            "HOME": str(folder),
            "PATH": os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"]),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "SLURM_CONF": str(folder / "slurm.conf"),
            "VENV": str(folder / "venv"),
        }
        self._nodes: list[Machine] = []

    def start(self) -> None:
        for name in ADDRESSES:
            others = ADDRESSES | {name: "127.0.1.1"}
            hosts = "\n".join(f"{address} {each}" for each, address in others.items())
            self._nodes.append(Machine(name, hosts, self.folder, os.environ["RAY_TMPDIR"]))
        connect(self._nodes, list(ADDRESSES.values()))
        files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid"}
        files |= {"log-file": "munge.log", "seed-file": "munge.seed"}
        words = [f"--{option}={self.folder / name}" for option, name in files.items()]
        self._run("munged", "--force", *words)
        self._nodes[0].start("slurmctld", "-D", environment=self._environment)
        for node in self._nodes:
            node.start("slurmd", "-D", "-N", node.name, environment=self._environment)
        self.wait_for(lambda: "UP" in self._run("sh", "-c", "scontrol ping || true"))

    def submit(self, *words: str) -> None:
        self._run("sbatch", "--gpus-per-node=0", *words)

    def update(self, **fields: object) -> None:
        self._run("scontrol", "update", "JobId=1", *(f"{k}={v}" for k, v in fields.items()))

    def job(self) -> dict[str, str]:
        """The controller's lines on the job."""
        return dict(re.findall(r"(\w+)=(\S*)", self._run("scontrol", "show", "job", "1")))

    def wait_for(self, condition: Callable[[], bool], seconds: float = 300) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.5)

    def log(self) -> str:
        """The job's output, and the controller's log."""
        paths = [*self.folder.glob("revo-ray-*.log"), self.folder / "slurmctld.log"]
        return "\n".join(path.read_text() for path in paths if path.exists())

    def rows(self) -> dict[str, bytes]:
        """The ledger's files."""
        return {path.name: path.read_bytes() for path in self.folder.glob("job/ledger/*.json")}

    def close(self) -> None:
        for node in self._nodes:
            node.close()

    def _run(self, *words: str) -> str:
        return self._nodes[0].run(*words, environment=self._environment)


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    skip_without(PACKAGES)
    made = Slurm(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_a_job_out_of_time_is_queued_again_and_finishes(slurm: Slurm) -> None:
    sets = (*SMALL, f"storage={slurm.folder}", "name=job", f"search.evaluations={ROWS}")
    began = time.monotonic()
    slurm.submit(
        *("--time=60", "--signal=B:USR1@90", str(SCRIPT), "preset:quickstart"),
        *(word for each in sets for word in ("--set", each)),
    )
    slurm.wait_for(lambda: len(slurm.rows()) >= 10)

    # Slurm counts in minutes: less than two are left, and the signal is due.
    slurm.update(TimeLimit=int((time.monotonic() - began) / 60) + 2)
    slurm.wait_for(lambda: slurm.job()["JobState"] == "PENDING")
    before = slurm.rows()
    assert 10 <= len(before) < ROWS, "it was stopped in the middle"
    slurm.update(TimeLimit=60, StartTime="now")  # it would wait two minutes

    slurm.wait_for(lambda: slurm.job()["JobState"] not in ("PENDING", "RUNNING", "COMPLETING"), 600)
    job, log = slurm.job(), slurm.log()
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("COMPLETED", "0:0", "1"), log
    assert "DUE TO JOB REQUEUE" in log
    assert f"Connecting to Ray cluster at {ADDRESSES['node1']}:6379" in log

    rows = slurm.cli.ledger("job")
    assert [row.status for row in rows] == ["ok"] * ROWS
    assert before.items() <= slurm.rows().items(), "what was finished stays"
    assert (slurm.folder / "job" / "result.json").exists()
    hosts = {row.node.partition(":")[0] for row in rows if row.node}
    assert len(hosts) == len(ADDRESSES), "both nodes trained"
