"""Completion as shells ask for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from revo_ray.cli.completion import complete_override
from revo_ray.methods import load_methods
from revo_ray.settings.presets import preset_names
from revo_ray.settings.schema import SearchConfig
from tests.end_to_end.cli import PATH

BASH = """
revo-ray --install-completion > /dev/null && . ~/.bash_completions/revo-ray.sh
ask() {
    COMP_WORDS=(revo-ray "$@"); COMP_CWORD=$#; COMPREPLY=()
    _revo_ray_completion revo-ray
    echo "${COMPREPLY[*]}"
}
ask se
ask search --res
ask search preset : paper-
ask search --set search.ev
ask search --set method.name = revo-
ask search --set train.optimizer=a
ask study preset : table1
"""
"""As bash hands words over, in pieces at `=` and `:`."""


@pytest.mark.slow
def test_bash_completes_commands_options_presets_and_keys(tmp_path: Path) -> None:
    program = tmp_path / "revo-ray"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m revo_ray "$@"\n')
    program.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(PATH),
        "HOME": str(tmp_path),
        "SHELL": "/bin/bash",
    }
    script = tmp_path / "script.sh"
    script.write_text(BASH)
    done = subprocess.run(
        ["bash", "--norc", str(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "search",
        "--resume",
        "paper-binary paper-continuous",
        "search.evaluations=",
        "revo-binary revo-continuous revo-mixed",
        "adamw",
        "table1 table1-paper",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_complete_whole_words(shell: str) -> None:
    environment = {
        "PYTHONPATH": os.pathsep.join(PATH),
        "_REVO_RAY_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": "revo-ray search preset:",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    command = [sys.executable, "-X", "importtime", "-m", "revo_ray"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    for name in preset_names():
        assert name in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & {"torch", "ray", "scipy", "matplotlib"}  # each takes a second


def test_every_completed_key_and_value_is_taken() -> None:
    keys = complete_override("")
    assert {"search.evaluations=", "study.seeds=", "method.encoding="} <= set(keys)
    assert all(complete_override(key[:-1])[0] == key for key in keys if key.startswith("data."))
    for key in keys:
        if not key.startswith("study."):
            for override in complete_override(key):
                SearchConfig.load(overrides=[override])
    assert complete_override("method.name=") == [f"method.name={m}" for m in sorted(load_methods())]
    assert complete_override("no.such.key=") == complete_override("none") == []
