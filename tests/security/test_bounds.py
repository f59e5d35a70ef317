"""Small files that take much work: bounds on memory, on time, and on the numbers in files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.security.commands import CHECKOUT, revo

pytestmark = pytest.mark.slow

WEBP = bytes.fromhex("524946461a000000574542505650384c0e0000002fb7e42d09071011fd0f4444ff03")
"""A black image of 9,400 × 9,400 pixels, which takes 1.4 GB while it is decoded."""

PEAK = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1000, file=sys.stderr)
sys.exit(done.returncode)
"""


def one_line(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode in (2, 3), done.stdout[-2000:] + done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr[-2000:]


@pytest.mark.nightly
def test_an_archive_of_many_large_images_takes_the_memory_of_one(run: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for number in range(2):
            archive.writestr(f"{number}.webp", WEBP)
    command = [sys.executable, "-m", "revo_ray", "predict", str(run), "images.zip"]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    megabytes = int(done.stderr.rpartition("peak ")[2])
    assert megabytes < 2_700


def test_a_jpeg_of_hundreds_of_scans_is_a_bad_image(run: Path, tmp_path: Path) -> None:
    (tmp_path / "scans.jpg").write_bytes(jpeg_of_scans(600, side=4000))
    Image.new("RGB", (600, 600)).save(tmp_path / "sound.jpg", progressive=True)
    done = revo("predict", run, "scans.jpg", "sound.jpg", folder=tmp_path)
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == ["sound.jpg"]
    assert "scans and 16,000,000 pixels" in done.stderr


def jpeg_of_scans(count: int, side: int) -> bytes:
    """A progressive JPEG whose last scan stands there so many times."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), (120, 30, 60)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    end = data.rfind(b"\xff\xd9")
    last = data[data.rfind(b"\xff\xc4") : end]  # with its table
    assert last.count(b"\xff\xda") == 1
    return data[:end] + last * count + data[end:]


def test_a_number_in_base_60_is_no_number(run: Path, tmp_path: Path) -> None:
    with (run / "config.yaml").open("a") as config:
        config.write("  more: " + ":".join(["59"] * 400_000) + "\n")
    Image.new("RGB", (40, 40)).save(tmp_path / "picture.png")
    done = revo("predict", run, "picture.png", folder=tmp_path, seconds=100)
    assert done.returncode == 0, done.stderr


def test_a_configuration_of_deep_nesting_is_damaged(run: Path, tmp_path: Path) -> None:
    with (run / "config.yaml").open("a") as config:
        config.write("  more: " + "[" * 5000 + "]" * 5000 + "\n")
    one_line(revo("predict", run, "picture.png", folder=tmp_path))


def test_a_row_of_200_000_rates_is_damaged(run: Path, tmp_path: Path) -> None:
    row = run / "ledger" / "000001.json"
    write_row(row, json.loads(row.read_text()) | {"unit_lrs": [0.1] * 200_000})
    done = revo("report", run, folder=tmp_path)
    one_line(done)
    assert "ledger" in done.stderr


def test_rows_for_several_networks_are_damaged(run: Path, tmp_path: Path) -> None:
    row = run / "ledger" / "000001.json"
    write_row(row, json.loads(row.read_text()) | {"unit_lrs": [0.1] * 5})
    one_line(revo("report", run, folder=tmp_path))


def write_row(path: Path, values: dict[str, Any]) -> None:
    """Write a row of the ledger with its checksum."""
    values.pop("sha256", None)
    text = json.dumps(values)[:-1]
    digest = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(f'{text}, "sha256": "{digest}"}}')


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image_size", 0),
        ("mean", [10**400] * 3),
        ("image_size", 10**400),
        ("std", ["1e999"] * 3),
        ("more", "deep"),
    ],
    ids=["zero", "mean", "huge", "infinite", "deep"],
)
def test_a_description_of_wrong_numbers_is_damaged(
    key: str, value: Any, run: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "picture.png")
    for card in run.glob("*/config.json"):
        text = json.dumps(json.loads(card.read_text()) | {key: value})
        card.write_text(text.replace('"1e999"', "1e999").replace('"deep"', "[" * 5000 + "]" * 5000))
    one_line(revo("predict", run, "picture.png", folder=tmp_path))


@pytest.mark.parametrize(
    "plan",
    [
        '{"unit_lrs": [1' + "0" * 400 + "]}",
        '{"unit_lrs": [0.1], "policy": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"unit_lrs": [' + "9" * 5000 + "]}",
    ],
    ids=["huge", "deep", "digits"],
)
def test_a_plan_of_wrong_numbers_is_none(plan: str, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(plan)
    words = ("train", "preset:quickstart", "--plan", "plan.json", "--out", "out")
    one_line(revo(*words, folder=tmp_path))
