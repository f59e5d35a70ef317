"""Fixtures of whole searches."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from tests.end_to_end.cli import ONE_WORKER, Cli, Undisturbed, generations


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    """A command line with a folder for this test."""
    made = Cli(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def one_ray() -> Iterator[None]:
    """A Ray of two CPUs for all commands that a module runs in this process."""
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    ray.init(address="local", num_cpus=2, **quiet)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    """Searches that nobody disturbs, of one worker each, by lookahead."""
    made: dict[int, Cli] = {}

    def search(lookahead: int = 0) -> Cli:
        if lookahead not in made:
            made[lookahead] = Cli(tmp_path_factory.mktemp(f"lookahead{lookahead}"))
            done = made[lookahead].run(
                "search",
                name="undisturbed",
                **generations(lookahead),
                **ONE_WORKER,
            )
            assert done.returncode == 0, done.stdout + done.stderr
        return made[lookahead]

    yield search
    for cli in made.values():
        cli.close()
