"""Joins a Ray, or starts one, while the libraries of a search are imported."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from importlib import import_module

from rich.console import Console

from revo_ray.monitor.terminal import say
from revo_ray.search.core.prepare import TORCH
from revo_ray.search.ray.cluster import connected, trial_resources
from revo_ray.search.ray.resources import TrialResources
from revo_ray.search.ray.stopping import stop_if_asked
from revo_ray.settings.schema import ResourcesConfig


def connect(address: str | None, stack: ExitStack) -> bool:
    """Connect to Ray, and import torch meanwhile; returns whether it was connected before.

    A Ray that starts is waited for, some four seconds, and torch takes as many to import.
    """
    imports = threading.Thread(
        target=_import_all, args=((*TORCH, "revo_ray.monitor.tensorboard"),), daemon=True
    )
    imports.start()
    ray_stays = stack.enter_context(connected(address))
    while imports.is_alive():
        stop_if_asked()  # a signal that was lost as Ray forked may have left a lock behind
        imports.join(0.1)
    return ray_stays


def _import_all(modules: Sequence[str]) -> None:
    with suppress(Exception):  # whoever imports it next is told the same
        for module in modules:
            import_module(module)


def needed_resources(resources: ResourcesConfig, console: Console | None) -> TrialResources:
    """Resources of an evaluation; says so if it has to wait for a machine.

    Raises:
        UserError: no machine of the cluster has them.
    """
    needs = trial_resources(resources)
    if waits := needs.check():
        say(console, waits)
    return needs
