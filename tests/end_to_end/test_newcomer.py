"""A newcomer follows the README: a clean clone, an empty environment, own photographs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.end_to_end.cli import ROOT
from tests.end_to_end.photos import write_photos

SECTIONS = ("Install", "Your own images in 5 minutes")
LONGEST_S = 1500


def lines(section: str) -> list[str]:
    """The commands of a section of the README."""
    text = (ROOT / "README.md").read_text().split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"^```console\n(.*?)^```", text, flags=re.S | re.M)
    return [line for block in blocks for line in re.findall(r"^\$ (.*)$", block, flags=re.M)]


@pytest.mark.nightly
@pytest.mark.timeout(3000)
def test_the_lines_of_the_readme_in_an_empty_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clone = tmp_path / "revo-ray"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    write_photos(clone / "photos")
    (clone / "new").mkdir()
    for label in ("temple", "flower"):
        shutil.copy(clone / "photos" / label / "IMG_0000.jpg", clone / "new" / f"{label}.jpg")
    commands = [line for section in SECTIONS for line in lines(section)]
    assert len(commands) == 8
    outside = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PIP_CONSTRAINT")}
    seconds: dict[str, float] = {}
    for command in commands:
        line = command if "venv" in command else f". .venv/bin/activate && {command}"
        began = time.monotonic()
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=clone,
            env=outside,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        seconds[command] = time.monotonic() - began
    with capsys.disabled():
        print()
        for command, taken in seconds.items():
            print(f"{taken:7.0f} s  {command}")
    result = json.loads((clone / "revo_results/photos/result.json").read_text())
    assert result["test"]["accuracy"] > 0.8
    assert (clone / "revo_results/photos/report/index.html").stat().st_size > 10_000
    assert (clone / "model/README.md").exists()
