"""`--version`: the versions of the libraries, and the devices of this machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from rich.filesize import decimal

import revo_ray

LIBRARIES = ("torch", "torchvision", "ray", "timm", "cmaes")
QUERY = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")


def version_lines() -> Iterator[str]:
    """Name and version of each part, then of each device; no library is imported."""
    yield f"revo-ray {revo_ray.__version__}"
    yield f"python {platform.python_version()}"
    for library in LIBRARIES:
        try:
            yield f"{library} {metadata.version(library)}"
        except metadata.PackageNotFoundError:
            yield f"{library} is not installed"
    yield f"cuda {_cuda() or 'none'}"
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    system = f"{platform.system()} {platform.machine()}"
    yield f"CPU: {cores} cores, {decimal(pages)} of memory, {system}"
    yield from [f"GPU: {gpu}" for gpu in _gpus()] or ["GPU: none"]


def _cuda() -> str | None:
    """The version of CUDA that torch was built for, read from its file of versions."""
    try:
        spec = find_spec("torch")
        assert spec is not None
        assert spec.origin is not None
        text = Path(spec.origin).with_name("version.py").read_text()
    except (AssertionError, ImportError, OSError, ValueError):
        return None
    found = re.search(r"^cuda\b[^=\n]*= *['\"]([^'\"]+)", text, re.M)
    return found and found[1]


def _gpus() -> list[str]:
    """Name and memory of each GPU, as nvidia-smi has them."""
    try:
        answer = subprocess.run(QUERY, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]
