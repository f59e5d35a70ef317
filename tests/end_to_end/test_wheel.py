"""The wheel, in an empty environment of each Python: it brings what it needs, and no more names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks.versions import interpreter
from tests.end_to_end.cli import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    # The build's requirements are the tests', too; PIP_NO_BUILD_ISOLATION=0 is pip's "yes".
    with_setuptools = os.environ | {"PIP_NO_BUILD_ISOLATION": "0"}
    subprocess.run([*command, str(folder), str(ROOT)], env=with_setuptools, check=True)
    (made,) = folder.iterdir()
    return made


def test_it_holds_every_file_of_the_project_under_two_names(wheel: Path) -> None:
    files = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    packaged = {file for file in files if ".dist-info" not in file.parts[0]}
    listed = subprocess.run(
        ["git", "ls-files", "revo_ray", "baselines"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    ours = {Path(name) for name in listed.stdout.splitlines()}
    plugins = {file for file in ours if file.parts[0] == "baselines"}
    installed = {Path("revo_ray_baselines", *file.parts[1:]) for file in plugins}
    assert len(plugins) > 5
    assert packaged == (ours - plugins) | installed


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_quick_start_runs_in_an_empty_environment(
    wheel: Path, python: str, tmp_path: Path
) -> None:
    program = interpreter(python)
    assert program is not None, f"no python{python} on this machine"
    subprocess.run([program, "-m", "venv", str(tmp_path / "venv")], check=True)
    tools = tmp_path / "venv" / "bin"
    outside = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PIP_CONSTRAINT")}
    pip = [str(tools / "pip"), "install", "--quiet", "--no-compile"]
    subprocess.run([*pip, f"{wheel}[demo]"], cwd=tmp_path, env=outside, check=True, timeout=900)
    done = subprocess.run(
        [str(tools / "revo-ray"), "search"],
        cwd=tmp_path,
        env=outside,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "revo_results" / "quickstart" / "result.json").read_text())
    assert result["evaluations"] == 100
    assert result["test"]["accuracy"] > 0.7
    methods = subprocess.run(
        [str(tools / "revo-ray"), "methods"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {"revo-continuous", "full", "set-encoding"} <= set(methods.stdout.split())
