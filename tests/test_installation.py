"""Messages name the place that revo-ray really came from."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from revo_ray import installation

ROOT = Path(__file__).parents[1]
COMMIT = "0" * 40

ORIGINS: dict[str, tuple[dict[str, Any] | None, str]] = {
    "an index": (None, "revo-ray[export]"),
    "a wheel": (
        {"url": "file:///a%20b/revo_ray-1-py3-none-any.whl", "archive_info": {}},
        "/a b/revo_ray-1-py3-none-any.whl[export]",
    ),
    "a folder": ({"url": "file:///src/revo", "dir_info": {}}, "/src/revo[export]"),
    "git": (
        {"url": "https://x.example/r.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
        f"revo-ray[export] @ git+https://x.example/r.git@{COMMIT}",
    ),
    "a server": (
        {"url": "https://me:hunter22@x.example/r.whl", "archive_info": {}},
        "revo-ray[export] @ https://…@x.example/r.whl",
    ),
}


@pytest.mark.parametrize("origin", ORIGINS)
def test_the_command_names_where_it_was_installed_from(
    origin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted, wanted = ORIGINS[origin]
    info = tmp_path / "revo_ray-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: revo-ray\nVersion: 1\n")
    if noted is not None:
        (info / "direct_url.json").write_text(json.dumps(noted))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(installation, "CHECKOUT", tmp_path)
    assert shlex.split(installation.install_command("export")) == ["pip", "install", wanted]


def test_a_checkout_names_itself() -> None:
    assert shlex.split(installation.install_command("export"))[-1] == f"{ROOT}[export]"
