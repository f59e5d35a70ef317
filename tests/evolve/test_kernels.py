"""A ledger that was written under one kernel of BLAS is resumed under others."""

from __future__ import annotations

import itertools
import json
import os
import platform
import subprocess
import sys

import pytest

from revo_ray.evolve.space import Real
from tests.evolve.kernels import Done, Task, make_search

MIXED_ALGORITHMS = ("catcmawm", "cmawm", "sop")
METHODS = [
    *(f"revo-continuous algorithm={name}" for name in ("cma", *MIXED_ALGORITHMS)),
    *(f"revo-continuous scale=relative algorithm={name}" for name in ("cma", *MIXED_ALGORITHMS)),
    *(f"revo-continuous scale=linear algorithm={name}" for name in ("cma", *MIXED_ALGORITHMS)),
    *(f"revo-mixed algorithm={name}" for name in MIXED_ALGORITHMS),
    *(f"revo-mixed recipe=[momentum,mixup] algorithm={name}" for name in MIXED_ALGORITHMS),
    *(f"revo-binary algorithm={name}" for name in MIXED_ALGORITHMS),
    *(f"revo-binary global_lr=0.01 algorithm={name}" for name in MIXED_ALGORITHMS),
    *("set-encoding", "biotune", "random"),
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        (sys.platform, platform.machine()) != ("linux", "x86_64"),
        reason="the kernels are those of x86-64 in OpenBLAS",
    ),
]


def run(task: Task, **environment: str) -> Done:
    """Do a task in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.evolve.kernels"],
        input=json.dumps(task),
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: Done = json.loads(done.stdout)
    return found


def other_kernels(kernels: list[str]) -> list[str]:
    """Two kernels of OpenBLAS that every CPU of the last ten years can run, and does not now."""
    if not set(kernels) & {"SkylakeX", "Cooperlake", "Sapphirerapids", "Haswell", "Zen"}:
        pytest.skip(f"the kernels are {kernels}")
    return [name for name in ("Haswell", "Nehalem", "Sandybridge") if name not in kernels][:2]


def assert_resumed(done: Done, written: Done) -> None:
    """Real numbers agree to 1e-12 of their scales, and all other values are equal."""
    for method, by_cut in done["rows"].items():
        _, space = make_search(method)
        expected = written["rows"][method]["0"]
        for rows in by_cut.values():
            assert rows.keys() == expected.keys()
            for number, name in itertools.product(rows, space):
                values = [each[number][0][name] for each in (rows, expected)]
                variable = space[name]
                if isinstance(variable, Real) and variable.step is None:
                    values = [variable.to_unit(value) for value in values]
                    values[1] = pytest.approx(values[1], rel=0, abs=1e-12)
                assert values[0] == values[1], (method, number, name)


def whole(methods: list[str]) -> Done:
    return run(Task(methods=methods, recorded={}, cuts=[0]))


def resumption(written: Done, cuts: list[int]) -> Task:
    recorded = {method: by_cut["0"] for method, by_cut in written["rows"].items()}
    return Task(methods=list(recorded), recorded=recorded, cuts=cuts)


@pytest.mark.nightly
def test_a_ledger_is_resumed_under_another_kernel() -> None:
    written = whole(["revo-continuous algorithm=cma", "revo-mixed", "revo-binary algorithm=sop"])
    kernel = other_kernels(written["kernels"])[0]
    done = run(resumption(written, [50]), OPENBLAS_CORETYPE=kernel)
    assert set(done["kernels"]) == {kernel}
    assert_resumed(done, written)


@pytest.mark.nightly
def test_every_method_is_resumed_under_every_kernel() -> None:
    written = whole(METHODS)
    task = resumption(written, [10, 50, 90])
    for kernel in other_kernels(written["kernels"]):
        done = run(task, OPENBLAS_CORETYPE=kernel)
        assert set(done["kernels"]) == {kernel}
        assert_resumed(done, written)
    assert_resumed(run(task, NPY_DISABLE_CPU_FEATURES="X86_V4"), written)
