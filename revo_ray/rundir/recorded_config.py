"""`config.yaml` of a run directory: what the run is, and whether a resumed one is still it."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from revo_ray.errors import UserError
from revo_ray.settings.safe_yaml import read_yaml
from revo_ray.settings.schema import SearchConfig
from revo_ray.storage import Storage

FILE = "config.yaml"

MAY_CHANGE = (
    "name",
    "storage",
    "plugins",
    "data.root",  # the table's checksum says whether the images are the same
    "train.time_limit",
    "train.cache_mb",
    "resources.max_concurrent",
    "resources.gpus_per_trial",
)
"""Keys that change no number of a search, on one kind of device; a resumed one may set them."""

PACKAGES = ("torch", "torchvision", "timm", "ray", "cmaes", "numpy", "scikit-learn", "pyarrow")


def write_record(storage: Storage, config: SearchConfig, checksums: dict[str, str | None]) -> None:
    """Write `config.yaml`: the resolved configuration, versions, revision and checksums."""
    values = config.model_dump(mode="json")
    values["recorded"] = {
        "versions": {"python": platform.python_version()} | _versions(),
        "revision": _revision(),
        "sha256": checksums,
    }
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    storage.write(FILE, text.encode())


def recorded_fuse(storage: Storage) -> int | None:
    """How many evaluations train together, as it was measured; None where nothing was.

    Raises:
        UserError: `config.yaml` is missing or damaged.
    """
    try:
        fuse = read_yaml(storage.read(FILE))[0]["recorded"].get("fuse")
        return None if fuse is None else int(fuse)
    except (yaml.YAMLError, FileNotFoundError, AttributeError, KeyError, TypeError, ValueError):
        raise _damaged(storage) from None


def record_fuse(storage: Storage, fuse: int) -> None:
    """Add how many evaluations train together to `config.yaml`."""
    values, _ = read_yaml(storage.read(FILE))
    values["recorded"]["fuse"] = fuse
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    storage.write(FILE, text.encode())


def _damaged(storage: Storage) -> UserError:
    return UserError(
        f"{storage.uri}/{FILE} is missing or damaged; restore it, or choose another name"
    )


def check_record(storage: Storage, config: SearchConfig, checksums: dict[str, str | None]) -> None:
    """Compare a resumed run's configuration and files with the recorded ones.

    Raises:
        UserError: naming the keys that differ, or the file whose checksum does.
    """
    try:
        recorded, _ = read_yaml(storage.read(FILE))
        provenance = recorded.pop("recorded")
        sha256 = dict(provenance["sha256"])
    except (yaml.YAMLError, FileNotFoundError, AttributeError, KeyError, TypeError, ValueError):
        raise _damaged(storage) from None
    now = _flat(config.model_dump(mode="json"))
    before = _flat(SearchConfig().model_dump(mode="json")) | _flat(recorded)
    differ = [
        f"{key} ({before.get(key)!r}, now {now.get(key)!r})"
        for key in sorted(before.keys() | now.keys())
        if key not in MAY_CHANGE and before.get(key) != now.get(key)
    ]
    if differ:
        raise UserError(
            f"the search in {storage.uri} was started with other settings: {', '.join(differ)}; "
            "set them back, or choose another name"
        )
    for what, checksum in checksums.items():
        if sha256.get(what) != checksum:
            raise UserError(
                f"the {what} of the search in {storage.uri} changed since it was started "
                f"(SHA-256 {sha256.get(what)}, now {checksum}); put it back, or choose another name"
            )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
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
