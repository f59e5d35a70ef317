"""The connection to Ray: an embedded one, the job's own, or a cluster that was named."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import ray

from revo_ray.credentials import refuse_credentials
from revo_ray.errors import UserError, first_line
from revo_ray.search.core.paths import JOB
from revo_ray.search.ray import autoscaler
from revo_ray.search.ray.address import resolve
from revo_ray.search.ray.head_node import head_watched
from revo_ray.search.ray.internals import (
    no_copy_of_uv,
    no_signal_handlers,
    on_loopback,
    without_dashboard,
)
from revo_ray.search.ray.private_folder import StartError, private_folder
from revo_ray.search.ray.resources import TrialResources
from revo_ray.search.ray.start_folder import start_folder, starting_in
from revo_ray.search.ray.stopping import listen_anew, stop_if_asked
from revo_ray.search.ray.token import asking_for_token
from revo_ray.settings.schema import ResourcesConfig
from revo_ray.settings.telemetry import no_telemetry

PATIENCE_S = 20.0
"""Seconds that the end of a command waits for a Ray that starts or stops."""


@contextmanager
def connected(address: str | None) -> Iterator[bool]:
    """Connect to Ray, embedded or at an address; yields whether it was connected before."""
    refuse_credentials(address or "", "--address")
    if address and address.startswith("ray://"):
        raise UserError(
            f"--address {address}: Ray Client cannot run Tune with the ledger here; use auto on a "
            "machine of the cluster, its GCS address host:port, or ray job submit"
        )
    if ray.is_initialized():
        if address is not None:
            raise UserError(
                f"--address {address}: this process is connected to Ray already; leave it out"
            )
        yield True
        return
    verbose = logging.getLogger("revo_ray").isEnabledFor(logging.DEBUG)
    level = logging.INFO if verbose else logging.ERROR
    options: dict[str, Any] = {"log_to_driver": verbose, "logging_level": level}
    if address is None and not os.environ.get(JOB):
        address = "local"
        options |= {"include_dashboard": False}
    tune_logger = logging.getLogger("ray.tune")
    before = tune_logger.level
    if not verbose:  # failures are rows, and errors are ours to tell
        tune_logger.setLevel(logging.CRITICAL)
    local = address == "local"
    try:
        with (
            _alone(options) if local else nullcontext(),
            start_folder(options.get("_temp_dir")) as folder,
            _ray_of_a_thread(resolve(address), options, folder),
            nullcontext() if local else head_watched(),
        ):
            yield False
    finally:
        tune_logger.setLevel(before)


@contextmanager
def _alone(options: dict[str, Any]) -> Iterator[None]:
    """Keep other users, and other machines, out of a Ray that starts with these options."""
    no_telemetry("RAY")
    with asking_for_token(), private_folder() as folder, on_loopback(), without_dashboard():
        options["_temp_dir"] = folder
        yield


@contextmanager
def _ray_of_a_thread(
    address: str | None, options: dict[str, Any], folder: Path | None
) -> Iterator[None]:
    """Connect to Ray in a thread, where Python lets it set no signal handlers, from a folder.

    The thread lives until Ray is shut down, for the processes that it started end with it.
    """
    # A Ray before 2.60 says this at each start.
    warnings.filterwarnings("ignore", "Tip: In future versions of Ray", FutureWarning)
    started: Future[None] = Future()
    leave, left = threading.Event(), threading.Event()

    def stay() -> None:
        try:
            with no_signal_handlers(), no_copy_of_uv(folder is not None):
                _init(address, options)
        except BaseException as error:
            started.set_exception(error)
        else:
            started.set_result(None)
            leave.wait()
        finally:
            ray.shutdown()
            left.set()

    try:
        try:
            with starting_in(folder):
                threading.Thread(target=stay, name="ray", daemon=True).start()
                started.result()
            listen_anew()
            stop_if_asked()
        except Exception as error:  # of many kinds, a plain one among them
            hint = "; set RAY_TMPDIR to a short path" if "AF_UNIX" in str(error) else ""
            raise StartError(f"cannot join Ray at {address!r}: {first_line(error)}{hint}") from None
        yield
    finally:
        leave.set()
        left.wait(PATIENCE_S)


def _init(address: str | None, options: dict[str, Any]) -> None:
    """Start or join Ray; once more if a busy machine did not load its libraries in time."""
    try:
        ray.init(address=address, **options)
    except Exception as error:
        if address != "local" or "timed out during startup" not in str(error):
            raise
        ray.shutdown()
        ray.init(address=address, **options)


def this_machine() -> str:
    """Ray's id of the node that this process runs on."""
    return str(ray.get_runtime_context().get_node_id())


def trial_resources(resources: ResourcesConfig) -> TrialResources:
    """Resources of an evaluation on the cluster that this process is connected to.

    Raises:
        UserError: `auto`, on a cluster whose machines are yet to be started.
    """
    gpus, grows = resources.gpus_per_trial, autoscaler.starts_machines()
    if gpus == "auto":
        has_gpus = bool(ray.cluster_resources().get("GPU", 0))
        if grows and not has_gpus:
            raise UserError(
                "is auto, and no machine with a GPU is up; on a cluster that starts machines when "
                "they are needed, say 1 (or 0, to use CPUs)",
                key="resources.gpus_per_trial",
            )
        gpus = 1.0 if has_gpus else 0.0
    return TrialResources(resources.cpus_per_trial, float(gpus), grows)
