"""Machines on this machine: each has its own processes, network, host name and shared memory.

`ray stop` ends every Ray of its own namespace only. What was started in a namespace ends with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

NAMESPACE = ["unshare", "--pid", "--net", "--fork", "--kill-child", "--mount-proc"]
if os.geteuid():
    NAMESPACE += ["--user", "--map-root-user"]

BOOT = """
set -e
hostname "$1"
mount --bind "$2" /etc/hosts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs "$3"
ip link set lo up
touch "$4"
while :; do sleep 1; done
"""


def skip_without_namespaces() -> None:
    able = shutil.which("unshare") and shutil.which("ip")
    if not able or subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode:
        pytest.skip("namespaces are not allowed here, and ray stop would stop every Ray")


def skip_without(packages: dict[str, str]) -> None:
    """Skip where a program is missing; name the packages of Debian that bring it."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    missing = {name for program, name in packages.items() if not shutil.which(program, path=path)}
    if missing:
        pytest.skip(f"not installed: {', '.join(sorted(missing))} (apt-get install)")
    if os.geteuid():
        pytest.skip("only root may start machines of several namespaces")
    skip_without_namespaces()


class Machine:
    """A machine in namespaces of its own; files are those of this machine.

    Args:
        name: its host name.
        hosts: lines of its `/etc/hosts`.
        folder: where it keeps its logs.
        ray: folder of Ray's sessions, empty on each machine.
        boot: further commands of the shell that starts it.
    """

    def __init__(self, name: str, hosts: str, folder: Path, ray: str, boot: str = "") -> None:
        self.name, self._folder = name, folder
        (folder / f"{name}.hosts").write_text(f"127.0.0.1 localhost\n{hosts}\n")
        up = folder / f"{name}.up"
        command = [*NAMESPACE, "--mount", "--uts", "--ipc", "bash", "-c", boot + BOOT, "boot", name]
        self._process = subprocess.Popen([*command, folder / f"{name}.hosts", ray, up])
        while not up.exists():
            assert self._process.poll() is None, f"{name} did not start"
            time.sleep(0.02)
        (self._first,) = psutil.Process(self._process.pid).children()
        self.pid = self._first.pid

    def inside(self, *words: object) -> list[str]:
        """The command line that runs a command on the machine."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--uts", "--ipc", "--net", "--pid"]
        return [*enter, f"--wd={self._folder}", *map(str, words)]

    def start(self, *words: object, environment: dict[str, str]) -> None:
        """Start a program that runs until the machine ends; `PROGRAM.MACHINE` is its log."""
        with (self._folder / f"{Path(str(words[0])).name}.{self.name}").open("w") as log:
            subprocess.Popen(self.inside(*words), env=environment, stdout=log, stderr=log)

    def run(self, *words: object, environment: dict[str, str], timeout: float = 60) -> str:
        """Run a command to its end; its output."""
        done = subprocess.run(
            self.inside(*words),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def close(self) -> None:
        self._process.kill()  # and so the namespace's first process, with which all others end
        self._process.wait()
        self._first.wait()


def connect(machines: Sequence[Machine], addresses: Sequence[str]) -> None:
    """Join two machines by a cable."""
    one, two = machines
    _ip(one, f"link add name cable type veth peer name cable netns {two.pid}")
    for machine, address in zip(machines, addresses, strict=True):
        _ip(machine, f"address add {address}/24 dev cable")
        _ip(machine, "link set cable up")


def _ip(machine: Machine, words: str) -> None:
    command = ["nsenter", f"--target={machine.pid}", "--net", "ip", *words.split()]
    subprocess.run(command, check=True)
