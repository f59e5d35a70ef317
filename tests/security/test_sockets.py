"""No command connects to a machine or asks for a name unless it was told to."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow

COMMANDS = ("search", "report", "export", "predict")


@pytest.mark.parametrize("command", COMMANDS)
def test_it_connects_nowhere(command: str, seen: dict[str, Any]) -> None:
    assert seen[command]["status"] == 0, seen[command]["output"]
    assert (seen[command]["tried"], seen[command]["datagrams"]) == ([], 0)


@pytest.mark.parametrize("command", COMMANDS)
def test_what_listens_listens_on_loopback(command: str, seen: dict[str, Any]) -> None:
    listened = seen[command]["listened"]
    assert bool(listened) == (command == "search")  # Ray alone does
    assert [address for address in listened if not address.startswith("127.0.0.1:")] == []
