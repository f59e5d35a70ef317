"""Tests for a Ray that tells which files of a folder it uploads."""

from __future__ import annotations

import pytest
from ray._private import ray_constants

rays_that_tell = pytest.mark.skipif(
    not hasattr(ray_constants, "get_runtime_env_default_excludes"),
    reason="this Ray does not tell which files it uploads",
)
