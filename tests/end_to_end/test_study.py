"""Whole studies: every method, exact budgets, one experiment, killed and resumed."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.end_to_end.cli import SMALL, Cli
from tests.end_to_end.photos import write_photos

pytestmark = pytest.mark.usefixtures("one_ray")

HALVED = ("full", "first", "last", "layer-decay", "auto-rgn")
WHOLE = ("revo-continuous", "revo-binary", "set-encoding", "random")
EPOCHS, EVALUATIONS = 2, 8


def write_study(folder: Path, methods: Sequence[str] = (*WHOLE, *HALVED)) -> Path:
    """The configuration of a study on the small network."""
    values: dict[str, Any] = {"name": "all", "study": {"methods": [*methods]}}
    for item in SMALL:
        key, _, value = item.partition("=")
        section, _, name = key.partition(".")
        values.setdefault(section, {})[name] = yaml.safe_load(value)
    values["train"] |= {"epochs": EPOCHS}
    values["search"] |= {"evaluations": EVALUATIONS, "budget": "epochs", "population": 4}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def names(folder: Path) -> dict[str, str]:
    """Run directories by method's label."""
    found = {
        p.name.split("test_efficientnet-")[1][:-3]: f"all/{p.name}"
        for p in folder.glob("all/digits-*")
    }
    return found


def stamps(folder: Path) -> dict[str, int]:
    """When each row of the study was written."""
    rows = folder.glob("*/*/ledger/*.json")
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in rows}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, one_ray: None) -> Iterator[Cli]:
    """A study of all methods that nobody disturbs."""
    cli = Cli(tmp_path_factory.mktemp("calm"))
    done = cli.run("study", str(write_study(cli.folder)), small=False)
    assert done.returncode == 0, done.stdout + done.stderr
    yield cli
    cli.close()


def test_every_method_spends_exactly_its_budget(calm: Cli) -> None:
    runs = names(calm.folder)
    assert runs.keys() == {*WHOLE, *HALVED}
    for method in WHOLE:
        rows = calm.ledger(runs[method])
        assert [row.evaluation for row in rows] == list(range(EVALUATIONS))
        assert all(row.epochs == EPOCHS or row.status in ("cached", "diverged") for row in rows)
    for method in HALVED:
        rows = calm.ledger(runs[method])
        assert [row.evaluation for row in rows] == list(range(len(rows)))
        assert sum(row.epochs for row in rows) == EPOCHS * EVALUATIONS
        assert len(rows) > EVALUATIONS
        assert any(
            row.status == "stopped" and len(row.curve) == row.epochs < EPOCHS for row in rows
        )
    assert len(list((calm.folder / ".tables").glob("*.arrow"))) == 1  # any later search's too
    assert not (calm.folder / "all" / ".tables").exists()
    tables = (calm.folder / "all" / "report" / "tables.md").read_text()
    assert all(method in tables for method in (*WHOLE, *HALVED))


def test_a_search_in_a_study_has_the_ledger_that_it_has_alone(calm: Cli) -> None:
    values = yaml.safe_load((calm.folder / "study.yaml").read_text())
    del values["study"]
    (calm.folder / "alone.yaml").write_text(yaml.safe_dump(values))
    settings = {"name": "alone", "method__name": "set-encoding"}
    alone = calm.run("search", str(calm.folder / "alone.yaml"), small=False, **settings)
    assert alone.returncode == 0, alone.stderr
    assert calm.facts("alone") == calm.facts(names(calm.folder)["set-encoding"])


def test_a_finished_study_is_not_run_again(calm: Cli) -> None:
    config = str(calm.folder / "study.yaml")
    refused = calm.run("study", config, small=False)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    before = stamps(calm.folder)
    again = calm.run("study", config, "--resume", small=False)
    assert again.returncode == 0, again.stderr
    assert stamps(calm.folder) == before


@pytest.mark.nightly
@pytest.mark.parametrize(
    "methods", [("revo-continuous", "last"), (*WHOLE, *HALVED)], ids=["two", "all"]
)
def test_a_killed_study_goes_on_and_repeats_no_row(
    calm: Cli, cli: Cli, tmp_path: Path, methods: Sequence[str]
) -> None:
    config = str(write_study(tmp_path, methods))
    seeded = random.Random(0)
    before: dict[str, int] = {}
    for _ in range(2):
        process = cli.start("study", config, "--resume", small=False)
        wanted = len(before) + seeded.randint(2, 3 * len(methods))
        cli.wait_for(lambda wanted=wanted: len(stamps(tmp_path)) >= wanted, process)
        cli.kill(process)
        assert before.items() <= stamps(tmp_path).items()
        before = stamps(tmp_path)
    done = cli.run("study", config, "--resume", small=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert before.items() <= stamps(tmp_path).items()
    runs = names(tmp_path)
    assert runs.keys() == set(methods)
    for method, run in runs.items():
        if method in WHOLE:
            assert cli.facts(run) == calm.facts(names(calm.folder)[method])
        else:
            assert sum(row.epochs for row in cli.ledger(run)) == EPOCHS * EVALUATIONS


@pytest.mark.nightly
def test_a_study_is_stopped_by_time_and_grows(calm: Cli, cli: Cli, tmp_path: Path) -> None:
    config, half = str(write_study(tmp_path, WHOLE)), {"search__evaluations": str(EVALUATIONS // 2)}
    done = cli.run("study", config, small=False, search__stop_after="0.001", **half)
    assert done.returncode == 3, done.stdout + done.stderr
    unfinished = f"with {len(WHOLE)} of {len(WHOLE)} searches unfinished"
    assert unfinished in done.stdout
    assert stamps(tmp_path) == {}
    done = cli.run("study", config, "--resume", small=False, **half)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "unfinished" not in done.stdout
    before = stamps(tmp_path)
    assert len(before) == len(WHOLE) * EVALUATIONS // 2
    done = cli.run("study", config, "--resume", small=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert before.items() <= stamps(tmp_path).items()
    for method, run in names(tmp_path).items():
        assert cli.facts(run) == calm.facts(names(calm.folder)[method])
    write_study(tmp_path, ("last",))
    for evaluations, status in ((EVALUATIONS, 0), (EVALUATIONS + 1, 2)):
        more = {"name": "one", "search__evaluations": str(evaluations)}
        done = cli.run("study", config, "--resume", small=False, **more)
        assert done.returncode == status, done.stdout + done.stderr
    assert "search.evaluations: cannot grow in" in done.stderr


BOOM = """
import dataclasses

from baselines import Random


class Boom(Random):
    name = "boom"

    def plan(self, sample, units):
        return dataclasses.replace(super().plan(sample, units), policy={"method": "boom"})


METHODS = [Boom]
"""
"""A method whose every training fails: its plans ask for a policy that it has not."""


def some(folder: Path, *methods: Any) -> str:
    """A study of these methods."""
    values = yaml.safe_load(write_study(folder).read_text())
    values["plugins"] = ["baselines", "boom"]
    values["study"]["methods"] = list(methods)
    (folder / "boom.py").write_text(BOOM)
    (folder / "some.yaml").write_text(yaml.safe_dump(values))
    return str(folder / "some.yaml")


@pytest.mark.nightly
def test_a_search_that_cannot_go_on_stops_no_other(cli: Cli, tmp_path: Path) -> None:
    config = some(tmp_path, "boom", "random", "last")
    trusted = ["--plugin-path", str(tmp_path)]  # for the workers, too
    done = cli.run_alone("study", config, *trusted, small=False)
    assert done.returncode == 3, done.stdout + done.stderr
    assert re.search(r"-boom-s0: evaluations \d to \d all failed", done.stderr)
    assert "no method has the policy" in done.stderr
    (run,) = (f"all/{p.name}" for p in tmp_path.glob("all/*-random-s0"))
    assert len(cli.ledger(run)) == EVALUATIONS
    (run,) = (f"all/{p.name}" for p in tmp_path.glob("all/*-last-s0"))
    assert sum(row.epochs for row in cli.ledger(run)) == EPOCHS * EVALUATIONS
    assert (tmp_path / "all" / "report" / "tables.md").exists()


def test_a_mistake_in_one_combination_is_named_before_anything_is_written(
    cli: Cli, tmp_path: Path
) -> None:
    config = some(tmp_path, "random", "fulll")
    wrong = cli.run("study", config, "--plugin-path", str(tmp_path), small=False)
    assert wrong.returncode == 2
    assert len(wrong.stderr.splitlines()) == 1
    assert "-fulll-s0: method.name: no method 'fulll'; did you mean full?" in wrong.stderr
    assert not (tmp_path / "all" / "study.yaml").exists()


@pytest.mark.nightly
def test_own_images_are_compared(cli: Cli) -> None:
    """`study preset:compare IMAGES` ends with a sentence on each rival."""
    write_photos(cli.folder / "photos", counts={"temple": 20, "flower": 20}, size=(80, 60))
    small = ("model.name=timm/test_efficientnet", "model.weights=none", "data.image_size=32")
    short = ("train.epochs=1", "search.evaluations=4", "search.population=4", "study.seeds=[0, 1]")
    words = [word for item in (*small, *short) for word in ("--set", item)]
    done = cli.run("study", "preset:compare", "photos", *words, small=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = " ".join(done.stdout.split())
    for rival in ("full", "random"):
        assert re.search(rf"revo-continuous has \S+ points of test accuracy against {rival}", text)
    assert (cli.folder / "photos-compare/report/index.html").exists()
    kept = stamps(cli.folder)
    words[words.index("study.seeds=[0, 1]")] = "study.seeds=[0, 1, 2]"
    more = cli.run("study", "preset:compare", "photos", *words, "--resume", small=False)
    assert more.returncode == 0, more.stdout + more.stderr
    assert len(kept) == 3 * 2 * 4
    assert kept.items() < stamps(cli.folder).items()
    assert "9 of 9 searches are finished" in " ".join(more.stdout.split())
