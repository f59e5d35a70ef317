"""Private parts of Ray, each taken away in turn."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray._private import ray_constants
from ray.tune.execution import class_cache

from revo_ray.search import ray_internals
from revo_ray.search.ray.private_folder import PATHS
from revo_ray.search.ray_internals import NAMES


class Controller:
    """As much of Tune's controller as is used."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self._actor_cache = SimpleNamespace(increase_max=self._increase)
        self._actor_force_cleanup_timeout = 10

    def _increase(self, request: str, by: int) -> None:
        self.calls.append((request, by))

    def cleanup(self) -> None:
        """End all actors."""
        self.calls.append(self._actor_force_cleanup_timeout)


def keep_and_release() -> list[Any]:
    """The calls that Tune's controller gets."""
    controller = Controller()
    wrapper = SimpleNamespace(_tune_controller=controller)
    ray_internals.keep_workers(wrapper, "a CPU", 3)
    ray_internals.release_workers(wrapper)
    return controller.calls


def worker() -> Any:
    """The worker of a trial that has one."""
    return ray_internals.worker_of(
        SimpleNamespace(temporary_state=SimpleNamespace(ray_actor="actor"))
    )


def still_kept() -> list[str]:
    """The places where a trial is kept that was to be forgotten."""
    ended, other = "ended", "other"
    places = {name.partition(":")[2]: [ended, other] for name in ray_internals.TRIALS}
    wrapper = SimpleNamespace(_tune_controller=SimpleNamespace(**places))
    ray_internals.forget_trial(wrapper, ended)
    ray_internals.forget_trial(wrapper, ended)
    assert all(other in kept for kept in places.values())
    return [name for name in ray_internals.TRIALS if ended in places[name.partition(":")[2]]]


def walked() -> bool:
    """Whether Ray tells which files of a folder it uploads."""
    return ray_internals.walk_upload(Path(__file__).parent, [], lambda path: None, gitignore=False)


def limits_told() -> int:
    """How many of the limits Ray tells."""
    assert ray_internals.upload_limit() is not None
    return sum(ray_internals.find(name) is not None for name in ray_internals.UPLOAD_LIMITS)


def changed(kept: Callable[[], AbstractContextManager[None]], name: str) -> bool:
    """Whether a private part of Ray is another one meanwhile, and the same afterwards."""
    place, _, attribute = name.partition(":")
    module = importlib.import_module(place)
    before = getattr(module, attribute)
    with kept():
        found = getattr(module, attribute) != before
    assert getattr(module, attribute) == before
    return found


def set_apart() -> dict[str, bool]:
    """The parts of Ray that are others while it starts for one search."""
    return {name: changed(kept, name) for name, kept in APART.items()}


APART: dict[str, Callable[[], AbstractContextManager[None]]] = {
    ray_internals.PROPAGATED: ray_internals.no_credentials_sent,
    ray_internals.ON_CLUSTER: ray_internals.on_loopback,
    ray_internals.API_SERVER: ray_internals.without_dashboard,
}

WITHOUT: dict[str, tuple[Callable[[], Any], Any]] = {
    ray_internals.CLUSTER_STATUS: (ray_internals.cluster_status, None),
    ray_internals.KEY_VALUE: (ray_internals.autoscaler_report, {}),
    ray_internals.CONTROLLER: (keep_and_release, []),
    ray_internals.ACTOR_CACHE: (keep_and_release, [0]),
    ray_internals.CLEANUP_TIMEOUT: (keep_and_release, [("a CPU", 3), 10]),
    ray_internals.ACTOR: (worker, None),
    **{name: (still_kept, [name]) for name in ray_internals.TRIALS},
    ray_internals.UPLOAD_EXCLUDES: (walked, False),
    ray_internals.UPLOAD_WALK: (walked, False),
    ray_internals.ALWAYS_EXCLUDED: (walked, False),
    ray_internals.UPLOAD_LIMITS[0]: (limits_told, 1),
    ray_internals.UPLOAD_LIMITS[1]: (limits_told, 1),
    **{name: (set_apart, {other: other != name for other in APART}) for name in APART},
    ray_internals.CONFIG: (ray_internals.read_environment_anew, None),
    ray_internals.ADDRESS_FILE: (ray_internals.address_file, None),
    ray_internals.PROCESSES: (lambda: ray_internals.process_addresses({0}, PATHS), None),
}
"""What uses each name, and its answer where the name is missing."""


TELLS_UPLOADS = hasattr(ray_constants, ray_internals.ALWAYS_EXCLUDED.partition(":")[2])
"""Whether this Ray tells which files of a job it uploads; older ones do not."""


@pytest.mark.parametrize(
    "name", [name for name in NAMES if TELLS_UPLOADS or WITHOUT[name][0] is not walked]
)
def test_a_missing_name_costs_a_convenience_and_one_warning(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    take_away(name, monkeypatch)
    use, answer = WITHOUT[name]
    assert [use(), use()] == [answer, answer]
    (record,) = caplog.records
    assert f"has no {name}: {NAMES[name]}" in record.getMessage()


def test_this_ray_lacks_no_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ray_internals, "_told", set())
    assert callable(ray_internals.find(ray_internals.CLUSTER_STATUS))
    assert callable(ray_internals.find(ray_internals.KEY_VALUE))
    assert keep_and_release() == [("a CPU", 3), 0]
    assert worker() == "actor"
    assert still_kept() == []
    assert limits_told() == 2
    assert set_apart() == dict.fromkeys(APART, True)
    assert ray_internals.address_file() is not None
    assert ray_internals.process_addresses(set(), PATHS) == set()
    assert not TELLS_UPLOADS or walked()
    assert not caplog.records


def test_tune_copies_no_credential_into_the_environment_of_workers() -> None:
    with ray_internals.no_credentials_sent():
        names = set(class_cache.ENV_VARS_TO_PROPAGATE)
    assert names
    assert set(class_cache.ENV_VARS_TO_PROPAGATE) - names >= {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    }
    assert not [name for name in names if name.startswith("AWS")]


def test_a_ray_that_has_the_flag_handles_no_signals_meanwhile() -> None:
    flag = ray_internals.SIGNAL_FLAG.partition(":")[2]
    before = getattr(ray_constants, flag, None)
    with ray_internals.no_signal_handlers():
        assert getattr(ray_constants, flag, None) == (before if before is None else True)
    assert getattr(ray_constants, flag, None) == before


def take_away(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a name be missing for a test, and nothing be told yet."""
    look_up = ray_internals._look_up

    def others(wanted: str, owner: Any) -> Any:
        if wanted == name:
            raise AttributeError(name)
        return look_up(wanted, owner)

    monkeypatch.setattr(ray_internals, "_look_up", others)
    monkeypatch.setattr(ray_internals, "_told", set())
