"""Searches on a Ray that lacks one of the private parts that are used."""

from __future__ import annotations

import pytest

from revo_ray.search.core.state import SearchState
from revo_ray.search.ray import internals
from tests.end_to_end.cli import ONE_WORKER, Cli
from tests.search.ray.test_internals import take_away

OF_SUBMIT = {
    internals.UPLOAD_EXCLUDES,
    internals.UPLOAD_WALK,
    internals.ALWAYS_EXCLUDED,
    *internals.UPLOAD_LIMITS,
}
"""Names that no search uses."""


@pytest.mark.nightly
@pytest.mark.usefixtures("one_ray")
@pytest.mark.parametrize("name", [name for name in internals.NAMES if name not in OF_SUBMIT])
def test_a_search_ends_well_and_says_once_what_is_missing(
    name: str,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    take_away(name, monkeypatch)
    settings = {"search__evaluations": "4", "search__population": "4", "train__epochs": "1"}
    settings |= ONE_WORKER
    if name == internals.CLEANUP_TIMEOUT:  # used by a search that is interrupted
        with monkeypatch.context() as patched:
            patched.setattr(SearchState, "record", interrupt)
            assert cli.run("search", name="ours", **settings).returncode == 130
    done = cli.run("search", "--resume", name="ours", **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row.status for row in cli.ledger("ours")] == ["ok"] * 4
    (warning,) = (r for r in caplog.records if r.name == internals.__name__)
    assert f"has no {name}: {internals.NAMES[name]}" in warning.getMessage()


def interrupt(*arguments: object) -> None:
    """As Ctrl-C would."""
    raise KeyboardInterrupt
