"""Settings of matplotlib that lie beside somebody's images: no figure obeys them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.security.commands import revo

pytestmark = pytest.mark.slow

HOSTILE = """
text.usetex: True
text.latex.preamble: \\input{/etc/passwd}
backend: module://evil
lines.linewidth: 9
axes.facecolor: red
savefig.bbox: tight
figure.dpi: 31
no.such.key: 1
"""


def figures(run: Path) -> dict[str, bytes]:
    """The figures of a run directory's report, which are taken away."""
    files = (run / "report" / "figures").iterdir()
    found = {path.name: path.read_bytes() for path in files}
    shutil.rmtree(run / "report")
    return found


@pytest.mark.nightly
def test_a_matplotlibrc_in_the_current_folder_changes_no_figure(run: Path) -> None:
    plain, spoilt = run.parent / "plain", run.parent / "spoilt"
    plain.mkdir()
    spoilt.mkdir()
    (spoilt / "matplotlibrc").write_text(HOSTILE)
    (spoilt / "evil.py").write_text("open('evil ran', 'w')\n")
    first = revo("report", run, folder=plain)
    assert first.returncode == 0, first.stderr
    drawn = figures(run)
    second = revo("report", run, folder=spoilt)
    assert second.returncode == 0, second.stderr
    assert figures(run) == drawn
    assert "matplotlib" not in second.stderr
    assert not (spoilt / "evil ran").exists()


def test_a_matplotlibrc_that_is_a_pipe_is_not_read(run: Path) -> None:
    os.mkfifo(run.parent / "matplotlibrc")
    done = revo("report", run, folder=run.parent, seconds=60)
    assert done.returncode == 0, done.stderr
