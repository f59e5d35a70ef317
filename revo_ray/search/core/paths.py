"""Paths that mean the same file in whatever folder a Ray job runs."""

from __future__ import annotations

import os

from revo_ray.errors import UserError
from revo_ray.settings.schema import SearchConfig

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in the driver of a submitted job."""

_SHARED = "an absolute path that every machine of the cluster reaches, or a URI such as s3://…"
_HEAD = "its absolute path on the machine of the job's driver (the head), or package:NAME"


def check_paths(config: SearchConfig) -> None:
    """Refuse relative paths inside a Ray job.

    Raises:
        UserError: naming the key.
    """
    if os.environ.get(JOB):
        require_absolute(config)


def require_absolute(config: SearchConfig) -> None:
    """Refuse relative paths, as a Ray job would.

    Raises:
        UserError: naming the key.
    """
    for key, path, instead in (
        ("storage", config.storage, _SHARED),
        ("data.root", config.data.root, _SHARED),
        ("model.weights", config.model.weights_file, _HEAD),
        *(("search.warm_start", directory, _SHARED) for directory in config.search.warm_start),
    ):
        if path and "://" not in path and not os.path.isabs(os.path.expanduser(path)):
            raise UserError(
                f"{path!r} is relative, and a Ray job's folder changes with every upload; "
                f"give {instead} (--set {key}=…)",
                key=key,
            )
