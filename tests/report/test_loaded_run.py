"""The rows that say how good an uninformed proposal is, and the row of the best model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from revo_ray.monitor.status import SearchStatus
from revo_ray.report.loaded_run import load_run
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.prepare import resolve
from revo_ray.settings.schema import SearchConfig
from tests.search.core.by_hand import open_state, run


def searched(folder: Path, options: list[str], turned: bool, workers: int, stop: int) -> Any:
    """Rows that a report calls uninformed, and all samples, of losses of one sign or the other."""

    def open_search() -> Any:
        state = open_state(folder, *options)
        record = state.record

        def turn(proposal: Any, measured: dict[str, Any], trial: str) -> None:
            if turned:
                measured["row"]["val_loss"] = 9.0 - measured["row"]["val_loss"]
            record(proposal, measured, trial)

        state.record = turn
        return state

    config, _ = resolve(SearchConfig.load(None, options))
    RunDirectory(str(folder)).write_config(config, {}, {})
    run(open_search(), folder, workers, stop_after=stop)
    loaded = load_run(RunDirectory(str(folder)))
    samples = {row.evaluation: row.sample for row in loaded.rows}
    return [row.evaluation for row in loaded.uninformed], samples


@pytest.mark.sample(9)
@pytest.mark.parametrize("lookahead", [0, 3, 4, 10])
@pytest.mark.parametrize(("workers", "stop"), [(1, 99), (3, 13), (4, 5)])
@pytest.mark.parametrize("method", ["", "method.sweep=false", "method.scale=linear"])
def test_uninformed_proposals_are_those_that_no_loss_can_change(
    tmp_path: Path, lookahead: int, workers: int, stop: int, method: str
) -> None:
    options = ["search.evaluations=20", "search.population=4", f"search.lookahead={lookahead}"]
    options += [method] if method else []
    _, ours = searched(tmp_path / "ours", options, False, 1, 99)
    _, turned = searched(tmp_path / "turned", options, True, 1, 99)
    same = {number for number in ours if ours[number] == turned[number]}
    found, samples = searched(tmp_path / "found", options, False, workers, stop)
    assert found == sorted(same & samples.keys())


def test_every_reader_names_the_row_with_the_weights(tmp_path: Path) -> None:
    """An error that is made again may be answered by a later row, which has the weights."""
    directory, config = RunDirectory(str(tmp_path)), SearchConfig.load()
    directory.write_config(config, {}, {})
    ledger, status = directory.ledger(), SearchStatus(config)
    for number, state, source in ((5, "ok", None), (7, "ok", None), (3, "cached", 5)):
        values = {"evaluation": number, "status": state, "source": source, "val_loss": 0.5}
        ledger.append(Evaluation.model_validate({"sample": {}} | values))
        status.add(ledger[number])
    loaded = load_run(directory)
    assert loaded.best == status.best == ledger.best == directory.ledger().best == ledger[5]
    assert loaded.outcome.result.best["evaluation"] == 5
