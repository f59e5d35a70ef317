"""Each example of `docs/cmamv-search.md`, and that of the README, does what its page says."""

from __future__ import annotations

import ast
import logging
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "cmamv-search.md"
README = ROOT / "README.md"


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local_ray: None) -> Path:
    """A working folder, below which results go that have no `storage_path`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ray.train.constants.DEFAULT_STORAGE_PATH", str(tmp_path / "ray_results"))
    return tmp_path


def example(name: str, folder: Path) -> Path:
    """An example of the page, as a file."""
    text = PAGE.read_text()
    (code,) = re.findall(rf"<!-- tested -->\n```python\n(# {name}\.py\n.*?)```", text, flags=re.S)
    path = folder / f"{name}.py"
    path.write_text(code)
    return path


def last_line(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    runpy.run_path(str(example(name, folder)), run_name="__main__")
    return capsys.readouterr().out.strip().splitlines()[-1]


def test_every_example_has_a_test() -> None:
    names = re.findall(r"^# (\w+)\.py$", PAGE.read_text(), flags=re.M)
    assert names == ["plain", "with_torch", "resume", "points"]
    assert PAGE.read_text().count("<!-- tested -->") == PAGE.read_text().count("```python")


@pytest.mark.nightly
def test_the_lines_of_the_readme(folder: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), flags=re.S | re.M)
    (lines,) = [block for block in blocks if "CMAMVSearch" in block]
    names: dict[str, Any] = {"train": lambda config: tune.report({"loss": config["lr"]})}
    exec(lines.replace("num_samples=30", "num_samples=4"), names)
    found = names["tuner"].fit()
    assert len(found) == 4
    assert {*found.get_best_result("loss", "min").config} == {"lr", "norm"}


@pytest.mark.nightly
def test_a_plain_function(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = last_line("plain", folder, capsys)
    config, loss = re.fullmatch(r"(\{.*\}) (\S+)", line).groups()  # type: ignore[union-attr]
    found = ast.literal_eval(config)
    assert found.keys() == {"lr", "depth", "norm"}
    expected = (found["lr"] - 0.01) ** 2 + (found["depth"] - 4) ** 2 + (found["norm"] != "layer")
    assert float(loss) == pytest.approx(expected)
    assert expected < 3


@pytest.mark.nightly
def test_a_torch_trainable(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = ast.literal_eval(last_line("with_torch", folder, capsys))
    assert found["batch"] in (16, 32, 48, 64)
    assert 4 <= found["net"]["width"] <= 64


@pytest.mark.nightly
def test_points_come_first(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = ast.literal_eval(last_line("points", folder, capsys))
    assert found[:2] == [{"lr": 0.1, "bias": True}, {"lr": 0.02, "bias": False}]
    assert len(found) == 12


@pytest.mark.nightly
def test_a_killed_program_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Trials that had ended before the kill are not run again."""
    program = example("resume", folder)
    process = subprocess.Popen(
        [sys.executable, str(program)],
        cwd=folder,
        env=os.environ
        | {"RAY_ADDRESS": "local", "TUNE_GLOBAL_CHECKPOINT_S": "0", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 200
        while len(results := ended(folder)) < 8:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    count, _, best = last_line("resume", folder, capsys).partition(" ")
    assert 20 <= int(count) <= 22
    assert ast.literal_eval(best)["bit"] == 0
    assert results.items() <= ended(folder).items(), "a trial that had ended was run again"


def ended(folder: Path) -> dict[Path, str]:
    """Results of the trials that reported."""
    found = {path: path.read_text() for path in folder.rglob("result.json")}
    return {path: text for path, text in found.items() if text.endswith("\n")}
