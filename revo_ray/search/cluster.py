"""The Ray that a search runs on: embedded, the job's own, or a cluster that was named."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from revo_ray.config import ResourcesConfig, SearchConfig
from revo_ray.errors import UserError
from revo_ray.search.experiment import Footprint
from revo_ray.search.stopping import handlers_kept

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in the driver of a submitted job."""


def check_paths(config: SearchConfig) -> None:
    """Refuse relative paths inside a Ray job.

    Raises:
        UserError: naming the key.
    """
    if not os.environ.get(JOB):
        return
    for key, path in (("storage", config.storage), ("data.root", config.data.root)):
        if path and "://" not in path and not os.path.isabs(path):
            raise UserError(
                f"{path!r} is relative, and a Ray job's folder changes with every upload; "
                "use an absolute path or a URI",
                key=key,
            )


@contextmanager
def connected(address: str | None) -> Iterator[bool]:
    """Ray, connected: embedded or the cluster that was named; yields whether it was before."""
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
    inside_job = bool(os.environ.get(JOB))
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None and not inside_job:
        address = "local"
        options |= {"include_dashboard": False}
    tune_logger = logging.getLogger("ray.tune")
    level = tune_logger.level
    tune_logger.setLevel(logging.CRITICAL)  # failures are rows, and errors are ours to tell
    try:
        try:
            with handlers_kept():
                ray.init(address=address, **options)
        except Exception as error:  # of many kinds, a plain one among them
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"cannot join Ray at {address!r}: {reason}") from None
        yield False
    finally:
        with handlers_kept():
            ray.shutdown()
        tune_logger.setLevel(level)


def footprint_of(resources: ResourcesConfig) -> Footprint:
    """What an evaluation holds on the cluster that this process is connected to."""
    gpus = resources.gpus_per_trial
    if gpus == "auto":
        gpus = 1.0 if ray.cluster_resources().get("GPU", 0) else 0.0
    return Footprint(resources.cpus_per_trial, float(gpus))
