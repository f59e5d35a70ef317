"""The watch over the head node of a cluster that a driver has joined."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import ray

RAYS_PATIENCE = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Ray's variable: seconds without the head node after which Ray ends the process; 60 by default."""

STATUS = 3
"""Exit status of the process: the search could not be completed."""

LOOK_S = 2.0


@contextmanager
def head_watched() -> Iterator[None]:
    """End the process with one line if the head node does not come back, shortly before Ray would.

    Ray's core would end it with status 1 and many lines, and raises no exception in Python.
    """
    address, closed = ray.get_runtime_context().gcs_address, threading.Event()
    watched = address, 0.7 * float(os.environ.get(RAYS_PATIENCE, 60)), closed
    threading.Thread(target=_watch, args=watched, name="head", daemon=True).start()
    try:
        yield
    finally:
        closed.set()


def _watch(address: str, patience: float, closed: threading.Event) -> None:
    host, _, port = address.rpartition(":")
    seen = time.monotonic()
    while not closed.wait(LOOK_S):
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=LOOK_S).close()
            seen = time.monotonic()
        except OSError:
            if time.monotonic() - seen > patience and not closed.is_set():
                print(
                    f"revo-ray: the head of the cluster, {address}, is gone; every finished "
                    "evaluation is kept, go on with --resume on a new one",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(STATUS)
