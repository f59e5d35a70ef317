"""`plugins: [baselines]` are those that came with revo-ray, whatever else has that name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOW = """
import sys
{before}
from revo_ray.methods import UserError, load_methods
try:
    print(sys.modules[load_methods()["random"].__module__].__file__)
except (UserError, KeyError) as error:
    print(error)
"""
OTHERS = "METHODS = ()\nraise RuntimeError('the baselines of others')\n"


def copied(folder: Path, *names: str) -> Path:
    aside = shutil.ignore_patterns("__pycache__")
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=aside)
        else:
            shutil.copy(ROOT / name, folder)
    return folder


def others(folder: Path) -> Path:
    (folder / "baselines").mkdir(parents=True)
    (folder / "baselines" / "__init__.py").write_text(OTHERS)
    return folder


def found(cwd: Path, *path: Path, before: str = "") -> str:
    """File of the method `random`, or the error, in a process with that path."""
    # `-S` leaves out the packages that are installed here, but for those of the path.
    installed = [entry for entry in sys.path if entry.endswith("site-packages")]
    done = subprocess.run(
        [sys.executable, "-S", "-c", SHOW.format(before=before)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*map(str, path), *installed])},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("checkout")
    return copied(made, "revo_ray", "baselines", "pyproject.toml")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages, laid out as the wheel installs them."""
    made = copied(tmp_path_factory.mktemp("site"), "revo_ray", "baselines")
    (made / "baselines").rename(made / "revo_ray_baselines")
    return made


@pytest.mark.slow
def test_a_checkout_takes_its_own_folder(checkout: Path, tmp_path: Path) -> None:
    own = str(checkout / "baselines" / "random.py")
    assert found(checkout, checkout) == own
    assert found(tmp_path, checkout) == own
    other = others(tmp_path / "other")
    assert found(other, other, checkout) == own
    ignored = "try:\n    import baselines\nexcept RuntimeError: pass"
    assert found(other, other, checkout, before=ignored) == own
    module = "import types; sys.modules['baselines'] = types.ModuleType('baselines')"
    assert found(tmp_path, checkout, before=module) == own


@pytest.mark.slow
def test_a_checkout_comes_before_what_is_installed(checkout: Path, site: Path) -> None:
    assert found(checkout, checkout, site) == str(checkout / "baselines" / "random.py")


@pytest.mark.slow
def test_the_wheel_takes_the_installed_package(site: Path, tmp_path: Path) -> None:
    own = str(site / "revo_ray_baselines" / "random.py")
    assert found(tmp_path, site) == own
    other = others(tmp_path / "other")
    assert found(other, other, site) == own
    # A folder of that name beside the package, as other people's wheels may bring it.
    beside = tmp_path / "beside"
    shutil.copytree(site, beside)
    others(beside)
    (beside / "pyproject.toml").write_text('[project]\nname = "theirs"\n')
    assert found(tmp_path, beside) == str(beside / "revo_ray_baselines" / "random.py")


@pytest.mark.slow
def test_without_any_the_error_says_so(tmp_path: Path) -> None:
    bare = copied(tmp_path, "revo_ray")
    message = found(others(tmp_path / "other"), bare)
    assert message.startswith("plugins: cannot load methods from 'baselines'")
    assert "revo_ray_baselines" in message
