"""Jobs: a search or a study that is submitted to a Ray cluster from another machine.

A job runs `python -m revo_ray search CONFIG.yaml … --resume` in an upload of the working folder, as
`ray job submit` with `cluster/runtime_env.yaml` does. No environment variable is sent: Ray keeps
those of a job in plain text, so credentials belong on the cluster's machines.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from revo_ray.errors import UserError
from revo_ray.methods import make_method
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.paths import require_absolute
from revo_ray.search.jobs.upload import (
    check_size,
    check_uploaded,
    module_files,
    uploaded_files,
)
from revo_ray.settings.safe_yaml import read_yaml
from revo_ray.settings.schema import SearchConfig
from revo_ray.settings.study import StudyConfig

EXCLUDES = (
    ".?*",  # .git, .venv, .env, caches
    *("venv", "__pycache__", "*.egg-info", "/build", "/dist"),
    *("/tests", "/benchmarks", "/docs", "/README.md", "/data", "/datasets", "revo_results"),
    *("*.whl", "*.zip", "*.tar", "*.tar.*", "*.tgz", "*.gz", "*.7z"),
    *("*.pth", "*.pt", "*.ckpt", "*.bin", "*.safetensors", "*.onnx"),
    *("*.[jJ][pP]*[gG]", "*.[pP][nN][gG]", "*.[bB][mM][pP]", "*.[gG][iI][fF]"),
    *("*.[tT][iI][fF]*", "*.[wW][eE][bB][pP]"),
    *("*.arrow", "*.parquet", "*.npy", "*.npz", "*.h5", "*.log"),
)
"""Patterns of files that are not uploaded, as in a .gitignore. Ray also leaves out those of a real
.gitignore."""


@dataclass(frozen=True)
class Job:
    """A search or a study, ready to be submitted.

    Attributes:
        name: name of the configuration.
        run: its run directory, as the cluster sees it.
        entrypoint: a shell command.
        runtime_env: Ray's runtime environment, with the folder to upload.
        notes: lines for people on files that are not uploaded.
    """

    name: str
    run: str
    entrypoint: str
    runtime_env: dict[str, Any]
    notes: tuple[str, ...] = ()


def make_job(
    settings: SearchConfig,
    source: str | None,
    overrides: list[str],
    working_dir: Path,
    runtime_env: Path | None = None,
) -> Job:
    """Make the job of a search or a study, and check that it can start.

    Args:
        settings: the configuration that `source` and `overrides` give.
        source: a file below `working_dir`, `preset:NAME`, or None for the quick start.
        overrides: `KEY=VALUE` strings.
        working_dir: the folder that is uploaded.
        runtime_env: a YAML file with more of Ray's runtime environment.

    Raises:
        UserError: the job could not start, or would show credentials.
    """
    if not working_dir.is_dir():
        raise UserError(f"--working-dir: no such folder {str(working_dir)!r}")
    words = ["python", "-m", "revo_ray", settings.KIND]
    if source is not None:
        words.append(source if source.startswith("preset:") else _below(working_dir, source))
    for override in overrides:
        words += ["--set", override]
    sys.path.append(os.path.abspath(working_dir))  # the job finds plugins there, too
    _check(settings)
    run = RunDirectory.of(settings).uri
    environment = _runtime_env(working_dir, runtime_env)
    _check_upload(settings, source, working_dir, environment["excludes"])
    notes = tuple(_left_here(settings, working_dir))
    return Job(settings.name, run, shlex.join([*words, "--resume"]), environment, notes)


def _check(settings: SearchConfig) -> None:
    """Refuse a configuration with which the job would end before its first evaluation."""
    require_absolute(settings)
    for search in settings.searches() if isinstance(settings, StudyConfig) else [settings]:
        try:
            require_absolute(search)
            make_method(search.method, search.plugins, search.train)
        except UserError as error:
            if search is settings:
                raise
            raise UserError(f"{search.name}: {error}", key="study") from None


def _check_upload(
    settings: SearchConfig, source: str | None, folder: Path, excludes: list[str]
) -> None:
    """Refuse an upload that is too large, or lacks a file that the job reads."""
    files = uploaded_files(folder, excludes)
    if files is None:
        return
    needed = [*module_files(folder, ["revo_ray", *settings.plugins])]
    if source is not None and not source.startswith("preset:"):
        needed.append(_below(folder, source))
    check_uploaded(folder, needed, files, excludes)
    check_size(files)


def _left_here(settings: SearchConfig, folder: Path) -> Iterator[str]:
    """Name images and weights in the folder: a job reads them only where its machines do."""
    searches = settings.searches() if isinstance(settings, StudyConfig) else [settings]
    places = (("data.root", s.data.root) for s in searches)
    weights = (("model.weights", s.model.weights_file) for s in searches)
    for key, path in dict.fromkeys((*places, *weights)):
        if path and "://" not in path:
            absolute = Path(os.path.abspath(os.path.expanduser(path)))
            if absolute.is_relative_to(os.path.abspath(folder)):
                yield (
                    f"{key}: {path!r} lies in --working-dir, and the job reads it at that path, "
                    "not in the upload: each machine of the cluster needs it there"
                )


def _below(working_dir: Path, source: str) -> str:
    path = os.path.relpath(source, working_dir)
    if path.split(os.sep)[0] == os.pardir:
        raise UserError(
            f"{source!r} is not below --working-dir {str(working_dir)!r}, which is what is uploaded"
        )
    return path


def _runtime_env(working_dir: Path, file: Path | None) -> dict[str, Any]:
    values: Any = {}
    if file is not None:
        try:
            values = read_yaml(file.read_text(encoding="utf-8"))[0] or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UserError(
                f"--runtime-env: cannot read {str(file)!r}: {' '.join(str(error).split())}"
            ) from None
        if not isinstance(values, dict):
            raise UserError(f"--runtime-env: {str(file)!r} is no mapping of keys to values")
    excludes = dict.fromkeys([*EXCLUDES, *(values.get("excludes") or [])])
    return {**values, "working_dir": os.path.abspath(working_dir), "excludes": list(excludes)}
