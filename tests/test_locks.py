"""The lock files name what `pyproject.toml` asks for, each by its hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]

WANTED = {
    "dev": ("demo", "dev", "cluster"),
    "cluster": ("demo", "cluster", "aws"),
}
PYTHONS = ("3.11", "3.12", "3.13")


def locked(name: str, python: str) -> dict[str, str]:
    """Version of each package of a lock file, under Linux and a release of Python."""
    text = (ROOT / "locks" / f"{name}.txt").read_text()
    environment = {**default_environment(), "sys_platform": "linux", "platform_system": "Linux"}
    environment |= {"python_version": python, "python_full_version": f"{python}.0"}
    versions = {}
    for entry in re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)):
        line, *hashes = re.split(r"\s*\\?\n\s*|\s+\\$", entry.strip())
        assert hashes, f"{line} has no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64} ?\\?", each) for each in hashes), line
        requirement = Requirement(line.rstrip("\\ "))
        if requirement.marker is None or requirement.marker.evaluate(environment):
            (pin,) = requirement.specifier
            assert pin.operator == "==", line
            versions[canonicalize_name(requirement.name)] = pin.version
    return versions


def required(extras: tuple[str, ...]) -> list[Requirement]:
    """Requirements of the project and of some extras, those that an extra takes in among them."""
    found = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
    for extra in extras:
        for requirement in map(Requirement, EXTRAS[extra]):
            own = requirement.name == PROJECT["project"]["name"]
            found += required(tuple(requirement.extras)) if own else [requirement]
    return found


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", WANTED)
def test_a_lock_file_has_all_that_is_required(name: str, python: str) -> None:
    versions = locked(name, python)
    for requirement in required(WANTED[name]):
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None, f"run `make locks`: {name}.txt lacks {requirement}"
        assert requirement.specifier.contains(version), f"run `make locks`: {requirement}"


def test_the_build_is_locked() -> None:
    (build,) = map(Requirement, PROJECT["build-system"]["requires"])
    for name in ("build", "dev"):  # `make` builds with what the tests have
        assert build.specifier.contains(locked(name, PYTHONS[0])["setuptools"])


def test_everything_that_installs_asks_for_hashes() -> None:
    """All but our own wheel, whose dependencies are there by then."""
    files = [ROOT / "Makefile", *(ROOT / "cluster").rglob("*file"), *ROOT.glob("cluster/*.yaml")]
    lines = [line for file in files for line in file.read_text().splitlines()]
    installs = [line for line in lines if re.search(r"(pip|PIP\)) install", line)]
    assert len(installs) >= 9
    for line in installs:
        assert "--require-hashes" in line or "--no-deps" in line, line


def test_images_are_named_by_what_they_hold() -> None:
    steps = (ROOT / "cluster/Containerfile").read_text().splitlines()
    bases = [line for line in steps if line.startswith("FROM")]
    assert bases
    assert all(re.search(r"@sha256:[0-9a-f]{64}( AS \w+)?$", line) for line in bases)
    images = re.findall(r"ImageId: (?:&\w+ )?(\S+)", (ROOT / "cluster/aws.yaml").read_text())
    assert all(image == "*image" or re.fullmatch("ami-[0-9a-f]{17}", image) for image in images)
