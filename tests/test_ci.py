"""`.ci/run` installs what it can, says what it could not, and lets no test skip for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from revo_ray.data.sources.fashion_mnist import DEBIAN
from tests.cluster.shell import complaints

SCRIPT = Path(__file__).parents[1] / ".ci/run"
TOOLS = ("bash", "dirname", "mktemp", "rm", "tail")
PROGRAMS = {
    "id": "echo 0",  # root
    "make": 'echo "make $* in CI=$REVO_RAY_CI"; [ "$1" != "$BROKEN" ]',
    "python3": "exit 1",  # one without ensurepip
}
MISSING = ("python3-venv", "chromium", "chromium-driver", "iproute2")


def ci(folder: Path, broken: str = "", **programs: str) -> subprocess.CompletedProcess[str]:
    """Run it on a machine that has no more than `TOOLS` and these programs."""
    for name in TOOLS:
        (folder / name).symlink_to(str(shutil.which(name)))
    for name, text in (PROGRAMS | programs).items():
        (folder / name).write_text(f"#!{folder / 'bash'}\n{text}\n")
        (folder / name).chmod(0o755)
    environment = {"PATH": str(folder), "BROKEN": broken, "TMPDIR": str(folder)}
    return subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, timeout=60)


def test_the_shell_takes_it() -> None:
    assert not complaints(SCRIPT.read_text())
    assert os.access(SCRIPT, os.X_OK)


def test_what_is_missing_is_installed(tmp_path: Path) -> None:
    done = ci(tmp_path, **{"apt-get": f'echo "$@" >> {tmp_path}/asked'})
    assert done.returncode == 0, done.stderr
    _, asked = (tmp_path / "asked").read_text().splitlines()
    assert set(MISSING) <= set(asked.split())
    assert ("dataset-fashion-mnist" in asked) == (not Path(DEBIAN).is_dir())
    assert "installed in" in done.stdout


@pytest.mark.parametrize(
    ("programs", "reason"),
    [
        ({}, "there is no apt-get"),
        ({"id": "echo 1000", "apt-get": "exit 0"}, "only root may"),
        ({"apt-get": "echo E: no such package >&2; exit 100"}, "apt-get failed"),
    ],
)
def test_the_tests_run_without_it_too(
    tmp_path: Path, programs: dict[str, str], reason: str
) -> None:
    done = ci(tmp_path, **programs)
    assert done.returncode == 0, done.stderr
    assert f"not installed, since {reason}: {' '.join(MISSING)}" in done.stdout
    assert ("E: no such package" in done.stdout) == (reason == "apt-get failed")
    assert [each for each in done.stdout.splitlines() if each.startswith("make")] == [
        "make lint in CI=1",
        "make docs in CI=1",
        "make test in CI=1",
    ]


@pytest.mark.parametrize("broken", ["lint", "docs", "test"])
def test_a_fault_is_one_of_the_run(tmp_path: Path, broken: str) -> None:
    assert ci(tmp_path, broken).returncode
