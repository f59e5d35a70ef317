"""Commands that were watched once, for all tests that ask what neighbours and the network saw."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.security.commands import CHECKOUT, SMALL, sets
from tests.security.planted import NAMES, OF_PYTHON, imported, planted

SENTINELS = {
    "AWS_SECRET_ACCESS_KEY": "sentinel-of-aws-5d0c",
    "AWS_SESSION_TOKEN": "sentinel-of-session-77aa",
    "HF_TOKEN": "hf_SentinelOfTheHub91",
    "MLFLOW_TRACKING_PASSWORD": "sentinel-of-mlflow-30e1",
    "WANDB_API_KEY": "sentinelofwandb" + "0" * 25,
}
"""Secrets in the environment of every command."""

VICTIM = "not to be touched\n"
COMMANDS = {
    "search": ["search", *sets(*SMALL, "storage=results", "name=r")],
    "report": ["report", "results/r"],
    "export": ["export", "results/r", "--to", "onnx", "--out", "x.onnx"],
    "predict": ["predict", "x.onnx", str(CHECKOUT / "docs" / "images")],
}
"""What is run, in this order, in a folder of planted modules."""

SWITCHES = "ORT_DISABLE_TELEMETRY RAY_USAGE_STATS_ENABLED HF_HUB_DISABLE_TELEMETRY DO_NOT_TRACK"
NAMESPACE = ["unshare", "--net", *(() if os.geteuid() == 0 else ("--user", "--map-root-user"))]


def watched(folder: Path) -> dict[str, Any]:
    """Run a search and what comes after it under `watch.py`; return what was seen.

    Args:
        folder: with a path short enough for Ray's sockets. Afterwards it holds `home`, `tmp` and
            `work`, where the commands ran and wrote.
    """
    able = shutil.which("unshare") and shutil.which("ip")
    if not able or subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode:
        pytest.skip("namespaces are not allowed here")
    folder.chmod(0o755)
    planted(folder / "work", *NAMES, *OF_PYTHON).chmod(0o700)
    for name, mode in (("home", 0o700), ("tmp", 0o1777)):
        (folder / name).mkdir()
        (folder / name).chmod(mode)
    (folder / "victim").write_text(VICTIM)
    (folder / "tmp" / ".ses").symlink_to(folder / "victim")
    (folder / "commands.json").write_text(json.dumps(COMMANDS))
    variables = {
        name: value
        for name, value in os.environ.items()
        if name not in ("TESTS_FORKS", "RAY_TMPDIR", *SWITCHES.split())
    }
    variables |= SENTINELS | {
        "SENTINELS": " ".join(SENTINELS),
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONPATH": str(CHECKOUT),
        "COLUMNS": "100",
    }
    process = subprocess.Popen(
        [*NAMESPACE, sys.executable, str(Path(__file__).with_name("watch.py")), str(folder)],
        env=variables,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=900)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, output
    seen: dict[str, Any] = json.loads((folder / "seen.json").read_text())
    seen["afterwards"]["imported"] = imported(folder / "work")
    return seen
