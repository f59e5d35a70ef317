"""The plugin path of a search, as its workers on all machines find it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from revo_ray.finetune.plan import Plan, Policy
from revo_ray.methods import find_policy
from revo_ray.methods.plugins import plugin_path, use_plugin_path
from revo_ray.search.core.paths import JOB

_STARTED_IN = "TUNE_ORIG_WORKING_DIR"
"""Variable in which Ray Tune keeps the folder that a worker started in."""


def plugin_path_for_workers() -> list[str]:
    """The plugin path of this process; below a Ray job's upload, from there on.

    Each machine has an upload in a place of its own.
    """
    job = json.loads(os.environ.get(JOB) or "{}")
    if not (job.get("runtime_env") or {}).get("working_dir"):
        return list(plugin_path())
    here = os.path.join(os.getcwd(), "")
    return [
        os.path.relpath(folder) if os.path.join(folder, "").startswith(here) else folder
        for folder in plugin_path()
    ]


def policy_here(plan: Plan, task: Mapping[str, Any]) -> Policy | None:
    """The per-epoch policy that a plan names, in a worker; None if it names none.

    Raises:
        UserError: the plugin cannot be loaded.
        ValueError: no method of that name, or it has no policy.
    """
    if plan.policy is None:
        return None
    start = os.environ.get(_STARTED_IN, os.curdir)
    use_plugin_path(os.path.join(start, folder) for folder in task["plugin_path"])
    return find_policy(plan, task["plugins"])
