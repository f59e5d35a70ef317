"""A plugin imports from `revo_ray.methods` alone, and listing methods loads no heavy library."""

from __future__ import annotations

import subprocess
import sys

import pytest

import revo_ray.methods


def test_every_name_for_plugins_can_be_imported() -> None:
    for name in revo_ray.methods.__all__:
        assert getattr(revo_ray.methods, name) is not None


@pytest.mark.slow
def test_listing_methods_imports_neither_torch_nor_ray_nor_scipy() -> None:
    code = (
        "import sys, revo_ray.methods; revo_ray.methods.load_methods(['baselines']);"
        "print({'torch', 'ray', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
