"""The container file: what it says, and its Python steps run in a new virtual environment.

The environment has what the container file installs, and sees the tests' packages in place of
those that pip would download: gigabytes of torch. It shows that the wheel carries all that is ours.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import site
import subprocess
import venv
from pathlib import Path

import pytest

from tests.end_to_end.cli import SMALL

ROOT = Path(__file__).parents[2]
FILE = ROOT / "cluster" / "Containerfile"

Step = tuple[str, str]


def steps() -> list[Step]:
    """Instructions and their arguments, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", FILE.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    pairs = [line.split(maxsplit=1) for line in lines if line.strip()]
    return [(instruction, rest) for instruction, rest in pairs]


def said(instruction: str) -> list[str]:
    return [rest for each, rest in steps() if each == instruction]


class Built:
    """The folders and the environment of the image."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "venv" / "bin"

    def run(self, command: str, where: Path | None = None, **environment: str) -> str:
        """A command of the image; its output."""
        kept = {name: os.environ[name] for name in ("RAY_TMPDIR",) if name in os.environ}
        done = subprocess.run(
            ["sh", "-ec", command],
            cwd=where or self.folder,
            env={"PATH": f"{self.programs}:/usr/bin:/bin", "HOME": str(self.folder)}
            | kept
            | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def inside(self, path: str) -> Path:
        return self.folder / path.lstrip("/")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Each COPY and each pip of the container file, with the image's paths below a folder."""
    image = Built(tmp_path_factory.mktemp("image"))
    venv.create(image.folder / "venv", with_pip=True)
    packages = os.pathsep.join([*own_path(), *site.getsitepackages()])
    workdir = image.folder
    for instruction, rest in steps():
        if instruction == "WORKDIR":
            workdir = image.inside(rest)
            workdir.mkdir(parents=True, exist_ok=True)
        elif instruction == "COPY" and not rest.startswith("--from"):
            *sources, target = rest.split()
            folder = image.inside(target) if target.startswith("/") else workdir / target
            for source in sources:
                copy_into(ROOT / source, folder)
        elif instruction == "RUN" and "--require-hashes" in rest:
            (locked,) = re.findall(r"-r (\S+)", rest)
            assert (image.inside(locked) if locked.startswith("/") else workdir / locked).is_file()
        elif instruction == "RUN" and "pip wheel" in rest:
            here = rest.replace("/wheels", str(image.inside("wheels")))
            image.run(here, workdir, PYTHONPATH=packages)  # with the tests' setuptools
        elif instruction == "RUN" and "pip install" in rest:
            here = rest.replace("/wheels", str(image.inside("wheels")))
            image.run(here, workdir, PIP_NO_INDEX="1")
    (own,) = (image.folder / "venv").glob("lib/python*/site-packages")
    (own / "tests.pth").write_text("\n".join(packages.split(os.pathsep)) + "\n")
    return image


def own_path() -> list[str]:
    """What the tests' PYTHONPATH adds, but for a checkout."""
    folders = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return [folder for folder in folders if not (Path(folder) / "revo_ray").exists()]


def copy_into(source: Path, target: Path) -> None:
    """As COPY does it: a folder's contents, or a file into a folder."""
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignored)
    else:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def test_it_keeps_to_good_manners() -> None:
    bases = {rest.split()[0] for rest in said("FROM")}
    assert len(bases) == 1, "the wheel is built where it is installed"
    assert re.search(r"/python:3\.\d+-", bases.pop()), "no image that changes with the day"
    last_user = max(i for i, (each, _) in enumerate(steps()) if each == "USER")
    user = steps()[last_user][1]
    assert user.isdigit(), "Kubernetes can tell that a number is no root"
    assert int(user) > 0
    assert not [each for each, _ in steps()[last_user:] if each in ("RUN", "COPY", "ADD")]
    assert not said("ADD")
    assert not said("EXPOSE")
    assert "RAY_AUTH_MODE=token" in said("ENV")
    for setting in said("ENV") + said("ARG"):
        assert not re.search("TOKEN=|SECRET|PASSWORD|_KEY", setting)
    for command in said("RUN"):
        if "apt-get" in command:
            assert "--no-install-recommends" in command
            assert command.endswith("rm -rf /var/lib/apt/lists/*")
        if "pip " in command:
            assert "--no-cache-dir" in command


@pytest.mark.nightly
def test_the_installed_package_is_the_wheel(built: Built) -> None:
    show = "import revo_ray, revo_ray_baselines as b; print(revo_ray.__file__, b.__file__)"
    files = built.run(f"python -c '{show}'").split()
    assert all(Path(file).is_relative_to(built.folder) for file in files), files


@pytest.mark.nightly
def test_methods_and_presets_are_in_it(built: Built) -> None:
    (entry,) = json.loads(said("ENTRYPOINT")[0])
    listed = built.run(f"{entry} methods")
    presets = [path.stem for path in (ROOT / "revo_ray" / "presets").rglob("*.yaml")]
    assert len(presets) > 4
    for name in ("revo-continuous", "auto-rgn", "set-encoding", *presets):
        assert name in listed, name


@pytest.mark.nightly
def test_a_search_in_an_empty_folder(built: Built) -> None:
    (entry,) = json.loads(said("ENTRYPOINT")[0])
    words = " ".join(json.loads(said("CMD")[0]))
    one_worker = "resources.max_concurrent=1"
    sets = " ".join(f"--set {item}" for item in (*SMALL, "search.evaluations=4", one_worker))
    home = built.inside(said("WORKDIR")[-1])
    built.run(f"{entry} {words} {sets}", home, RAY_AUTH_MODE="token")
    assert {path.name for path in home.iterdir()} == {"revo_results"}
    result = json.loads((home / "revo_results" / "quickstart" / "result.json").read_text())
    assert result["evaluations"] == 4
