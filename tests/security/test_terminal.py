"""Names and files that hold commands for the terminal: it gets none of them."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.security.commands import revo

pytestmark = pytest.mark.slow

EVIL = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b1A\u202egpj\u2066\x7f"
"""Fills the clipboard, erases the screen, goes up a line, and turns what follows around."""
OBEYED = ("\x1b", "\x07", "\x9b", "\u202e", "\u2066", "\x7f", "\r")


def check(*streams: str) -> None:
    """No stream holds what a terminal obeys."""
    for text in streams:
        assert not [letter for letter in OBEYED if letter in text]


def archive(place: Path, *names: str) -> Path:
    """An archive with a picture of each name."""
    picture = io.BytesIO()
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(picture, "png")
    with zipfile.ZipFile(place / "pictures.zip", "w") as file:
        for name in names:
            file.writestr(name, picture.getvalue())
    return place / "pictures.zip"


def test_predict_prints_a_row_for_each_image(run: Path) -> None:
    for path in run.glob("*/config.json"):
        card = json.loads(path.read_text())
        card["classes"] = [f"{EVIL}\tfox\n{name}" for name in card["classes"]]
        path.write_text(json.dumps(card))
    pictures = archive(run.parent, f"{EVIL}.png", "safe.png\t9\t1.0000\nforged.png", "c\rd.png")
    done = revo("predict", run, pictures, folder=run.parent)
    assert done.returncode == 0, done.stderr
    check(done.stdout, done.stderr)
    rows = [line.split("\t") for line in done.stdout.removesuffix("\n").split("\n")]
    assert [len(row) for row in rows] == [3, 3, 3]
    assert {row[1].endswith("fox\\n9") or "fox" in row[1] for row in rows} == {True}


def test_report_prints_no_command_of_a_run(run: Path) -> None:
    config = (run / "config.yaml").read_text()
    name = json.dumps(f"revo {EVIL}")
    config = config.replace("  name: revo-continuous", f"  name: {name}")
    config = config.replace("  name: timm/test_efficientnet", f"  name: {name}")
    (run / "config.yaml").write_text(config)
    done = revo("report", run, folder=run.parent)
    check(done.stdout, done.stderr)
    assert done.returncode == 0, done.stderr
    assert "revo" in done.stdout


def test_what_is_wrong_with_an_image_is_one_line(run: Path) -> None:
    with zipfile.ZipFile(run.parent / "bad.zip", "w") as file:
        file.writestr(f"{EVIL}\nrevo-ray: all is well.png", b"no picture")
    done = revo("predict", run, "bad.zip", folder=run.parent)
    assert done.returncode == 3
    check(done.stdout, done.stderr)
    assert not [line for line in done.stderr.splitlines() if line.startswith("revo-ray: all")]
