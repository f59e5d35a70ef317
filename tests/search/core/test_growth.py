"""`search.evaluations` grows on resume: the rows stay, and the others are the longer search's."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from revo_ray.errors import UserError
from revo_ray.methods import CMAMV, Method, Plan, Proposals, Real, Space
from revo_ray.methods.registry import load_methods
from revo_ray.rundir.outcome import read_outcome
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.prepare import RULES, Preparation, resolve
from revo_ray.search.core.state import SearchState
from revo_ray.search.core.summary import write_result
from revo_ray.settings.schema import SearchConfig
from tests.search.core.by_hand import CARD, UNITS, open_search, open_state, rows, run
from tests.search.core.test_epoch_budget import Stopping

GROW = {
    "revo-continuous": ("search.lookahead=3",),
    "revo-binary": ("method.head=searched",),
    "revo-mixed": (),
    "random": (),
    "set-encoding": (),
    "biotune": ("search.lookahead=3",),
    "full": ("method.halving=none", "method.startup=5"),
}


def row_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "ledger").iterdir()}


def test_all_methods_that_may_grow_are_tried() -> None:
    tuned = {"first", "last", "layer-decay", "auto-rgn"}  # as full
    assert GROW.keys() | tuned == load_methods().keys()


@pytest.mark.sample(3)
@pytest.mark.parametrize("method", [*[*GROW][:-1], pytest.param("full", marks=pytest.mark.slow)])
def test_the_rows_stay_and_the_others_are_those_of_the_longer_search(
    method: str, tmp_path: Path
) -> None:
    options = (f"method.name={method}", *GROW[method])
    whole, grown = tmp_path / "whole", tmp_path / "grown"
    run(open_state(whole, *options, "search.evaluations=34"), whole)
    first = open_state(grown, *options, "search.evaluations=17")
    run(first, grown)
    looks = {form: found.looks for form, found in write_result(first).forms.items()}
    assert set(looks.values()) == {1}
    before = row_files(grown)
    assert len(before) == 17
    longer = open_state(grown, *options, "search.evaluations=34")
    run(longer, grown)
    result = write_result(longer)
    after = row_files(grown)
    assert {name: after[name] for name in before} == before
    assert rows(grown) == rows(whole)
    assert (result.evaluations, result.stopped_by) == (34, "budget")
    changed = first.forms.members != longer.forms.members
    assert result.test_looks == sum(found.looks for found in result.forms.values())
    assert (result.test_looks > sum(looks.values())) == changed
    for form, found in result.forms.items():  # the same form is not tested again
        same = first.forms.members.get(form) == longer.forms.members[form]
        assert found.looks == (1 if same else 2)
    assert RunDirectory(str(grown)).best.owner == RunDirectory(str(whole)).best.owner


def config_of(folder: Path, *options: str) -> SearchConfig:
    sets = [f"storage={folder}", "name=run", "search.evaluations=12", *options]
    return resolve(SearchConfig.load(None, sets))[0]


def preparation(folder: Path, early_stopping: Any = lambda method, config: None) -> Preparation:
    return Preparation(
        str(folder),
        True,
        ExitStack(),
        prepare_table=lambda data, path: pytest.fail("its images are read"),
        early_stopping=early_stopping,
    )


def finish(folder: Path, config: SearchConfig) -> SearchState:
    directory = RunDirectory.of(config)
    directory.write_config(config, {}, RULES)
    state = open_search(config, directory)
    run(state, folder / "run")
    write_result(state)
    return state


def test_a_grown_search_is_not_finished_before_and_after_it_is_recorded(tmp_path: Path) -> None:
    directory = finish(tmp_path, config_of(tmp_path)).run
    assert preparation(tmp_path).finished(config_of(tmp_path)) is not None
    grown = config_of(tmp_path, "search.evaluations=24")
    for _ in range(2):
        assert preparation(tmp_path).finished(grown) is None
        directory.record_growth(24)  # and killed before it had another row
    for evaluations in (12, 23):
        fewer = config_of(tmp_path, f"search.evaluations={evaluations}")
        with pytest.raises(UserError, match=rf"\(24, now {evaluations}; it may only grow\)"):
            directory.check_config(fewer, {}, RULES)


def test_growth_changes_one_value_of_the_record(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    directory = RunDirectory.of(config)
    directory.write_config(config, {"table": "b"}, RULES)
    record = yaml.safe_load(directory.config_text())
    grown = config_of(tmp_path, "search.evaluations=24", "search.stop_after=2h")
    assert directory.check_config(grown, {"table": "b"}, RULES)
    directory.record_growth(24)
    record["search"]["evaluations"] = 24
    assert yaml.safe_load(directory.config_text()) == record
    assert not directory.check_config(grown, {"table": "b"}, RULES)


@pytest.mark.parametrize(
    ("budget", "stops", "grows"),
    [("epochs", True, False), ("epochs", False, True), ("evaluations", True, True)],
)
def test_a_budget_of_epochs_cannot_grow_where_it_cuts_evaluations_short(
    budget: str, stops: bool, grows: bool, tmp_path: Path
) -> None:
    def resumed() -> Preparation:
        return preparation(tmp_path, lambda method, config: Stopping() if stops else None)

    finish(tmp_path, config_of(tmp_path, f"search.budget={budget}"))
    longer = config_of(tmp_path, f"search.budget={budget}", "search.evaluations=24")
    if grows:
        assert resumed().finished(longer) is None
        with pytest.raises(pytest.fail.Exception, match="its images are read"):
            resumed().check(longer)
        return
    with pytest.raises(UserError, match=r"^search\.evaluations: cannot grow in .*/run: under"):
        resumed().check(longer)


class Annealed(Method):
    """A method whose proposals depend on the budget."""

    name = "annealed"

    def space(self, units: Any) -> Space:
        return Space({"rate": Real(1e-4, 1e-1, log=True)})

    def plan(self, sample: Any, units: Any) -> Plan:
        return Plan((sample["rate"],) * len(units))

    def searcher(self, space: Space, search: Any) -> Proposals[Any]:
        optimiser = CMAMV(space, population_size=search.population, seed=search.evaluations)
        return Proposals(optimiser, space, budget=search.evaluations)


def test_a_method_whose_proposals_depend_on_the_budget_is_refused(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    directory, method = RunDirectory.of(config), Annealed(Annealed.Options())
    directory.write_config(config, {}, RULES)
    run(
        SearchState(config, directory, method, list(UNITS), {"run": directory.uri}, CARD),
        tmp_path / "run",
    )
    before, record = row_files(tmp_path / "run"), directory.config_text()
    grown = config_of(tmp_path, "search.evaluations=24")
    with pytest.raises(UserError, match=r"evaluations cannot grow in .*: proposals of annealed"):
        SearchState(grown, directory, method, list(UNITS), {"run": directory.uri}, CARD)
    assert (row_files(tmp_path / "run"), directory.config_text()) == (before, record)


def test_looks_are_counted_from_an_outcome_that_did_not_count_them(tmp_path: Path) -> None:
    state = finish(tmp_path, config_of(tmp_path))
    path = tmp_path / "run" / "result.json"
    values = json.loads(path.read_text())
    del values["test_looks"], values["stopped_by"]
    path.write_text(json.dumps(values))
    found = read_outcome(state.run.storage)
    assert found is not None
    assert (found.test_looks, found.stopped_by) == (1, "budget")


def test_looks_of_an_earlier_version_are_not_forgotten(tmp_path: Path) -> None:
    state = finish(tmp_path, config_of(tmp_path))
    forms = len(state.forms.members)
    whole = state.run.outcome()
    assert whole is not None
    assert whole.test_looks == forms
    state.run.write_outcome(replace(whole, forms={}, test_looks=3))
    for _ in range(2):
        assert write_result(state).test_looks == 3 + forms
