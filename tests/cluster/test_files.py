"""All files in cluster/, and the page that says how to use them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import ray
import typer
from packaging.requirements import Requirement

from revo_ray.cli.main import app

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
FILES = sorted(path for path in CLUSTER.rglob("*") if path.is_file())
PAGE = (ROOT / "docs/cluster.md").read_text()


DANGERS = (
    r"0\.0\.0\.0",
    r"dashboard.host[=: ]+(?!127\.0\.0\.1)\S",
    r"--bind_all",
    r"LoadBalancer|NodePort|kind: Ingress|enableIngress: true|hostNetwork: true",
    r"RAY_AUTH_MODE[=: ]+(?!token)\w",
    r"\bmode: disabled",
    r"AKIA[0-9A-Z]{16}|PRIVATE KEY|(?<!@sha256:)\b[0-9a-f]{32}",
)
"""An open port, a cluster without a token, a secret."""


def dangers(text: str) -> list[str]:
    found = [pattern for pattern in DANGERS if re.search(pattern, text)]
    commands = re.findall(r"^[^#`\n]*\bray (?:start|symmetric-run)\b", text, flags=re.MULTILINE)
    return found + [line for line in commands if "RAY_AUTH_MODE=token" not in text]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_is_open_and_no_secret_is_written(path: Path) -> None:
    assert not dangers(path.read_text())


@pytest.mark.parametrize(
    "line",
    [
        "ray start --head --dashboard-host=0.0.0.0",
        'dashboard-host: "::"',
        "RAY_AUTH_MODE=disabled ray start --head",
        "export RAY_AUTH_MODE=token; ray start --head --dashboard-host head",
        "  - ray start --head",
        "serviceType: LoadBalancer",
        "authOptions: {mode: disabled}",
        f"RAY_AUTH_TOKEN={'0f' * 32}",
    ],
)
def test_dangers_are_seen(line: str) -> None:
    assert dangers(line)


def test_the_page_names_every_file() -> None:
    for path in FILES:
        relative = path.relative_to(CLUSTER)
        assert path.name == "README.md" or str(relative) in PAGE or path.name in PAGE


def test_files_that_the_page_names_are_there() -> None:
    for name in set(re.findall(r"cluster/[\w./-]+\w", PAGE)):
        assert (ROOT / name).exists(), name
    anchors = {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", PAGE, flags=re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= anchors


def searches() -> list[str]:
    """Each command of ours in docs/cluster.md, without its surroundings."""
    text = PAGE.replace("\\\n", " ")
    ours = r"(?:revo-ray|revo_ray|revo-ray:[\d.]+) ((?:search|study) [^\n'`>#]+)"
    found = re.findall(ours, text)
    return sorted(set(found))


@pytest.mark.parametrize("words", searches())
def test_the_command_line_takes_the_pages_commands(words: str) -> None:
    command, *arguments = shlex.split(words)
    known = typer.main.get_command(app).commands[command]
    assert known.make_context(command, arguments).params["resume"] is True


def test_the_page_has_commands() -> None:
    assert len(searches()) >= 4


def test_rays_own_commands_have_the_options(tmp_path: Path) -> None:
    from ray.scripts.scripts import cli

    text = PAGE.replace("\\\n", " ")
    lines = re.findall(r"^\$ (ray .*?)(?: {2,}#.*)?$", text, flags=re.MULTILINE)
    assert len(lines) >= 10
    for line in lines:
        _, command, *arguments = shlex.split(line.partition(" > ")[0])
        if command == "job":
            continue  # its own program, run by the tests of jobs
        cli.commands[command].make_context(command, arguments)


def test_ray_is_the_version_of_the_project() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    (wanted,) = re.findall(r'"(ray\[tune\][^"]+)"', project)
    assert Requirement(wanted).specifier.contains(ray.__version__)
