"""The job that checks a configuration on Kubernetes: a wrong one ends before it asks for a GPU."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from revo_ray.cli.main import app
from tests.end_to_end.cli import PATH, SMALL

FOLDER = Path(__file__).parents[2] / "cluster" / "kuberay"

Manifest = dict[str, Any]


def read(name: str) -> Manifest:
    return yaml.safe_load((FOLDER / name).read_text())


@pytest.fixture
def command() -> list[str]:
    (container,) = read("check.yaml")["spec"]["template"]["spec"]["containers"]
    return container["command"]


def test_it_checks_what_the_job_runs(command: list[str]) -> None:
    assert command == [*shlex.split(read("rayjob.yaml")["spec"]["entrypoint"]), "--dry-run"]
    python, flag, module, name, *arguments = command
    assert (python, flag, module) == ("python", "-m", "revo_ray")
    search = typer.main.get_command(app).commands[name]
    parsed = search.make_context(name, arguments).params
    assert parsed["dry_run"] is True
    assert parsed["resume"] is True, "it refuses what the job would refuse, and nothing else"


def test_its_pod_is_the_head_without_ray() -> None:
    """The pod has the image, rights, folders and labels of the head."""
    job = read("check.yaml")["spec"]
    assert job["backoffLimit"] == 0
    ours = job["template"]
    head = read("rayjob.yaml")["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]
    assert ours["spec"].pop("restartPolicy") == "Never"
    (container,), (other,) = ours["spec"]["containers"], head["spec"]["containers"]
    assert "nvidia.com/gpu" not in str(container["resources"])
    del container["command"], container["name"], other["name"]
    assert ours == head


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("name: right", 0, "nothing was started"),
        ("search: {evaluation: 3}", 2, "search.evaluation"),
        ("data: {source: folder, root: /no/such/folder}", 2, "/no/such/folder"),
        ("model: {name: timm/no_such_network}", 2, "no_such_network"),
        (None, 2, "config.yaml"),
    ],
    ids=["right", "key", "images", "network", "no file"],
)
def test_a_wrong_configuration_fails_it(
    command: list[str], tmp_path: Path, text: str | None, status: int, said: str
) -> None:
    for folder in ("config", "storage"):
        (tmp_path / folder).mkdir()
    if text is not None:
        (tmp_path / "config" / "config.yaml").write_text(text)
    here = {"/config/config.yaml": f"{tmp_path}/config/config.yaml"}
    here |= {"storage=/storage": f"storage={tmp_path}/storage"}
    words = [here.get(word, word) for word in command[1:]]
    if status == 0:
        words += [word for each in SMALL for word in ("--set", each)]
    done = subprocess.run(
        [sys.executable, *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(PATH), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stderr
    assert said in done.stdout + done.stderr
