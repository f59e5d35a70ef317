"""Names the machine of a process, so that another one can tell whether it is its own."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


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


def boot_id() -> str | None:
    """The number that Linux draws at each start; None on other systems."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
