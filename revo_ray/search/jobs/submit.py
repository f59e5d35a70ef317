"""Jobs: a search or a study that is submitted to a Ray cluster from another machine.

A job runs `python -m revo_ray search CONFIG.yaml … --resume` in an upload: what it needs, or a
folder, as `ray job submit` with `cluster/runtime_env.yaml` uploads it. No environment variable is
sent: Ray keeps those of a job in plain text, so credentials belong on the cluster's machines.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from revo_ray.errors import UserError
from revo_ray.methods import make_method
from revo_ray.methods.plugins import plugin_modules
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.paths import require_absolute
from revo_ray.search.jobs.gather import gather
from revo_ray.search.jobs.upload import (
    check_size,
    check_uploaded,
    module_files,
    uploaded_files,
)
from revo_ray.settings.images_argument import images_settings
from revo_ray.settings.safe_yaml import read_yaml
from revo_ray.settings.schema import SearchConfig
from revo_ray.settings.study import StudyConfig

EXCLUDES = (
    ".?*",  # .git, .venv, .env, caches
    *("venv", "__pycache__", "*.egg-info", "/build", "/dist"),
    *("/tests", "/benchmarks", "/docs", "/locks", "/README.md"),
    *("/data", "/datasets", "revo_results"),
    *("*.whl", "*.zip", "*.tar", "*.tar.*", "*.tgz", "*.gz", "*.7z"),
    *("*.pth", "*.pt", "*.ckpt", "*.bin", "*.safetensors", "*.onnx"),
    *("*.[jJ][pP]*[gG]", "*.[pP][nN][gG]", "*.[bB][mM][pP]", "*.[gG][iI][fF]"),
    *("*.[tT][iI][fF]*", "*.[wW][eE][bB][pP]"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*.pem", "*.key", "*.p12", "*.pfx"),
    *("*.kdbx", "credentials", "credentials.[cCjJtTiI]*", "secrets.[eEiIjJtTyY]*"),
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
        files: sizes of the files that are uploaded, by their paths; None where Ray does not tell.
        notes: lines for people on files that are not uploaded.
    """

    name: str
    run: str
    entrypoint: str
    runtime_env: dict[str, Any]
    files: dict[str, int] | None
    notes: tuple[str, ...] = ()


def make_job(
    settings: SearchConfig,
    source: str | None,
    overrides: list[str],
    working_dir: Path,
    runtime_env: Path | None = None,
    *,
    gathered: bool = False,
) -> Job:
    """Make the job of a search or a study, and check that it can start.

    Args:
        settings: the configuration that `source` and `overrides` give.
        source: a file, `preset:NAME`, images, or None for the quick start.
        overrides: `KEY=VALUE` strings.
        working_dir: the folder that is uploaded; a file lies in it.
        runtime_env: a YAML file with more of Ray's runtime environment.
        gathered: fill `working_dir`, which is empty, with what the job needs.

    Raises:
        UserError: the job could not start, or would show credentials.
    """
    if not working_dir.is_dir():
        raise UserError(f"--working-dir: no such folder {str(working_dir)!r}")
    _check(settings)
    environment = _runtime_env(working_dir, runtime_env, () if gathered else EXCLUDES)
    file = source if source is not None and _is_file(source) else None
    if file is None:
        place = source
    elif gathered:
        place = Path(file).name
    else:
        place = _below(working_dir, file)
    if gathered:
        gather(working_dir, settings, file)
        plugin_path = ["."] if plugin_modules() else []
    else:
        folders = dict.fromkeys(plugin_modules().values())
        plugin_path = [_below(working_dir, str(each), "--plugin-path ") for each in folders]
    words = ["python", "-m", "revo_ray", settings.KIND, *([] if place is None else [place])]
    for override in overrides:
        words += ["--set", override]
    for folder in plugin_path:
        words += ["--plugin-path", folder]
    code = [(folder, settings.plugins) for folder in plugin_path]
    files = _check_upload(
        [] if file is None else [str(place)],
        [(".", ["revo_ray", *settings.plugins]), *code],
        working_dir,
        environment["excludes"],
    )
    return Job(
        settings.name,
        RunDirectory.of(settings).uri,
        shlex.join([*words, "--resume"]),
        environment,
        files,
        () if gathered else tuple(_left_here(settings, working_dir)),
    )


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
    needed: list[str],
    modules: list[tuple[str, list[str]]],
    folder: Path,
    excludes: list[str],
) -> dict[str, int] | None:
    """Refuse an upload that is too large, or lacks a file that the job reads.

    Args:
        needed: files that the job reads.
        modules: places in the folder, and modules that the job would import from there.
        folder: the folder that is uploaded.
        excludes: patterns of files that are left out.

    Returns:
        The size of each file, by its path; None where Ray does not tell.
    """
    files = uploaded_files(folder, excludes)
    if files is None:
        return None
    code = (
        os.path.normpath(os.path.join(place, file))
        for place, names in modules
        for file in module_files(folder / place, names)
    )
    check_uploaded(folder, [*needed, *code], files, excludes)
    check_size(files)
    return files


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


def _is_file(source: str) -> bool:
    """Whether a configuration is a file, and neither a preset nor images."""
    return not source.startswith("preset:") and images_settings(source) is None


def _below(working_dir: Path, source: str, option: str = "") -> str:
    path = os.path.relpath(source, working_dir)
    if path.split(os.sep)[0] == os.pardir:
        raise UserError(
            f"{option}{source!r} is not below --working-dir {str(working_dir)!r}, which is what is "
            "uploaded"
        )
    return path


def _runtime_env(working_dir: Path, file: Path | None, excludes: Sequence[str]) -> dict[str, Any]:
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
    excludes = list(dict.fromkeys([*excludes, *(values.get("excludes") or [])]))
    return {**values, "working_dir": os.path.abspath(working_dir), "excludes": excludes}
