"""`cluster/on-premise.yaml` as the page on clusters tells it, over ssh to two machines.

The machines are namespaces of this one, each with an ssh server, a home and processes of its own.
One setup command is another: the locked releases are those of the tests, as there is no network.
"""

from __future__ import annotations

import os
import site
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from revo_ray.rundir.ledger import Ledger
from revo_ray.storage import Storage
from tests.cluster.namespaces import Machine, connect, skip_without
from tests.cluster.shell import PROGRAMS
from tests.end_to_end.cli import SMALL
from tests.forks.client import without_forks

ROOT = Path(__file__).parents[2]
PACKAGES = {"sshd": "openssh-server", "ssh": "openssh-client", "rsync": "rsync", "ip": "iproute2"}
ADDRESSES = {"gpu1.example.org": "10.77.1.1", "gpu2.example.org": "10.77.1.2"}

BOOT = """
mount --bind {folder}/passwd /etc/passwd
mount --bind {folder}/home-{name} {folder}/home
mount -t tmpfs tmpfs /run
mkdir /run/sshd
"""

SERVER = """
HostKey {folder}/host
AuthorizedKeysFile {folder}/laptop/.ssh/id_ed25519.pub
PasswordAuthentication no
StrictModes no
UsePAM no
SetEnv {environment}
"""

RAY = """#!{home}/revo-ray/venv/bin/python
from ray.scripts.scripts import main
main()
"""


class OnPremise:
    """Two machines with a user `me`; the first also has the checkout, where `ray up` is called."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self._machines: list[Machine] = []
        for name in ("home", "checkout/dist", "laptop/.ssh", *(f"home-{n}" for n in ADDRESSES)):
            (folder / name).mkdir(parents=True)
        for key in ("host", "laptop/.ssh/id_ed25519"):
            keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key]
            subprocess.run(keygen, check=True)
        users = Path("/etc/passwd").read_text()
        (folder / "passwd").write_text(f"me:*:0:0::{self.home}:/bin/bash\n{users}")
        names = ("RAY_TMPDIR", "RAY_raylet_start_wait_time_s", "RAY_agent_register_timeout_ms")
        environment = " ".join(f"{name}={os.environ[name]}" for name in names)
        server = SERVER.format(folder=folder, environment=environment)
        (folder / "sshd_config").write_text(server)
        self._packages()
        self._environment = without_forks() | {
            "HOME": str(folder / "laptop"),
            "PATH": PROGRAMS,
            "RAY_AUTH_MODE": "token",
        }

    def _packages(self) -> None:
        """Homes as Debian makes them, and what stands for the download of the locked releases."""
        packages = [path for path in site.getsitepackages() if Path(path).is_dir()]
        (self.folder / "packages.pth").write_text("\n".join(packages) + "\n")
        (self.folder / "ray").write_text(RAY.format(home=self.home))
        (self.folder / "ray").chmod(0o755)
        python = Path(sys.executable).resolve().parent
        for name in ADDRESSES:
            home = self.folder / f"home-{name}"
            (home / ".profile").write_text(f". ~/.bashrc\nPATH={python}:$PATH\n")
            (home / ".bashrc").touch()

    def start(self) -> None:
        hosts = "\n".join(f"{address} {name}" for name, address in ADDRESSES.items())
        for name in ADDRESSES:
            boot = BOOT.format(folder=self.folder, name=name)
            ray = os.environ["RAY_TMPDIR"]
            self._machines.append(Machine(name, hosts, self.folder, ray, boot))
        connect(self._machines, list(ADDRESSES.values()))
        for machine in self._machines:
            server = ("/usr/sbin/sshd", "-D", "-e", "-f", self.folder / "sshd_config")
            machine.start(*server, environment=self._environment)

    def configuration(self) -> Path:
        """The file of the project, its lines marked `<-` changed, and the one setup command."""
        config = yaml.safe_load((ROOT / "cluster" / "on-premise.yaml").read_text())
        head, *workers = ADDRESSES
        config["provider"] |= {"head_ip": head, "worker_ips": workers}
        config["auth"]["ssh_private_key"] = f"{self.folder}/laptop/.ssh/id_ed25519"
        (locked,) = (each for each in config["setup_commands"] if "--require-hashes" in each)
        at = config["setup_commands"].index(locked)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        config["setup_commands"][at] = (
            f"cp {self.folder}/packages.pth ~/revo-ray/venv/lib/{version}/site-packages/ "
            f"&& cp {self.folder}/ray ~/revo-ray/venv/bin/"
        )
        path = self.folder / "on-premise.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    def run(self, command: str) -> str:
        """A command of the laptop, in the checkout."""
        words = ("bash", "-ec", f"cd {self.folder}/checkout; {command}")
        return self._machines[0].run(*words, environment=self._environment, timeout=600)

    def close(self) -> None:
        for machine in self._machines:
            machine.close()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[OnPremise]:
    skip_without(PACKAGES)
    made = OnPremise(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_ray_up_and_a_search_on_both_machines(machines: OnPremise) -> None:
    file = machines.configuration()
    storage = machines.folder / "storage"
    text = yaml.safe_dump({"name": "run", "storage": str(storage)})
    (machines.folder / "checkout" / "config.yaml").write_text(text)
    machines.run(f"cp -r {ROOT}/locks locks")
    machines.run(f"pip wheel -q --no-deps --no-build-isolation --wheel-dir dist {ROOT}")
    machines.run("(umask 077; ray get-auth-token --generate) > /dev/null")
    print(machines.run(f"ray up --yes {file}"))

    cpus = f"0.0/{len(ADDRESSES) * os.cpu_count()}.0 CPU"
    until = f'until ray status | grep "{cpus}"; do sleep 1; done'
    print(machines.run(f"ray exec {file} '{until}'"))
    machines.run(f"ray rsync-up {file} config.yaml '~/config.yaml'")
    own = ("search.evaluations=30", "resources.gpus_per_trial=0")
    sets = " ".join(f"--set {each}" for each in (*SMALL, *own))
    search = f"revo-ray search ~/config.yaml --address auto --resume {sets}"
    print(machines.run(f"ray exec {file} '{search}'"))

    rows = list(Ledger.load(Storage(str(storage)).child("run")))
    assert [row.status for row in rows] == ["ok"] * 30
    hosts = {row.node.partition(":")[0] for row in rows if row.node}
    assert len(hosts) == len(ADDRESSES), "both machines trained"
    print(machines.run(f"ray down --yes {file}"))
