"""The method of one's own in docs/methods.md, installed from another package by entry point."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.cli import ONE_WORKER, PATH, ROOT, Cli

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "two-rates"
version = "1.0"

[tool.setuptools]
py-modules = ["two_rates"]
"""


@pytest.mark.nightly
def test_the_pages_method_runs_from_another_package(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs/methods.md").read_text()
    (code,) = re.findall(r"```python\n(# two_rates\.py\n.*?)```", page, flags=re.S)
    (entry_point,) = re.findall(r"```toml\n(.*?)```", page, flags=re.S)
    assert code.count("\n") < 30
    package = tmp_path / "package"
    package.mkdir()
    (package / "two_rates.py").write_text(code)
    (package / "pyproject.toml").write_text(PYPROJECT + entry_point)
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    # The build's requirements are the tests', too; PIP_NO_BUILD_ISOLATION=0 is pip's "yes".
    with_setuptools = os.environ | {"PIP_NO_BUILD_ISOLATION": "0"}
    subprocess.run([*command, str(site), str(package)], env=with_setuptools, check=True)

    monkeypatch.setattr("tests.end_to_end.cli.PATH", [*PATH, str(site)])
    own = {"method__name": "two-rates", "search__evaluations": "12"}
    done = cli.run_alone("search", name="own", **own, **ONE_WORKER)
    assert done.returncode == 0, done.stdout + done.stderr
    for row in cli.ledger("own"):
        assert set(row.sample) == {"body", "head"}
        assert row.unit_lrs == [row.sample["body"]] * 17 + [row.sample["head"]]
    listed = subprocess.run(
        [sys.executable, "-m", "revo_ray", "methods"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*PATH, str(site)])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "One rate for the head, and one for all other units." in listed.stdout
