"""An evaluation that runs out of memory is made again once, alone on its GPU or its machine."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from revo_ray.rundir.evaluation import Evaluation
from revo_ray.search.ray import assignments
from tests.cluster.cheap import machines, most_at_once
from tests.end_to_end.cli import Cli

PLUGINS = str(Path(__file__).parent / "plugins")
OWN = {
    "plugins": "[hungry]",
    "method__name": "hungry",
    "search__evaluations": "8",
    "search__population": "4",
    "resources__device": "cpu",
}
ONCE, TWICE = 1, 6
"""Evaluations of the first and the second generation, that run out of memory so often."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a machine with one GPU, as Ray counts, which this process has joined."""
    with machines({"num_gpus": 1, "num_cpus": 4}) as made:
        yield made.address


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    made = Cli(tmp_path)
    yield made
    made.close()


def arguments(cli: Cli, name: str, **more: Any) -> dict[str, str]:
    (cli.folder / f"{name}-trials").mkdir(exist_ok=True)
    return OWN | {"name": name, "method__folder": str(cli.folder / f"{name}-trials")} | more


def search(cli: Cli, name: str, **more: Any) -> list[Evaluation]:
    """Run a search to its end; its rows."""
    done = cli.run("search", "--plugin-path", PLUGINS, **arguments(cli, name, **more))
    assert done.returncode == 0, done.stdout + done.stderr
    return cli.ledger(name)


def hungry(rows: list[Evaluation], **times: int) -> dict[str, str]:
    """Options that let evaluations run out of memory, by their numbers."""
    rates = {rows[int(number.strip("_"))].sample["rate"]: each for number, each in times.items()}
    return {"method__rates": str([*rates]), "method__times": str([*rates.values()])}


def trials(cli: Cli, name: str, row: Evaluation) -> int:
    """Number of trials of an evaluation."""
    file = cli.folder / f"{name}-trials" / repr(row.sample["rate"])
    return len(file.read_text().splitlines())


def beside(row: Evaluation, rows: list[Evaluation]) -> int:
    """Number of other evaluations that were at work while this one was."""
    return sum(
        row.started_at < other.finished_at and other.started_at < row.finished_at
        for other in rows
        if other.evaluation != row.evaluation
    )


def facts(cli: Cli, name: str) -> list[dict[str, Any]]:
    rows = cli.facts(name)
    for row in rows:
        del row["plan"]
    return rows


HALVES = {"resources__gpus_per_trial": "0.5"}


@pytest.mark.nightly
def test_alone_on_its_gpu(address: str, cli: Cli, caplog: pytest.LogCaptureFixture) -> None:
    whole = search(cli, "whole", **HALVES)
    assert [row.status for row in whole] == ["ok"] * 8
    assert most_at_once(whole, lambda row: "all") == {"all": 2}
    with caplog.at_level(logging.WARNING, "revo_ray"):
        rows = search(cli, "less", **HALVES, **hungry(whole, _1=1, _6=9))
    assert [trials(cli, "less", row) for row in rows] == [1, 2, 1, 1, 1, 1, 2, 1]
    assert [row.attempts for row in rows] == [1, 2, 1, 1, 1, 1, 2, 1]
    assert [beside(rows[number], rows) for number in (ONCE, TWICE)] == [0, 0]
    assert most_at_once(rows, lambda row: "all") == {"all": 2}  # before, and again afterwards
    expected, found = facts(cli, "whole"), facts(cli, "less")
    del expected[TWICE], found[TWICE]
    assert found == expected
    assert rows[TWICE].status == "error"
    assert rows[TWICE].error == (
        "ran out of the GPU's memory twice, the second time alone on its GPU: lower "
        "train.batch_size (32), data.image_size (32) or train.cache_mb (64), or set "
        "train.precision to bf16 (OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 "
        "GiB.)"
    )
    again = "ran out of the GPU's memory, and is made again, alone on its GPU; raise "
    again += "resources.gpus_per_trial (0.5) if more do"
    assert caplog.messages == [f"evaluation {number} {again}" for number in (ONCE, TWICE)]


@pytest.mark.nightly
def test_with_one_worker_that_waits_warm(address: str, cli: Cli) -> None:
    """The half of the GPU that it holds becomes free."""
    alone = {"resources__max_concurrent": "1", "method__seconds": "0"} | HALVES
    whole = search(cli, "whole", **alone)
    rows = search(cli, "less", **alone, **hungry(whole, _1=1))
    assert [trials(cli, "less", row) for row in rows] == [1, 2, 1, 1, 1, 1, 1, 1]
    assert facts(cli, "less") == facts(cli, "whole")


@pytest.mark.nightly
def test_alone_on_its_machine(address: str, cli: Cli) -> None:
    """A CPU's memory is that of its machine; the threads stay as many."""
    cpus = {"resources__gpus_per_trial": "0", "method__memory": "machine"}
    whole = search(cli, "whole", **cpus, method__seconds="0")
    rows = search(cli, "less", **cpus, **hungry(whole, _1=1, _6=9))
    assert [trials(cli, "less", row) for row in rows] == [1, 2, 1, 1, 1, 1, 2, 1]
    assert [beside(rows[number], rows) for number in (ONCE, TWICE)] == [0, 0]
    assert most_at_once(rows, lambda row: "all")["all"] > 1
    expected, found = facts(cli, "whole"), facts(cli, "less")
    del expected[TWICE], found[TWICE]
    assert found == expected
    assert rows[TWICE].error is not None
    assert rows[TWICE].error.startswith(
        "ran out of the machine's memory twice, the second time alone on its machine: lower "
        "train.batch_size (32), data.image_size (32) or train.cache_mb (64) (RuntimeError: "
    )


@pytest.mark.nightly
def test_a_gpu_that_somebody_else_shares_is_not_waited_for(
    address: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assignments, "ALONE_S", 2.0)
    whole = search(cli, "whole", **HALVES, method__seconds="0")

    @ray.remote(num_gpus=0.5, num_cpus=0)
    class Neighbour:
        def there(self) -> bool:
            return True

    neighbour = Neighbour.remote()
    assert ray.get(neighbour.there.remote())
    rows = search(cli, "less", **HALVES, **hungry(whole, _1=1, _6=9))
    ray.kill(neighbour)
    assert [trials(cli, "less", row) for row in rows] == [1, 2, 1, 1, 1, 1, 2, 1]
    assert [row.status for row in rows if row.evaluation != TWICE] == ["ok"] * 7
    assert rows[TWICE].error is not None
    assert rows[TWICE].error.startswith("ran out of the GPU's memory twice: lower ")


@pytest.mark.nightly
def test_a_driver_that_is_killed_between_the_trials(address: str, cli: Cli) -> None:
    whole = search(cli, "whole", **HALVES, method__seconds="0")
    words = arguments(cli, "less", **HALVES, **hungry(whole, _1=2), method__seconds="3")
    process = cli.start("search", "--plugin-path", PLUGINS, "--address", address, **words)
    file = cli.folder / "less-trials" / repr(whole[ONCE].sample["rate"])
    cli.wait_for(lambda: file.exists() and file.read_text().count("\n") == 2, process)
    cli.kill(process)
    assert whole[ONCE].evaluation not in [row.evaluation for row in cli.ledger("less")]
    time.sleep(1)
    done = cli.run("search", "--resume", "--plugin-path", PLUGINS, **words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert facts(cli, "less") == facts(cli, "whole")
    assert file.read_text().count("\n") == 3  # it had too little twice, for two drivers
