"""Names the machine of a process, so that another one can tell whether it is its own."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from revo_ray.settings.safe_json import read_json


def this_machine() -> dict[str, str]:
    """Host name and boot ID; the boot ID is empty on systems that have none."""
    return {"host": socket.gethostname(), "boot": boot_id() or ""}


def is_this_machine(named: Mapping[str, Any]) -> bool:
    """Whether `this_machine` of another process named this machine, since its last start.

    Containers of one machine have the boot ID in common.
    """
    own = this_machine()
    key = "boot" if own["boot"] else "host"
    return named.get(key) == own[key]


def other_machine(content: bytes) -> str | None:
    """The host that a process of another machine named in a file; None if it is this machine's."""
    try:
        named = read_json(content)
    except ValueError:  # empty: it ended, or is of a version that named no machine
        return None
    if not isinstance(named, dict) or is_this_machine(named):
        return None
    return str(named.get("host"))


def boot_id() -> str | None:
    """The number that Linux draws at each start; None on other systems."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
