"""Libraries send nothing to those who make them, and keep no files for it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.security.seen import VICTIM

pytestmark = pytest.mark.slow


def test_onnx_runtime_asks_no_name_and_leaves_no_device_id(seen: dict[str, Any]) -> None:
    assert seen["predict"]["status"] == 0, seen["predict"]["output"]
    assert seen["predict"]["datagrams"] == 0
    found = [path for path in seen["afterwards"]["home"] if "icrosoft" in path or "onnx" in path]
    assert found == []


def test_ray_asks_no_cloud_where_it_runs(seen: dict[str, Any]) -> None:
    assert seen["search"]["status"] == 0, seen["search"]["output"]
    assert (seen["search"]["tried"], seen["search"]["datagrams"]) == ([], 0)


def test_a_link_in_the_temporary_folder_is_not_written_through(seen: dict[str, Any]) -> None:
    """ONNX Runtime's session file was `$TMPDIR/.ses`."""
    assert seen["predict"]["status"] == 0, seen["predict"]["output"]
    assert seen["afterwards"]["victim"] == VICTIM
