"""Fixtures of whole searches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.cli import Cli


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    """A command line with a folder for this test."""
    made = Cli(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Cli]]:
    """Searches that nobody disturbs, one worker each, by lookahead; run `undisturbed`."""
    made: dict[int, Cli] = {}

    def search(lookahead: int = 0) -> Cli:
        if lookahead not in made:
            made[lookahead] = Cli(tmp_path_factory.mktemp(f"lookahead{lookahead}"))
            done = made[lookahead].run(
                "search",
                name="undisturbed",
                resources__max_concurrent="1",
                search__lookahead=str(lookahead),
            )
            assert done.returncode == 0, done.stdout + done.stderr
        return made[lookahead]

    yield search
    for cli in made.values():
        cli.close()
