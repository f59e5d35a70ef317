"""The configuration that a run directory records, and the check of a resumed search against it."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from revo_ray.errors import UserError
from revo_ray.rundir.forms import FORMS
from revo_ray.rundir.model_folder import PLAN
from revo_ray.settings.deleted import read_back
from revo_ray.settings.safe_yaml import read_yaml
from revo_ray.settings.schema import SearchConfig
from revo_ray.storage import Storage

FILE = "config.yaml"

MAY_CHANGE = (
    "name",
    "storage",
    "plugins",
    "trackers",
    "model.sha256",  # the weights' checksum is compared as it was recorded
    "data.root",  # the table's checksum says whether the images are the same
    "train.time_limit",
    "train.cache_mb",
    "search.stop_after",
    "resources.max_concurrent",
    "resources.gpus_per_trial",
)
"""Keys that change no number of a search, on one kind of device; a resumed one may set them."""

MAY_GROW = "search.evaluations"
"""The key that a resumed search may raise: its rows are the first ones of the longer search."""

PACKAGES = ("torch", "torchvision", "timm", "ray", "cmaes", "numpy", "scikit-learn", "pyarrow")


@dataclass(frozen=True)
class RecordedConfig:
    """The configuration in a run directory.

    Attributes:
        config: the configuration that the search was started with.
        provenance: package versions, the code's revision, checksums of weights and table, and the
            versions of the rules.
        deleted: keys that this version no longer has and that were not at their defaults, with
            their values. Such a search can be read, and cannot be resumed.
    """

    config: SearchConfig
    provenance: dict[str, Any]
    deleted: dict[str, Any]


def write_config(
    storage: Storage,
    config: SearchConfig,
    checksums: Mapping[str, str | None],
    rules: Mapping[str, int],
    hub_revision: str | None = None,
) -> None:
    """Write the resolved configuration with package versions, revision, checksums and rules.

    Args:
        storage: the run directory.
        config: with all of its method's options.
        checksums: SHA-256 of the `weights` as they were given, and of the `table`.
        rules: the versions of the rules by which a search is made, `units` and `proposals`.
        hub_revision: commit of the Hugging Face Hub that the weights are from.

    Raises:
        OSError: the storage is full or unreachable.
    """
    values = config.model_dump(mode="json")
    values["recorded"] = {
        "versions": {"python": platform.python_version()} | _versions(),
        "revision": _revision(),
        "sha256": dict(checksums),
        "rules": dict(rules),
    }
    if hub_revision is not None:
        values["recorded"]["hub_revision"] = hub_revision
    _write(storage, values)


def record_growth(storage: Storage, evaluations: int) -> None:
    """Raise `search.evaluations` in a recorded configuration, and leave all else as it is.

    Raises:
        OSError: the storage is full or unreachable.
    """
    values, _ = read_yaml(storage.read(FILE))
    section, _, key = MAY_GROW.partition(".")
    values.setdefault(section, {})[key] = evaluations
    _write(storage, values)


def read_config(storage: Storage) -> RecordedConfig:
    """Read the configuration in a run directory.

    Raises:
        UserError: it is missing or damaged.
        OSError: the storage is unreachable.
    """
    values, provenance, deleted = _read(storage)
    try:
        return RecordedConfig(SearchConfig.model_validate(values), provenance, deleted)
    except ValueError:
        raise _damaged(storage) from None


def check_config(
    storage: Storage,
    config: SearchConfig,
    checksums: Mapping[str, str | None],
    rules: Mapping[str, int],
) -> bool:
    """Compare a resumed search's configuration, files and rules with the recorded ones.

    Args:
        storage, config, checksums, rules: as of `write_config`; checksums that are not known yet
            may be missing.

    Returns:
        Whether `search.evaluations` has grown.

    Raises:
        UserError: naming the keys that differ or were deleted since, the file whose checksum
            differs, or the rules.
    """
    recorded, provenance, deleted = _read(storage)
    if deleted:
        keys = ", ".join(f"{key}={value!r}" for key, value in deleted.items())
        raise UserError(
            f"the search in {storage.uri} was started with {keys}, which this version no longer "
            "has; go on with the version that started it, or choose another name"
        )
    now = flat(config.model_dump(mode="json"))
    before = flat(SearchConfig().model_dump(mode="json")) | flat(recorded)
    old, new = before[MAY_GROW], now[MAY_GROW]
    grown = isinstance(old, int) and new > old
    every = before.keys() | now.keys()
    free = {*MAY_CHANGE, *([MAY_GROW] if grown else [])}
    _refuse_changes(storage, before, now, every - free)
    sha256 = provenance.get("sha256")
    if not isinstance(sha256, dict):
        raise _damaged(storage)
    for what, version in rules.items():
        if (old := _rules(storage, provenance).get(what, 1)) != version:
            raise UserError(
                f"the search in {storage.uri} was started under version {old} of the rules of "
                f"{what}, and this revo-ray has version {version}; go on with the version that "
                "started it, or choose another name"
            )
    for what, checksum in checksums.items():
        if sha256.get(what) != checksum:
            raise UserError(
                f"the {what} of the search in {storage.uri} changed since it was started "
                f"(SHA-256 {sha256.get(what)}, now {checksum}); put it back, or choose another name"
            )
    return grown


def check_images(storage: Storage, config: SearchConfig) -> None:
    """Compare the place of the images with the recorded one, of a search that has no rows yet.

    Raises:
        UserError: it is another place, or the recorded configuration is damaged.
    """
    before, now = (
        {"data.source": data.source, "data.root": data.root and _absolute(data.root)}
        for data in (read_config(storage).config.data, config.data)
    )
    _refuse_changes(storage, before, now, before)


def _absolute(path: str) -> str:
    return path if "://" in path else os.path.abspath(os.path.expanduser(path))


def _refuse_changes(
    storage: Storage, before: Mapping[str, Any], now: Mapping[str, Any], keys: Iterable[str]
) -> None:
    """Refuse a resumed search in which keys differ from the recorded ones.

    Raises:
        UserError: naming them.
    """
    differ = [
        f"{key} ({before.get(key)!r}, now {now.get(key)!r}"
        + ("; it may only grow)" if key == MAY_GROW else ")")
        for key in sorted(keys)
        if before.get(key) != now.get(key)
    ]
    if differ:
        raise UserError(
            f"the search in {storage.uri} was started with other settings: {', '.join(differ)}; "
            "set them back, or choose another name"
        )


def check_plan(uri: str, unit_rules: int) -> None:
    """Check that a plan gives its rates to the same units now as in the search that made it.

    Args:
        uri: a plan. One outside a run directory passes.
        unit_rules: the present version of the rules of units.

    Raises:
        UserError: the units of the search are from another version of the rules.
    """
    folder = next((form for form in FORMS if uri.endswith(f"/{form}/{PLAN}")), None)
    if folder is None:
        return
    run = Storage(uri.removesuffix(f"{folder}/{PLAN}"))
    if not run.exists(FILE):
        return
    _, provenance, _ = _read(run)
    if (old := _rules(run, provenance).get("units", 1)) != unit_rules:
        raise UserError(
            f"{uri} is a plan for units by version {old} of the rules, and this revo-ray has "
            f"version {unit_rules}; train with the version that made it"
        )


def _rules(storage: Storage, provenance: Mapping[str, Any]) -> dict[str, int]:
    """The recorded versions of the rules; none was recorded of version 1."""
    rules = provenance.get("rules") or {}
    if not isinstance(rules, dict):
        raise _damaged(storage)
    return rules


def _read(storage: Storage) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The recorded values, the provenance, and the deleted keys."""
    try:
        values, _ = read_yaml(storage.read(FILE))
        provenance, deleted = read_back(values)
        return values, provenance, deleted
    except (yaml.YAMLError, FileNotFoundError, AttributeError, TypeError, ValueError):
        raise _damaged(storage) from None


def _write(storage: Storage, values: dict[str, Any]) -> None:
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    storage.write(FILE, text.encode())


def _damaged(storage: Storage) -> UserError:
    return UserError(
        f"{storage.uri}/{FILE} is missing or damaged; restore it, or put the folder away"
    )


def flat(values: dict[str, Any]) -> dict[str, Any]:
    """The keys of all sections; a value of a key may be a mapping."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{inner}": setting for inner, setting in value.items()}
        else:
            flat[str(key)] = value
    return flat


@cache
def _versions() -> dict[str, str]:
    found = {}
    for package in ("revo-ray", *PACKAGES):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def _revision() -> str | None:
    """The commit of the checkout that this code runs from; None outside one."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
