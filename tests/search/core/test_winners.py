"""A warm start: winners are read once, recorded, and every mistake is one clear line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from revo_ray.cli.search_result import show_result
from revo_ray.data.table.image_table import prepare_table
from revo_ray.errors import UserError
from revo_ray.objective import METRICS
from revo_ray.report.loaded_run import load_run
from revo_ray.report.text_sections import budget_section
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.rundir.warm_start import FILE
from revo_ray.search.core.paths import require_absolute
from revo_ray.search.core.prepare import RULES, Preparation, resolve
from revo_ray.search.core.summary import write_result
from revo_ray.search.core.winners import find_warm_start
from revo_ray.settings.schema import SearchConfig
from tests.search.core.by_hand import UNITS, rows, run

NETWORK = (
    *("model.name=timm/test_byobnet", "model.weights=none", "data.image_size=16"),
    *("data.max_images=200", "search.evaluations=9", "search.population=4"),
)


def earlier(
    folder: Path, count: int, units: int = 3, objective: str = "loss", **columns: Any
) -> Path:
    """A search that ended: evaluation i has loss 1 + i and accuracy i / count."""
    config, _ = resolve(SearchConfig.load(None, [f"search.objective={objective}"]))
    run = RunDirectory(str(folder))
    run.write_config(config, {"weights": None, "table": "a"}, RULES)
    ledger, rng = run.ledger(), np.random.default_rng(0)
    for i in range(count):
        rates = [float(rate) for rate in 10 ** rng.uniform(-4, -2, units)]
        scores = {"val_loss": 1.0 + i, METRICS["accuracy"].column: i / count}
        row = {"status": "ok", "unit_lrs": rates} | scores | columns
        ledger.append(Evaluation(evaluation=i, sample={}, **row))
    return folder


def config_of(
    folder: Path, *directories: Path | str, name: str = "new", settings: tuple[str, ...] = ()
) -> SearchConfig:
    start = f"search.warm_start={json.dumps(list(map(str, directories)))}"
    own = (f"storage={folder}", f"name={name}", start)
    return SearchConfig.load(None, [*own, *NETWORK, *settings])


@pytest.fixture
def preparation(tmp_path: Path) -> Iterator[Preparation]:
    """Prepares all searches of a test; they share images and network."""
    with ExitStack() as stack:
        yield Preparation(
            str(tmp_path),
            True,
            stack,
            prepare_table=prepare_table,
            early_stopping=lambda method, config: None,
        )


def made(
    preparation: Preparation, config: SearchConfig, stop_after: int = 99
) -> list[dict[str, Any]]:
    """The rows of a search that goes on where it stands, for so many evaluations."""
    folder = Path(config.storage) / config.name
    run(preparation.state(config), folder, stop_after=stop_after)
    return rows(folder)


def test_a_resumed_search_needs_the_earlier_ones_no_more(
    tmp_path: Path, preparation: Preparation, capsys: pytest.CaptureFixture[str]
) -> None:
    source = earlier(tmp_path / "source", 12, units=9)
    whole = made(preparation, config_of(tmp_path, source, name="whole"))
    config = config_of(tmp_path, source, name="broken")
    assert len(made(preparation, config, stop_after=5)) == 5
    shutil.rmtree(source)
    assert made(preparation, config) == whole
    cold = made(preparation, config_of(tmp_path, name="cold"), stop_after=1)
    assert cold[0]["sample"] != whole[0]["sample"]
    assert len(set(whole[0]["unit_lrs"])) > 1  # no sweep
    record = tmp_path / "broken" / FILE
    write_result(preparation.state(config))
    outcome = RunDirectory.of(config).outcome()
    assert outcome is not None
    show_result(outcome, None, None)
    page = budget_section(load_run(RunDirectory.of(config))).text
    for text in (page, capsys.readouterr().out, (tmp_path / "broken" / "config.yaml").read_text()):
        assert str(source) in text.replace("\\", "")  # Markdown escapes
    for text in ("{}", '{"sources": []}', record.read_text().replace("0.00", "-0.00"), None):
        record.unlink() if text is None else record.write_text(text)
        with pytest.raises(UserError, match=f"{FILE} is missing or damaged"):
            preparation.state(config)


def test_a_search_that_was_killed_before_its_first_row_needs_them_no_more(
    tmp_path: Path, preparation: Preparation
) -> None:
    source = earlier(tmp_path / "source", 12, units=9)
    whole = made(preparation, config_of(tmp_path, source, name="whole"))
    config = config_of(tmp_path, source, name="killed")
    assert made(preparation, config, stop_after=0) == []
    shutil.rmtree(source)
    assert made(preparation, config) == whole


def test_winners_are_the_best_by_the_earlier_searchs_own_objective(tmp_path: Path) -> None:
    by_loss = earlier(tmp_path / "loss", 150)
    by_accuracy = earlier(tmp_path / "accuracy", 30, objective="accuracy")
    few = earlier(tmp_path / "few", 3)
    config = config_of(tmp_path, by_loss, by_accuracy, few)
    found = find_warm_start(config, RunDirectory.of(config), UNITS)
    assert found is not None
    numbers = [source.evaluations for source in found.sources]
    assert numbers == [[*range(15)], [*range(29, 19, -1)], [0, 1, 2]]
    ledger = RunDirectory(str(by_loss)).ledger()
    assert found.sources[0].unit_lrs == [ledger[i].unit_lrs for i in range(15)]
    assert len(found.unit_lrs) == 28


def test_every_mistake_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    mistakes = {
        str(tmp_path / "nowhere"): "holds no search; name the run directory",
        str(tmp_path / "empty"): "holds no search; name the run directory",
        str(earlier(tmp_path / "none", 0)): "no evaluation of .* has succeeded",
        str(earlier(tmp_path / "bad", 4, status="diverged")): "no evaluation of .* has succeeded",
        str(earlier(tmp_path / "frozen", 4, unit_lrs=[0.0] * 3)): "no evaluation of",
        "no-scheme://there": "cannot open",
    }
    for directory, says in mistakes.items():
        config = config_of(tmp_path, directory)
        with pytest.raises(UserError, match=rf"^search.warm_start: .*{says}"):
            find_warm_start(config, RunDirectory.of(config), UNITS)
    with pytest.raises(UserError, match=r"search.warm_start: holds credentials"):
        config_of(tmp_path, "s3://key:password@bucket/run")
    with pytest.raises(UserError, match=r"search.warm_start: 'there' is relative"):
        require_absolute(config_of(tmp_path, "there"))


@pytest.mark.parametrize(
    "method",
    [
        *("name=full", "name=set-encoding", "name=random", "name=layer-decay"),
        *("scale=linear", "name=revo-binary global_lr=0.1"),
    ],
)
def test_a_method_without_rates_on_a_log_scale_is_refused(method: str, tmp_path: Path) -> None:
    settings = tuple(f"method.{each}" for each in method.split())
    config = config_of(tmp_path, tmp_path, settings=settings)
    with pytest.raises(UserError, match=r"^search.warm_start: .* cannot begin at the rates"):
        resolve(config)
