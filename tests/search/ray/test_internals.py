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

from revo_ray.search.ray import internals
from revo_ray.search.ray.internals import NAMES
from revo_ray.search.ray.private_folder import PATHS


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
    internals.keep_workers(wrapper, "a CPU", 3)
    internals.release_workers(wrapper)
    return controller.calls


def worker() -> Any:
    """The worker of a trial that has one."""
    return internals.worker_of(SimpleNamespace(temporary_state=SimpleNamespace(ray_actor="actor")))


def still_kept() -> list[str]:
    """The places where a trial is kept that was to be forgotten."""
    ended, other = "ended", "other"
    places = {name.partition(":")[2]: [ended, other] for name in internals.TRIALS}
    wrapper = SimpleNamespace(_tune_controller=SimpleNamespace(**places))
    internals.forget_trial(wrapper, ended)
    internals.forget_trial(wrapper, ended)
    assert all(other in kept for kept in places.values())
    return [name for name in internals.TRIALS if ended in places[name.partition(":")[2]]]


def walked() -> bool:
    """Whether Ray tells which files of a folder it uploads."""
    return internals.walk_upload(Path(__file__).parent, [], lambda path: None, gitignore=False)


def limits_told() -> int:
    """How many of the limits Ray tells."""
    assert internals.upload_limit() is not None
    return sum(internals.find(name) is not None for name in internals.UPLOAD_LIMITS)


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
    internals.PROPAGATED: internals.no_credentials_sent,
    internals.ON_CLUSTER: internals.on_loopback,
    internals.API_SERVER: internals.without_dashboard,
}

WITHOUT: dict[str, tuple[Callable[[], Any], Any]] = {
    internals.CLUSTER_STATUS: (internals.cluster_status, None),
    internals.KEY_VALUE: (internals.autoscaler_report, {}),
    internals.CONTROLLER: (keep_and_release, []),
    internals.ACTOR_CACHE: (keep_and_release, [0]),
    internals.CLEANUP_TIMEOUT: (keep_and_release, [("a CPU", 3), 10]),
    internals.ACTOR: (worker, None),
    **{name: (still_kept, [name]) for name in internals.TRIALS},
    internals.UPLOAD_EXCLUDES: (walked, False),
    internals.UPLOAD_WALK: (walked, False),
    internals.ALWAYS_EXCLUDED: (walked, False),
    internals.UPLOAD_LIMITS[0]: (limits_told, 1),
    internals.UPLOAD_LIMITS[1]: (limits_told, 1),
    **{name: (set_apart, {other: other != name for other in APART}) for name in APART},
    internals.CONFIG: (internals.read_environment_anew, None),
    internals.ADDRESS_FILE: (internals.address_file, None),
    internals.PROCESSES: (lambda: internals.process_addresses({0}, PATHS), None),
}
"""What uses each name, and its answer where the name is missing."""


TELLS_UPLOADS = hasattr(ray_constants, internals.ALWAYS_EXCLUDED.partition(":")[2])
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
    monkeypatch.setattr(internals, "_told", set())
    assert callable(internals.find(internals.CLUSTER_STATUS))
    assert callable(internals.find(internals.KEY_VALUE))
    assert keep_and_release() == [("a CPU", 3), 0]
    assert worker() == "actor"
    assert still_kept() == []
    assert limits_told() == 2
    assert set_apart() == dict.fromkeys(APART, True)
    assert internals.address_file() is not None
    assert internals.process_addresses(set(), PATHS) == set()
    assert not TELLS_UPLOADS or walked()
    assert not caplog.records


def test_tune_copies_no_credential_into_the_environment_of_workers() -> None:
    with internals.no_credentials_sent():
        names = set(class_cache.ENV_VARS_TO_PROPAGATE)
    assert names
    assert set(class_cache.ENV_VARS_TO_PROPAGATE) - names >= {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    }
    assert not [name for name in names if name.startswith("AWS")]


def test_a_ray_that_has_the_flag_handles_no_signals_meanwhile() -> None:
    flag = internals.SIGNAL_FLAG.partition(":")[2]
    before = getattr(ray_constants, flag, None)
    with internals.no_signal_handlers():
        assert getattr(ray_constants, flag, None) == (before if before is None else True)
    assert getattr(ray_constants, flag, None) == before


def take_away(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a name be missing for a test, and nothing be told yet."""
    look_up = internals._look_up

    def others(wanted: str, owner: Any) -> Any:
        if wanted == name:
            raise AttributeError(name)
        return look_up(wanted, owner)

    monkeypatch.setattr(internals, "_look_up", others)
    monkeypatch.setattr(internals, "_told", set())
