"""The documents: links lead somewhere, the example runs, the versions agree."""

from __future__ import annotations

import random
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any

import pytest
import typer.main
import yaml
from packaging.specifiers import SpecifierSet

from revo_ray.cli.main import app
from revo_ray.errors import UserError
from revo_ray.evolve.proposals import Outcome
from revo_ray.methods import make_method
from revo_ray.settings.schema import MethodConfig, SearchOptions

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
UNITS: Any = [SimpleNamespace(name=f"unit{number}", head=number == 7) for number in range(8)]


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.M)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def snippet(page: str, name: str) -> str:
    """The program of a page that begins with its file name."""
    found = re.findall(
        rf"<!-- tested -->\n```python\n(# {re.escape(name)}\n.*?)```",
        (ROOT / "docs" / page).read_text(),
        flags=re.S,
    )
    (code,) = found
    return str(code)


@pytest.mark.parametrize(
    ("page", "plugin", "name"),
    [
        ("writing-a-method.md", "tapered", "tapered"),
        ("writing-an-algorithm.md", "climbing", "climbing"),
    ],
)
def test_a_method_in_a_page_proposes_the_same_for_any_number_of_workers(
    page: str, plugin: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{plugin}.py").write_text(snippet(page, f"{plugin}.py"))
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins = ["baselines", plugin]

    config = MethodConfig.model_validate({"name": name, "high": -0.5})
    method = make_method(config, plugins)
    space = method.space(UNITS)
    options = SearchOptions(evaluations=23, population=5, lookahead=2, seed=3)
    samples: list[list[Any]] = []
    for workers in (1, 4):
        proposals = method.searcher(space, options)
        busy, seen, rng = [], {}, random.Random(workers)
        while not proposals.finished:
            while len(busy) < workers and (proposal := proposals.ask()) is not None:
                busy.append(proposal)
            for answered in proposals.take_answered():
                proposals.tell(answered.evaluation, Outcome(1.0))
            if busy:
                proposal = busy.pop(rng.randrange(len(busy)))
                seen[proposal.evaluation] = proposal.sample
                plan = method.plan(proposal.sample, UNITS)
                assert plan.frozen == tuple(sorted(plan.frozen, reverse=True))  # from below
                assert 1e-6 <= plan.unit_lrs[-1] <= 10**-0.5
                proposals.tell(proposal.evaluation, Outcome(sum(plan.unit_lrs)))
        samples.append([seen[number] for number in sorted(seen)])
    assert samples[0] == samples[1]
    assert len(samples[0]) == 23


def test_a_mistake_in_the_options_of_a_page_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tapered.py").write_text(snippet("writing-a-method.md", "tapered.py"))
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins = ["baselines", "tapered"]
    with pytest.raises(UserError, match=r"must be below method\.high"):
        make_method(MethodConfig.model_validate({"name": "tapered", "low": 0.2}), plugins)
    with pytest.raises(UserError, match=r"did you mean method\.high"):
        make_method(MethodConfig.model_validate({"name": "tapered", "hihg": 0.2}), plugins)


def makes_check() -> CodeType:
    """The program with which the Makefile refuses a Python, which it calls `snake` here."""
    command = ["make", "--dry-run", "--no-print-directory", "VENV=none", "PYTHON=snake", "test"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    python, option, program = shlex.split(said)[:3]
    assert (python, option) == ("snake", "-c")
    return compile(program, "Makefile", "exec")


def test_everybody_names_the_same_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = SpecifierSet(project["project"]["requires-python"])
    minors = [minor for minor in range(30) if f"3.{minor}" in wanted]
    first, last = f"3.{minors[0]}", f"3.{minors[-1]}"

    check = makes_check()
    for minor in range(30):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "version_info", (3, minor, 0, "final", 0))
            with pytest.raises(SystemExit) as left:
                exec(check, {})
        refusal = f"needs Python {first} to {last}, and snake is 3.{minor}; run make PYTHON="
        assert left.value.code is None if minor in minors else refusal in str(left.value.code)
    for page in ("README.md", "cluster/README.md", "Makefile"):
        said = re.findall(r"needs? (?:only )?Python (\S+) to ([\d.]+)", (ROOT / page).read_text())
        assert set(said) == {(first, last)}, page

    version = project["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text()

    tool = project["tool"]
    assert tool["ruff"]["target-version"] == f"py{first.replace('.', '')}"
    image = (ROOT / "cluster/Containerfile").read_text()
    assert all(base in wanted for base in re.findall(r"/python:([\d.]+)", image))


def test_the_page_of_commands_says_which_of_them_take_an_option() -> None:
    group: Any = typer.main.get_command(app)
    known = dict(group.commands)
    known |= {f"data {name}": command for name, command in known.pop("data").commands.items()}
    text = (ROOT / "docs" / "commands.md").read_text()
    rows = re.findall(r"^\| `(--[a-z-]+).*\| (`[^|]*`) \|$", text, re.MULTILINE)
    assert [option for option, _ in rows] == ["--set", "--plugin-path", "--json"]
    for option, names in rows:
        takes = {
            name
            for name, command in known.items()
            if any(option in parameter.opts for parameter in command.params)
        }
        assert set(re.findall("`([a-z ]+)`", names)) == takes - {"predict"}  # its own --json
