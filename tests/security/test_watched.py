"""A search and the commands after it, in a folder of planted modules, watched from outside.

Every test asks what one run of them showed, and so they share a file: one process makes that run.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.security.seen import COMMANDS, SENTINELS, VICTIM

pytestmark = pytest.mark.slow
each_command = pytest.mark.parametrize("command", COMMANDS)


@each_command
def test_it_ends_well(command: str, seen: dict[str, Any]) -> None:
    assert seen[command]["status"] == 0, seen[command]["output"]


@each_command
def test_it_connects_nowhere(command: str, seen: dict[str, Any]) -> None:
    """Ray would ask clouds whether it runs there, and ONNX Runtime for the name of a server."""
    assert (seen[command]["tried"], seen[command]["datagrams"]) == ([], 0)


@each_command
def test_what_listens_listens_on_loopback(command: str, seen: dict[str, Any]) -> None:
    listened = seen[command]["listened"]
    assert bool(listened) == (command == "search")  # Ray alone does
    assert [address for address in listened if not address.startswith("127.0.0.1:")] == []


def test_no_secret_of_the_environment_is_in_a_file_while_it_runs(seen: dict[str, Any]) -> None:
    assert [name for name in COMMANDS if seen[name]["leaked"]] == []


def test_nor_afterwards_in_home_temporary_folders_the_run_and_what_was_exported(
    seen: dict[str, Any],
) -> None:
    assert seen["afterwards"]["leaked"] == []


def test_nor_in_what_the_commands_print(seen: dict[str, Any]) -> None:
    outputs = "".join(seen[name]["output"] for name in COMMANDS)
    assert [secret for secret in SENTINELS.values() if secret in outputs] == []


def test_no_planted_module_is_imported(seen: dict[str, Any]) -> None:
    """Not by Ray's workers either."""
    assert seen["afterwards"]["imported"] == []


def test_onnx_runtime_leaves_no_device_id(seen: dict[str, Any]) -> None:
    found = [path for path in seen["afterwards"]["home"] if "icrosoft" in path or "onnx" in path]
    assert found == []


def test_a_link_in_the_temporary_folder_is_not_written_through(seen: dict[str, Any]) -> None:
    """ONNX Runtime's session file was `$TMPDIR/.ses`."""
    assert seen["afterwards"]["victim"] == VICTIM


def test_no_other_user_reads_or_changes_the_files_of_its_ray(seen: dict[str, Any]) -> None:
    assert seen["search"]["open"] == []


def test_the_token_is_for_the_user_alone(seen: dict[str, Any]) -> None:
    modes = seen["afterwards"]["home"]
    assert (modes[".ray"], modes[".ray/auth_token"]) == ("0o700", "0o600")


def test_nobody_joins_its_ray_without_the_token(seen: dict[str, Any]) -> None:
    """Whoever is on the machine knows the address."""
    joined = seen["search"]["joined"]
    assert joined["status"] != 0
    assert "answered" not in joined["output"]
    assert "InvalidAuthToken" in joined["output"]


def test_without_the_token_it_serves_figures_of_its_own_and_nothing_else(
    seen: dict[str, Any],
) -> None:
    """Prometheus reads them, and they name no file and no setting."""
    pages = seen["search"]["unauthorised"]
    assert all(page.startswith("# HELP ") for page in pages.values()), pages
