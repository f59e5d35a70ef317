"""`--json`, `--version`, `--quiet` and `--verbose`, and surroundings that lack something."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from revo_ray.methods import load_methods
from tests.end_to_end.cli import PATH
from tests.typed import Typed


@pytest.fixture
def typed(typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Type a command in an empty folder; gives exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    return typed


def alone(*words: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own; None takes a variable away."""
    given = os.environ | {"PYTHONPATH": os.pathsep.join(PATH)} | environment
    return subprocess.run(
        [sys.executable, "-m", "revo_ray", *words],
        env={name: value for name, value in given.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_lists_are_json_documents(typed: Any) -> None:
    status, out, _ = typed("methods", "--json")
    listed = json.loads(out)
    assert status == 0
    assert {each["name"] for each in listed["methods"]} == set(load_methods())
    (random,) = [each for each in listed["methods"] if each["name"] == "random"]
    assert random["options"].keys() == load_methods()["random"].Options.model_fields.keys()
    assert "quickstart" in listed["presets"]
    status, out, _ = typed("models", "resnet18.a1", "--json")
    assert (status, json.loads(out)) == (0, ["timm/resnet18.a1_in1k"])


@pytest.mark.parametrize("words", [("search", "--nope"), ("study",), ("methods", "a", "b")])
def test_what_is_typed_wrong_is_a_json_document_too(typed: Any, words: tuple[str, ...]) -> None:
    status, out, err = typed(*words, "--json")
    assert status == 2
    assert json.loads(out)["exit"] == 2
    assert json.loads(out)["error"] in " ".join(err.split()).replace("│ ", "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["models", "no-such-model"], "no-such-model"),
        (["search", "none.yaml"], "none.yaml"),
        (["search", "--set", "search.evals=1"], "search.evaluations"),
        (["study", "preset:none"], "none"),
        (["data", "inspect", "--set", "data.source=folder", "--set", "data.root=/none"], "/none"),
        (["methods", "--plugin", "no_such_module"], "no_such_module"),
    ],
)
def test_a_failure_is_a_json_document_too(typed: Any, words: list[str], says: str) -> None:
    status, out, err = typed(*words, "--json")
    failure = json.loads(out)
    assert failure.keys() == {"error", "exit"}
    assert failure["exit"] == status == 2
    assert says in failure["error"]
    assert failure["error"] in err
    assert typed(*words)[:2] == (2, "")  # without --json stdout is left alone


def test_version_names_libraries_and_devices() -> None:
    for words in (["--version"], ["search", "--version"]):
        done = alone(*words)
        assert done.returncode == (0 if len(words) == 1 else 2)
    lines = alone("--version").stdout.splitlines()
    assert lines[0].startswith("revo-ray ")
    for library in ("torch", "torchvision", "ray", "timm"):
        assert f"{library} {metadata.version(library)}" in lines
    assert any(line.startswith("CPU: ") for line in lines)
    assert any(line.startswith("GPU: ") for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False])
def test_volume_stands_before_or_behind_the_command(before: bool) -> None:
    def said(option: str) -> subprocess.CompletedProcess[str]:
        words = ["search", "--set", "x=1"]
        return alone(*([option, *words] if before else [words[0], option, *words[1:]]))

    verbose, quiet = said("--verbose"), said("-q")
    assert verbose.returncode == quiet.returncode == 2
    assert "Traceback" in verbose.stderr
    (line,) = quiet.stderr.splitlines()
    assert line in verbose.stderr
    assert line.startswith("revo-ray: x: ")


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"HOME": "/proc", "TERM": None},
        {"HOME": "/etc/passwd", "TERM": "dumb"},
        {"HOME": None, "LANG": None, "LC_ALL": "C"},
        {"HOME": "", "COLUMNS": "0"},
        {"COLUMNS": "1"},
    ],
)
def test_lists_need_no_home_and_no_terminal(environment: dict[str, str | None]) -> None:
    done = alone("models", "resnet18.a1", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "timm/resnet18.a1_in1k\n"
