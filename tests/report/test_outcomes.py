"""Reading a study: finished, unfinished, damaged and foreign folders; who is who."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from revo_ray.errors import UserError
from revo_ray.objective import Scores
from revo_ray.report.outcomes import SearchOutcome, load_outcomes
from revo_ray.report.scores import ACCURACY, AUC
from revo_ray.rundir import RunDirectory, open_directory
from tests.report.studies import TEST, place, write_search


def load(study: Path) -> dict[str, SearchOutcome]:
    return {outcome.name: outcome for outcome in outcomes_of(study)}


def outcomes_of(study: Path) -> list[SearchOutcome]:
    return load_outcomes(open_directory(str(study)))


def test_a_finished_search_is_read_from_its_result(tmp_path: Path) -> None:
    settings = ["method.name=revo-binary", *place("busi", 0.2, 3)]
    write_search(tmp_path, "one", settings, losses=(0.9, None, 0.6, 0.7))
    (outcome,) = outcomes_of(tmp_path)
    result = outcome.result
    assert (outcome.name, outcome.done) == ("one", True)
    assert outcome.identity == ("revo-binary", "timm/tf_efficientnet_lite0", "busi", 0.2, "3")
    assert (result.evaluations, result.epochs, result.images) == (4, 6, 60)
    assert result.device_seconds == 4.5
    assert result.statuses == {"diverged": 1, "ok": 3}
    assert outcome.validation == Scores(0.6, 0.85, 0.95)
    assert outcome.test == Scores(**TEST)
    assert [outcome.score(AUC), outcome.score(ACCURACY)] == [0.9, 0.8]
    assert outcome.spent_exactly


def test_an_unfinished_search_is_read_from_its_ledger(tmp_path: Path) -> None:
    write_search(tmp_path, "part", ["search.seed=1"], losses=(0.9, 0.4, None), done=False)
    write_search(tmp_path, "new", losses=(), done=False)
    found = load(tmp_path)
    part = found["part"]
    assert (part.done, part.test, part.progress, part.result.epochs) == (False, None, "3/4", 4)
    assert part.validation == Scores(0.4, 0.85, 0.95)
    assert part.score(AUC) is None
    assert (found["new"].progress, found["new"].validation) == ("0/4", None)


@pytest.mark.parametrize("why", ["its time was over", "it grew"])
def test_a_result_of_a_part_of_the_budget_has_a_test_and_no_score(tmp_path: Path, why: str) -> None:
    write_search(tmp_path, "part", losses=(0.9, 0.4))
    run = RunDirectory(str(tmp_path / "part"))
    if why == "it grew":
        run.record_growth(9)
    else:
        result = run.outcome()
        assert result is not None
        run.write_outcome(replace(result, stopped_by="time"))
    (part,) = outcomes_of(tmp_path)
    assert (part.done, part.progress) == (False, "2/9" if why == "it grew" else "2/4")
    assert (part.test, part.score(AUC)) == (Scores(**TEST), None)


def test_a_ledger_may_be_its_table_alone(tmp_path: Path) -> None:
    for name, seed in (("whole", 0), ("table", 1)):
        write_search(tmp_path, name, [f"search.seed={seed}"], losses=(0.9, None, 0.6))
    (tmp_path / "whole" / "result.json").unlink()
    (tmp_path / "table" / "result.json").unlink()
    for row in (tmp_path / "table" / "ledger").iterdir():
        row.unlink()
    whole, table = outcomes_of(tmp_path)
    assert not table.done
    assert table.validation == whole.validation == Scores(0.6, 0.85, 0.95)
    assert (table.result.evaluations, table.result.statuses) == (3, {"diverged": 1, "ok": 2})


def test_a_result_that_does_not_fit_its_ledger_is_no_result(tmp_path: Path) -> None:
    ledger = write_search(tmp_path, "again")
    ledger.remove([2, 3])  # to have them made again
    (outcome,) = outcomes_of(tmp_path)
    assert (outcome.done, outcome.progress, outcome.test) == (False, "2/4", None)


def test_a_search_in_which_nothing_succeeded_is_done_without_scores(tmp_path: Path) -> None:
    write_search(tmp_path, "lost", losses=(None,) * 4)
    (outcome,) = outcomes_of(tmp_path)
    assert (outcome.done, outcome.validation, outcome.test) == (True, None, None)
    assert outcome.score(AUC) is None


def test_a_metric_may_be_undefined(tmp_path: Path) -> None:
    write_search(tmp_path, "one", test=TEST | {"auc": float("nan")})
    (outcome,) = outcomes_of(tmp_path)
    assert [outcome.score(AUC), outcome.score(ACCURACY)] == [None, 0.8]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.yaml", ""),
        ("config.yaml", "{"),
        ("config.yaml", "- 1"),
        ("config.yaml", "model: {name: 3, colour: red}"),
        ("config.yaml", None),
        ("result.json", ""),
        ("result.json", "{}"),
        ("result.json", '"done"'),
        ("ledger/000001.json", "{}"),
    ],
)
def test_a_damaged_search_is_named(tmp_path: Path, file: str, text: str | None) -> None:
    write_search(tmp_path, "good", ["search.seed=1"])
    write_search(tmp_path, "bad", done=not file.startswith("ledger"))
    if text is None:
        (tmp_path / "bad" / file).unlink()
    else:
        (tmp_path / "bad" / file).write_text(text)
    with pytest.raises(UserError, match=f"bad/{file}") as caught:
        outcomes_of(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    write_search(tmp_path, "bad", losses=(), done=False)
    (tmp_path / "bad" / "ledger.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"bad/ledger\.parquet"):
        outcomes_of(tmp_path)


def test_what_is_no_search_is_passed_over(tmp_path: Path) -> None:
    write_search(tmp_path, "one")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "config.yaml").write_text("not a search")
    (tmp_path / ".tables").mkdir()
    (tmp_path / ".tables" / "result.json").write_text("not a search")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("")
    (tmp_path / "study.yaml").write_text("study: {}")
    assert list(load(tmp_path)) == ["one"]


def test_a_folder_without_searches_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    with pytest.raises(UserError, match="holds no search"):
        outcomes_of(tmp_path)
    with pytest.raises(UserError, match="holds no search"):
        outcomes_of(tmp_path / "nowhere")


def test_one_search_is_a_study_of_its_own(tmp_path: Path) -> None:
    write_search(tmp_path, "alone")
    assert list(load(tmp_path / "alone")) == ["alone"]


def labels(study: Path) -> dict[str, str]:
    return {o.name: o.identity.method for o in outcomes_of(study)}


def test_variants_of_a_method_are_told_apart_by_the_options_that_differ(tmp_path: Path) -> None:
    random = ["method.name=random", "method.scale=linear"]
    write_search(tmp_path, "a", [*random, "method.encoding=binary"])
    write_search(tmp_path, "b", [*random, "method.encoding=continuous"])
    write_search(tmp_path, "c", [*random, "method.encoding=binary", "search.seed=1"])
    write_search(tmp_path, "d", ["method.name=full", "method.encoding=binary"])
    write_search(tmp_path, "e", ["method.name=last"])
    write_search(tmp_path, "f", ["method.name=last", "search.budget=epochs", "search.seed=1"])
    assert labels(tmp_path) == {
        "a": "random (encoding binary)",
        "b": "random (encoding continuous)",
        "c": "random (encoding binary)",
        "d": "full",
        "e": "last (budget evaluations)",
        "f": "last (budget epochs)",
    }


def test_models_and_data_sets_are_told_apart_too(tmp_path: Path) -> None:
    write_search(tmp_path, "a", ["data.source=folder", "data.root=/images/cats/"])
    write_search(tmp_path, "b", ["data.source=folder", "data.root=/images/dogs"])
    write_search(tmp_path, "c", ["data.source=busi", "model.granularity=block"])
    outcomes = {o.name: o.identity for o in outcomes_of(tmp_path)}
    assert outcomes["a"].data == "folder (root cats)"
    assert outcomes["b"].data == "folder (root dogs)"
    assert outcomes["c"].data == "busi"
    assert outcomes["c"].model.endswith("(granularity block)")
    assert outcomes["a"].model.endswith("(granularity layer)")


def test_other_settings_tell_apart_only_what_would_be_the_same(tmp_path: Path) -> None:
    write_search(tmp_path, "a", ["data.source=busi", "train.batch_size=8"])
    write_search(tmp_path, "b", ["data.source=leaves", "train.batch_size=16"])
    assert set(labels(tmp_path).values()) == {"revo-continuous"}
    write_search(tmp_path, "c", ["data.source=leaves", "train.batch_size=32"])
    assert labels(tmp_path)["c"] == "revo-continuous (batch_size 32)"


def test_the_same_search_twice_is_an_error(tmp_path: Path) -> None:
    write_search(tmp_path, "a")
    write_search(tmp_path, "b")
    with pytest.raises(UserError, match=r"a and b .* are the same search"):
        outcomes_of(tmp_path)


def test_the_seed_is_what_varies(tmp_path: Path) -> None:
    for seed in (0, 2, 10):
        write_search(tmp_path, f"s{seed}", [f"data.seed={seed}", f"search.seed={seed}"])
    write_search(tmp_path, "mixed", ["data.seed=2", "search.seed=10"])
    found = outcomes_of(tmp_path)
    assert [outcome.identity.seed for outcome in found] == ["0", "2", "2/10", "10"]


def test_a_budget_of_epochs_is_counted_in_epochs(tmp_path: Path) -> None:
    settings = ["search.budget=epochs"]
    write_search(tmp_path, "spent", settings, losses=(0.5,) * 8, epochs=1)
    write_search(tmp_path, "over", [*settings, "search.seed=1"], losses=(0.5,) * 5)
    found = load(tmp_path)
    assert (found["spent"].progress, found["spent"].spent_exactly) == ("8/8 epochs", True)
    assert (found["over"].progress, found["over"].spent_exactly) == ("10/8 epochs", False)


def test_an_unreadable_number_in_a_result_is_named(tmp_path: Path) -> None:
    write_search(tmp_path, "bad")
    path = tmp_path / "bad" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"epochs": "many"}))
    with pytest.raises(UserError, match=r"bad/result\.json is damaged"):
        outcomes_of(tmp_path)
