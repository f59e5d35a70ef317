"""Runs commands one after the other in a network of its own, and notes what neighbours could see.

A program for `unshare --net`: every socket of that network belongs to the commands, those of C++
too. The network has a second address and a way out that leads nowhere, so that a command which
looks for either finds it.

Usage: `watch.py FOLDER`, with `commands.json` in that folder: an object of names and command lines.
The folder gets a home folder, a temporary folder where everybody may write, and `seen.json`.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LISTENS, TRIES = "0A", "02"
"""States of a socket in the kernel's table."""

ADDRESS = "192.0.2.9"

JOIN = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False)
@ray.remote(num_cpus=0)
def work():
    return 6 * 7
print("answered", ray.get(work.remote()))
"""


def main(folder: Path) -> None:
    """Run the commands, and write what was seen."""
    for words in (
        *(["link", "set", "lo", "up"], ["addr", "add", f"{ADDRESS}/32", "dev", "lo"]),
        ["route", "add", "default", "dev", "lo", "src", ADDRESS],
    ):
        subprocess.run(["ip", *words], check=True)
    commands = json.loads((folder / "commands.json").read_text())
    seen: dict[str, Any] = {name: run(name, words, folder) for name, words in commands.items()}
    home = folder / "home"
    seen["afterwards"] = {
        "leaked": list(leaks(folder)),
        "home": {
            str(path.relative_to(home)): oct(stat.S_IMODE(path.lstat().st_mode))
            for path in sorted(home.rglob("*"))
        },
        "victim": (folder / "victim").read_text(errors="replace"),
    }
    (folder / "seen.json").write_text(json.dumps(seen, indent=1))


def run(name: str, words: list[str], folder: Path) -> dict[str, Any]:
    """Run one command to its end."""
    log, sent = folder / f"{name}.log", datagrams()
    seen: dict[str, Any] = {"listened": [], "tried": [], "open": [], "leaked": []}
    started = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "revo_ray", *words],
            cwd=folder / "work",
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            watch(process, folder, log, seen)
        finally:
            process.kill()
            process.wait()
    seen |= {"status": process.returncode, "output": log.read_text(errors="replace")}
    return seen | {"datagrams": datagrams() - sent, "seconds": time.monotonic() - started}


def watch(process: subprocess.Popen[bytes], folder: Path, log: Path, seen: dict[str, Any]) -> None:
    """Look at sockets and at the temporary folder until a command ends."""
    deadline, walked = time.monotonic() + 400, 0.0
    while process.poll() is None and time.monotonic() < deadline:
        note(seen["listened"], (at for at, _, state in sockets() if state == LISTENS))
        note(seen["tried"], (to for _, to, state in sockets() if state == TRIES and outside(to)))
        if time.monotonic() > walked + 2:
            walked = time.monotonic()
            note(seen["open"], reachable(folder / "tmp"))
            note(seen["leaked"], leaks(folder / "tmp"))
        if "joined" not in seen and b"1/4 eval" in log.read_bytes():
            process.send_signal(signal.SIGSTOP)  # Ray is there until it goes on
            note(seen["open"], reachable(folder / "tmp"))
            note(seen["leaked"], leaks(folder / "tmp"))
            seen["joined"] = neighbour(folder)
            seen["unauthorised"] = served(seen["listened"])
            process.send_signal(signal.SIGCONT)
        time.sleep(0.1)


def note(known: list[str], found: Iterator[str]) -> None:
    """Add what is new."""
    known.extend(each for each in found if each not in known)


def sockets() -> Iterator[tuple[str, str, str]]:
    """Yield the own address, the other end's and the state of each TCP socket."""
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            own, other, state = line.split()[1:4]
            yield readable(own), readable(other), state


def readable(words: str) -> str:
    """Turn an address of the kernel's table into host:port."""
    host, port = words.split(":")
    parts = [bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8)]
    number = b"".join(parts)
    if len(number) == 16 and number[:12] == bytes(10) + b"\xff\xff":
        number = number[12:]
    text = ".".join(map(str, number)) if len(number) == 4 else number.hex()
    return f"{text}:{int(port, 16)}"


def outside(address: str) -> bool:
    """Whether an address is not one of this machine."""
    return not address.startswith(("127.", ADDRESS + ":", f"{1:032x}:"))


def datagrams() -> int:
    """Count the UDP packets that were sent, as each question for a name is."""
    lines = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines()]
    names, numbers = (line for line in lines if line[0] == "Udp:")
    more = [line.split() for line in Path("/proc/net/snmp6").read_text().splitlines()]
    sixth = next((int(line[1]) for line in more if line[0] == "Udp6OutDatagrams"), 0)
    return int(numbers[names.index("OutDatagrams")]) + sixth


def reachable(folder: Path) -> Iterator[str]:
    """Yield folders below one in which other users can write, and files that they can read."""
    for path in sorted(listed(folder)):
        try:
            mode = path.lstat().st_mode
        except OSError:
            continue
        if stat.S_ISDIR(mode):
            if mode & 0o002:
                yield f"{path.relative_to(folder)}: others write"
            if mode & 0o005:
                yield from (f"{path.name}/{each}" for each in reachable(path))
        elif (stat.S_ISREG(mode) and mode & 0o004) or (stat.S_ISSOCK(mode) and mode & 0o002):
            yield f"{path.relative_to(folder)}: others read"


def listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def leaks(folder: Path) -> Iterator[str]:
    """Yield the files below a folder, and the links, that hold one of the secrets."""
    secrets = [os.environ[name].encode() for name in os.environ["SENTINELS"].split()]
    for at, _, names in os.walk(folder):
        for name in names:
            path = Path(at, name)
            try:
                regular = stat.S_ISREG(path.lstat().st_mode)
                content = path.read_bytes() if regular else os.fsencode(os.readlink(path))
            except OSError:
                continue
            if any(secret in content for secret in secrets):
                yield str(path.relative_to(folder))


def neighbour(folder: Path) -> dict[str, Any]:
    """Join the Ray that runs, as a user who knows its address and has no token."""
    home = folder / "neighbour"
    home.mkdir(exist_ok=True)
    kept = {n: v for n, v in os.environ.items() if not n.startswith("RAY_AUTH")}
    kept["RAY_NUM_REDIS_GET_RETRIES"] = "1"  # a refusal would be asked for 20 times
    address = ray_address()
    if address.startswith("127."):
        kept["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # it would look at another address
    process = subprocess.run(
        [sys.executable, "-P", "-c", JOIN, address],
        env=kept | {"HOME": str(home)},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return {"status": process.returncode, "output": process.stdout + process.stderr[-3000:]}


def ray_address() -> str:
    """Find where the Ray of this network can be joined."""
    flag, network = "--gcs-address=", os.readlink("/proc/self/ns/net")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().replace("\0", " ").split()
            if os.readlink(process / "ns" / "net") != network:
                continue
        except OSError:
            continue
        found = [word.removeprefix(flag) for word in words if word.startswith(flag)]
        if found:
            return found[0]
    return "none"


def served(listened: list[str]) -> dict[str, str]:
    """Ask every address for a page without a token; return the first words of those that answer."""
    answers = {}
    for address in listened:
        port = address.rpartition(":")[2]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
                answers[address] = page.read(60).decode(errors="replace")
        except (OSError, ValueError, http.client.HTTPException):  # refused, or it speaks gRPC
            continue
    return answers


if __name__ == "__main__":
    main(Path(sys.argv[1]))
