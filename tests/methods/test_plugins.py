"""Plugins come from installed packages, the checkout and the plugin path; from nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from revo_ray.errors import UserError
from revo_ray.methods import load_methods
from revo_ray.methods.plugins import CHECKOUT, plugin_modules, trusting

METHOD = """
from revo_ray.methods import RevoContinuous

class Mine(RevoContinuous):
    \"\"\"A method.\"\"\"

    name = {name!r}
"""


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])


def plugin(folder: Path, name: str = "mine", module: str = "helper") -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / f"{module}.py").write_text(f"from beside_{module} import Mine\nMETHODS = [Mine]\n")
    (folder / f"beside_{module}.py").write_text(METHOD.format(name=name))
    return folder


@pytest.fixture
def nothing_stays() -> Iterator[None]:
    before = set(sys.modules)
    yield
    assert sys.modules.keys() <= before


def refusal(name: str) -> str:
    with pytest.raises(UserError) as refused:
        load_methods([name])
    (line,) = str(refused.value).splitlines()
    return line


@pytest.mark.usefixtures("nothing_stays")
def test_a_plugin_of_the_plugin_path_imports_what_lies_beside_it(tmp_path: Path) -> None:
    with trusting([plugin(tmp_path / "a", "first")]):
        assert "first" in load_methods(["helper"])
        assert plugin_modules() == dict.fromkeys(["helper", "beside_helper"], tmp_path / "a")
        assert sys.path[-1] == str(tmp_path / "a")
    assert str(tmp_path / "a") not in sys.path
    assert "no such module is installed" in refusal("helper")


@pytest.mark.usefixtures("nothing_stays")
def test_a_plugin_of_another_folder_answers_for_none(tmp_path: Path) -> None:
    for name in ("first", "second"):
        with trusting([plugin(tmp_path / name, name)]):
            found = load_methods(["helper"])
            assert found.keys() & {"first", "second"} == {name}


def test_the_folder_of_the_user_keeps_its_place_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(plugin(tmp_path)))
    with trusting([tmp_path]):
        assert "mine" in load_methods(["helper"])
    assert sys.path[0] == str(tmp_path)
    assert "mine" in load_methods(["helper"])  # installed, as it were


@pytest.mark.parametrize("first", ["", "."])
def test_the_current_folder_counts_for_nothing_even_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    monkeypatch.chdir(plugin(tmp_path))
    monkeypatch.syspath_prepend(first and str(tmp_path))
    said = refusal("helper")
    assert said.endswith(
        "it lies in the current folder; give --plugin-path . if you trust its code"
    )
    with trusting(["."]):
        assert "mine" in load_methods(["helper"])


def test_a_module_of_a_package_is_a_plugin(tmp_path: Path) -> None:
    plugin(tmp_path / "pack", module="inner")
    (tmp_path / "pack" / "inner.py").write_text(METHOD.format(name="in") + "METHODS = [Mine]\n")
    for file in (None, tmp_path / "pack" / "__init__.py"):
        if file is not None:
            file.touch()
        with trusting([tmp_path]):
            assert "in" in load_methods(["pack.inner"])
            assert plugin_modules() == {"pack": tmp_path}


@pytest.mark.parametrize("name", ["timm", "torch", "yaml", "revo_ray.run", "json", "antigravity"])
def test_a_plugin_takes_no_other_modules_name(tmp_path: Path, name: str) -> None:
    top = name.partition(".")[0]
    (tmp_path / f"{top}.py").write_text("raise RuntimeError('run')")
    with trusting([tmp_path]):
        said = refusal(name)
    assert "is also the name of a module at" in said or "is a module of" in said
    assert "run'" not in said.replace(repr(name), "")


@pytest.mark.parametrize("name", ["", ".", "a..b", "../x", "a b", "a/b", "x.", ".x"])
def test_other_text_is_no_name(name: str) -> None:
    assert refusal(name).endswith("that is no name of a module")


def test_another_loaded_module_of_the_name_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "helper", sys)
    with trusting([plugin(tmp_path)]):
        assert "another module helper is loaded already" in refusal("helper")


def test_a_broken_plugin_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("import no_such_module_at_all")
    with trusting([tmp_path]):
        assert "No module named 'no_such_module_at_all'" in refusal("helper")
        assert "helper" not in sys.modules


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--plugin-path: no such folder"), trusting(["none"]):
        pass


def test_what_lies_beside_the_package_needs_no_path() -> None:
    assert (CHECKOUT / "benchmarks" / "__init__.py").exists()
    assert "cannot load methods from 'benchmarks': module 'benchmarks' has no" in refusal(
        "benchmarks"
    )


@pytest.mark.parametrize("name", ["setup", "wandb.__main__", "ends"])
def test_a_program_is_no_plugin(name: str, tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text("raise SystemExit(7)\n")
    with trusting([tmp_path]), pytest.raises(UserError, match=f"cannot load methods from '{name}'"):
        load_methods([name])
