"""Secrets of the environment are in no file."""

from __future__ import annotations

from typing import Any

import pytest

from tests.security.seen import SENTINELS

pytestmark = pytest.mark.slow


def test_while_a_search_runs(seen: dict[str, Any]) -> None:
    assert seen["search"]["status"] == 0, seen["search"]["output"]
    assert seen["search"]["leaked"] == []


def test_afterwards_in_home_temporary_folders_the_run_and_what_was_exported(
    seen: dict[str, Any],
) -> None:
    for command in ("report", "export", "predict"):
        assert seen[command]["status"] == 0, seen[command]["output"]
    assert seen["afterwards"]["leaked"] == []


def test_in_what_the_commands_print(seen: dict[str, Any]) -> None:
    outputs = [each["output"] for each in seen.values() if "output" in each]
    assert not [secret for secret in SENTINELS.values() if secret in "".join(outputs)]
