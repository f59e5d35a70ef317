"""The private parts of Ray that a search uses, each looked up when it is used.

A Ray that lacks one of them costs a convenience or a protection, and one warning, not the search.
"""

from __future__ import annotations

import importlib
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from operator import attrgetter
from pathlib import Path
from typing import Any

import ray

from revo_ray.credentials import names_secret

CLUSTER_STATUS = "ray.autoscaler.v2.sdk:get_cluster_status"
KEY_VALUE = "ray.experimental.internal_kv:_internal_kv_get"
CONTROLLER = "TrialRunnerWrapper:_tune_controller"
ACTOR_CACHE = "TuneController:_actor_cache.increase_max"
CLEANUP_TIMEOUT = "TuneController:_actor_force_cleanup_timeout"
ACTOR = "Trial:temporary_state.ray_actor"
TRIALS = (
    *("TuneController:_trials", "TuneController:_trials_to_cache"),
    *("TuneController:_stopped_trials", "TuneController:_failed_trials"),
)
"""Places where Tune's controller keeps trials that have ended."""

UPLOAD_EXCLUDES = "ray._private.runtime_env.packaging:_get_excludes"
UPLOAD_WALK = "ray._private.runtime_env.packaging:_dir_travel"
ALWAYS_EXCLUDED = "ray._private.ray_constants:get_runtime_env_default_excludes"
UPLOAD_LIMITS = (
    "ray._private.runtime_env.packaging:GCS_STORAGE_MAX_SIZE",
    "ray._private.ray_constants:DASHBOARD_CLIENT_MAX_SIZE",
)
"""Bytes that the cluster's store takes, and that its dashboard does."""

PROPAGATED = "ray.tune.execution.class_cache:ENV_VARS_TO_PROPAGATE"
ON_CLUSTER = "ray._private.ray_constants:ENABLE_RAY_CLUSTER"
API_SERVER = "ray._private.services:start_api_server"
CONFIG = "ray._raylet:Config"
ADDRESS_FILE = "ray._common.utils:get_ray_address_file"
PROCESSES = "ray._private.services:psutil"

NAMES = {
    CLUSTER_STATUS: "the autoscaler's second version goes unnoticed, so a search does not wait "
    "for machines that it could start",
    KEY_VALUE: "the autoscaler's first version goes unnoticed, so a search does not wait for "
    "machines that it could start",
    CONTROLLER: "workers that wait for the next generation may start again, cold",
    ACTOR_CACHE: "workers that wait for the next generation may start again, cold",
    CLEANUP_TIMEOUT: "an interrupted search takes up to 10 seconds to give its workers back",
    ACTOR: "train.time_limit ends no evaluation",
    **dict.fromkeys(TRIALS, "the driver's memory grows by some 50 KB with each evaluation"),
    **dict.fromkeys(
        (UPLOAD_EXCLUDES, UPLOAD_WALK, ALWAYS_EXCLUDED, *UPLOAD_LIMITS),
        "`revo-ray submit` does not see what the job's upload leaves out, or how large it is",
    ),
    PROPAGATED: "Tune writes AWS_SECRET_ACCESS_KEY of the environment to Ray's logs",
    ON_CLUSTER: "an embedded Ray listens on all addresses of the machine, with its token as the "
    "only protection",
    API_SERVER: "an embedded Ray asks the clouds' metadata services where it runs",
    CONFIG: "an embedded Ray may ask for no token; set RAY_AUTH_MODE=token",
    **dict.fromkeys((ADDRESS_FILE, PROCESSES), "--address auto may join a cluster of another user"),
}
"""The names, each a module or the class of an object, with the attribute there; and the
convenience or protection that is lost with it."""

LOUD = {
    "ray.dashboard.modules.dashboard_sdk": logging.WARNING,
    "ray.dashboard.modules.job.sdk": logging.WARNING,
    "ray._private.runtime_env.packaging": logging.WARNING,
    "ray._private.runtime_env.working_dir": logging.ERROR,  # of folders that are meant to stay
}
"""Loggers of the job client, and the levels from which they are wanted."""

SIGNAL_FLAG = "ray._private.ray_constants:RAY_DISABLE_FAILURE_SIGNAL_HANDLER"
"""Without it nothing is lost, but that a SIGTERM while Ray starts or ends gives another status."""

UV_FLAG = "ray._private.ray_constants:RAY_ENABLE_UV_RUN_RUNTIME_ENV"
"""With it, under `uv run`, Ray uploads the current folder, and its workers import from there."""

AUTOSCALER_KEY = "__autoscaling_status"
"""Key under which the autoscaler's first version publishes its report."""

_told: set[str] = set()
_log = logging.getLogger(__name__)


def find(name: str, owner: Any = None) -> Any:
    """Look up one of `NAMES`; None, after a warning the first time, where this Ray lacks it.

    Args:
        owner: the object that has the attribute, where the name begins with a class.
    """
    try:
        return _look_up(name, owner)
    except (ImportError, AttributeError):
        if name not in _told:
            _told.add(name)
            _log.warning("Ray %s has no %s: %s", ray.__version__, name, NAMES[name])
        return None


def _look_up(name: str, owner: Any = None) -> Any:
    place, _, attribute = name.partition(":")
    return attrgetter(attribute)(importlib.import_module(place) if owner is None else owner)


def cluster_status() -> Any:
    """The `ClusterStatus` of the connected cluster; None where Ray does not tell."""
    get_cluster_status = find(CLUSTER_STATUS)
    return get_cluster_status and get_cluster_status(ray.get_runtime_context().gcs_address)


def autoscaler_report() -> dict[str, Any]:
    """The report of the autoscaler's first version; empty where there is none."""
    get = find(KEY_VALUE)
    status = json.loads((get and get(AUTOSCALER_KEY)) or "{}")
    return status.get("autoscaler_report") or {}


def signal_flag() -> Any:
    """Ray's flag that lets it leave signals alone; None in a Ray before 2.53, which has none."""
    try:
        return _look_up(SIGNAL_FLAG)
    except (ImportError, AttributeError):
        return None


@contextmanager
def no_signal_handlers() -> Iterator[None]:
    """Keep a Ray that starts meanwhile from handling signals in C++, SIGTERM among them.

    From a Ray without the flag, `stopping.listen_anew` takes the signals back.
    """
    with _flag(SIGNAL_FLAG, True):
        yield


@contextmanager
def no_copy_of_uv(wanted: bool) -> Iterator[None]:
    """Keep a Ray that starts meanwhile under `uv run` from uploading the current folder."""
    with _flag(UV_FLAG, False) if wanted else nullcontext():
        yield


@contextmanager
def _flag(place: str, value: bool) -> Iterator[None]:
    """Set a flag of Ray for a time, if this Ray has it."""
    module, _, name = place.partition(":")
    constants = importlib.import_module(module)
    before = getattr(constants, name, None)
    if before is None:
        yield
        return
    setattr(constants, name, value)
    try:
        yield
    finally:
        setattr(constants, name, before)


def keep_workers(wrapper: Any, request: Any, more: int) -> None:
    """Let Tune's controller, as schedulers get it, keep more idle workers with some resources."""
    controller = find(CONTROLLER, wrapper)
    increase = controller and find(ACTOR_CACHE, controller)
    if increase is not None:
        increase(request, by=more)


def release_workers(wrapper: Any) -> None:
    """End all workers of a Tune run, at once."""
    controller = find(CONTROLLER, wrapper)
    if controller is None:
        return
    if find(CLEANUP_TIMEOUT, controller) is not None:
        controller._actor_force_cleanup_timeout = 0
    controller.cleanup()


def worker_of(trial: Any) -> Any:
    """The actor that works on a trial, perhaps still on the way to it; None where there is none."""
    return find(ACTOR, trial)


def forget_trial(wrapper: Any, trial: Any) -> None:
    """Let Tune's controller, as schedulers get it, forget a trial that has ended.

    Tune keeps each with its request, its last result, and statistics of every number in it.
    """
    controller = find(CONTROLLER, wrapper)
    for name in TRIALS if controller is not None else ():
        kept = find(name, controller)
        if kept is not None and trial in kept:
            kept.remove(trial)


def walk_upload(
    folder: Path, excludes: Sequence[str], visit: Callable[[Path], None], *, gitignore: bool
) -> bool:
    """Visit the files that Ray uploads of a folder; returns False where this Ray cannot tell.

    Args:
        folder: an absolute path.
        excludes: patterns of files that are left out, beside those that Ray always leaves out.
        visit: called with each path.
        gitignore: whether files of `.gitignore` are left out, too.
    """
    always, exclude, walk = map(find, (ALWAYS_EXCLUDED, UPLOAD_EXCLUDES, UPLOAD_WALK))
    if None in (always, exclude, walk):
        return False
    quiet_uploads()
    excluded = exclude(folder, [*always(), *excludes])
    walk(folder, [excluded], visit, include_gitignore=gitignore)
    return True


def quiet_uploads() -> None:
    """Keep Ray's job client from printing what it uploads and leaves out, but for `--verbose`."""
    if logging.getLogger("revo_ray").isEnabledFor(logging.DEBUG):
        return
    for module, level in LOUD.items():
        logging.getLogger(module).setLevel(level)


def upload_limit() -> int | None:
    """Bytes that Ray takes as the upload of a job; None where it does not tell."""
    limits = [int(limit) for limit in map(find, UPLOAD_LIMITS) if limit is not None]
    return min(limits, default=None)


@contextmanager
def no_credentials_sent() -> Iterator[None]:
    """Keep Tune from copying credentials of the environment into what Ray writes to its logs."""
    with _changed(PROPAGATED, lambda names: {n for n in names if not names_secret(n)}):
        yield


@contextmanager
def on_loopback() -> Iterator[None]:
    """Let a Ray that starts meanwhile listen on 127.0.0.1, as it does on macOS and Windows."""
    with _changed(ON_CLUSTER, lambda _: False):
        yield


@contextmanager
def without_dashboard() -> Iterator[None]:
    """Leave out the process of a dashboard that is off, which only asks in which cloud it runs.

    Ray starts it even where its usage statistics are off.
    """
    with _changed(API_SERVER, lambda _: _no_api_server):
        yield


def _no_api_server(*args: Any, **kwargs: Any) -> tuple[None, None]:
    """Answer with no address and no process, once the agent's libraries have been read.

    Ray's node gives up if its agent is not there 15 seconds after its own start. The
    dashboard, which is waited for, would have read the same libraries before.
    """
    agent = Path(ray.__file__).with_name("dashboard") / "agent.py"
    nothing = subprocess.DEVNULL
    subprocess.run(
        [sys.executable, str(agent), "--help"], stdin=nothing, stdout=nothing, stderr=nothing
    )
    return None, None


@contextmanager
def _changed(name: str, change: Callable[[Any], Any]) -> Iterator[None]:
    """Change a module's attribute, and restore it afterwards."""
    before = find(name)
    if before is None:
        yield
        return
    place, _, attribute = name.partition(":")
    module = importlib.import_module(place)
    setattr(module, attribute, change(before))
    try:
        yield
    finally:
        setattr(module, attribute, before)


def read_environment_anew() -> None:
    """Let Ray in this process read its variables again, of which it keeps a copy."""
    config = find(CONFIG)
    if config is not None:
        config.initialize("")


def address_file() -> Path | None:
    """The file in which `ray start` notes the address of its cluster; None if Ray does not tell."""
    file = find(ADDRESS_FILE)
    return file and Path(file(None))


def process_addresses(users: set[int], private: re.Pattern[str]) -> set[str] | None:
    """Addresses of the clusters that processes of some users take part in.

    Args:
        users: their ids.
        private: a part of the paths of clusters that are left out.

    Returns:
        each as host:port; None if Ray does not tell.
    """
    psutil = find(PROCESSES)
    if psutil is None:
        return None
    flag, found = "--gcs-address=", set()
    for process in psutil.process_iter(["uids", "cmdline"]):
        uids, words = process.info["uids"], " ".join(process.info["cmdline"] or ()).split()
        ours = uids is not None and uids.effective in users
        if ours and not any(private.search(word) for word in words):
            found |= {word.removeprefix(flag) for word in words if word.startswith(flag)}
    return found - {"", "None"}
