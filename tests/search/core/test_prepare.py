"""A resumed search runs on what it was started with: every key, file and rule, or it is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import timm
import torch
import yaml
from pydantic import BaseModel, ValidationError

from revo_ray.data.table.image_table import prepare_table
from revo_ray.errors import UserError
from revo_ray.methods import load_methods
from revo_ray.objective import LOSS
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.outcome import SearchResult
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.prepare import RULES, Preparation, resolve
from revo_ray.settings.schema import SearchConfig

MAY_CHANGE = {
    *("name", "storage"),  # the run directory was moved
    "model.sha256",  # the checksum of the weights is compared as it was recorded
    *("plugins", "data.root"),  # where code and images lie: the method and the table are compared
    *("trackers", "train.time_limit", "train.cache_mb", "search.stop_after"),
    *("resources.max_concurrent", "resources.gpus_per_trial"),
}
"""Keys that change no number of a search. Every other key of the schema is refused by name."""

METHODS = load_methods()
CHECKSUMS: dict[str, str | None] = {"weights": "a", "table": "b"}


class ReadImagesError(Exception):
    """The search went on to its images: nothing in its configuration was refused."""


def keys_of(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of the schema, dotted, with the type of its values."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys_of(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field.annotation


KEYS: dict[str, tuple[str, Any]] = {
    f"method.{key}": (method.name, field.annotation)
    for method in METHODS.values()
    for key, field in method.Options.model_fields.items()
} | {key: ("revo-continuous", kind) for key, kind in keys_of(SearchConfig)}
"""Every key, those of all methods too: a method that has it, and the type of its values."""


def choices_of(kind: Any) -> Iterator[Any]:
    """Values that a type names: the members of a Literal, also inside a union."""
    for part in get_args(kind):
        yield from choices_of(part) if get_args(part) else [part]


def config_of(folder: Path, method: str, changes: dict[str, Any]) -> SearchConfig:
    values: dict[str, Any] = {"name": "run", "storage": str(folder), "method": {"name": method}}
    values["search"] = {"evaluations": 1}
    for key, value in changes.items():
        section, _, last = key.rpartition(".")
        (values.setdefault(section, {}) if section else values)[last] = value
    return resolve(SearchConfig.model_validate(values))[0]


def changed(folder: Path, key: str) -> SearchConfig:
    """The configuration with any other value of a key."""
    method, kind = KEYS[key]
    before = config_of(folder, method, {})
    numbers = [True, False, 3, 11, 0.15, 0.35, -3]
    others: list[object] = [
        "other",
        "revo-binary",
        "0" * 64,
        str(folder / "other"),
        [],
        [0, 0.25],
        [1e-5, 1e-2],
    ]
    others += [["other"], {"image": "other"}]
    for value in [*choices_of(kind), *numbers, *others]:
        if (key, value) == ("data.train_fraction", "rest"):
            continue  # the default may stand for it
        try:
            after = config_of(folder, method, {key: value})
        except (ValidationError, UserError):
            continue
        if after.model_dump() != before.model_dump():
            return after
    pytest.fail(f"give another value that {key} takes")


def start(config: SearchConfig, run: RunDirectory, rules: dict[str, int] = RULES) -> None:
    """Leave a search with one row in a run directory, and its outcome."""
    run.write_config(config, CHECKSUMS, rules)
    run.storage.write("ledger/000000.json", b"")
    nothing = SearchResult.of_rows(config.name, run.uri, [], LOSS)
    run.write_outcome(replace(nothing, evaluations=1, stopped_by="budget"))


def read_images(*_: Any) -> Any:
    raise ReadImagesError


@pytest.fixture
def preparation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Preparation]:
    monkeypatch.chdir(tmp_path)  # a storage may be a relative path
    with ExitStack() as stack:
        yield Preparation(
            str(tmp_path),
            True,
            stack,
            prepare_table=read_images,
            early_stopping=lambda method, config: None,
        )


@pytest.mark.parametrize("way", ["from its default", "to its default"])
@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_changed_is_refused_by_name_unless_it_changes_no_number(
    key: str, way: str, tmp_path: Path, preparation: Preparation
) -> None:
    default, other = config_of(tmp_path, KEYS[key][0], {}), changed(tmp_path, key)
    before, after = (default, other) if way == "from its default" else (other, default)
    start(before, RunDirectory.of(after))
    if key == "search.evaluations" and way == "from its default":  # it grew
        with pytest.raises(ReadImagesError):
            preparation.check(after)
        assert preparation.finished(after) is None
        return
    if key in MAY_CHANGE:
        with pytest.raises(ReadImagesError):
            preparation.check(after)
        assert preparation.finished(after) is not None
        return
    with pytest.raises(UserError, match="was started with other settings") as error:
        preparation.check(after)
    assert re.search(rf"{key}(\.\w+)? \(", str(error.value))
    with pytest.raises(UserError) as error:
        preparation.finished(after)
    assert re.search(rf"{key}(\.\w+)? \(", str(error.value))


@pytest.mark.parametrize("fraction", [0.05, "rest"])
@pytest.mark.parametrize("now", ["auto", 0.05, "rest", 0.1])
def test_the_default_training_fraction_is_the_one_that_was_recorded(
    fraction: float | str, now: float | str, tmp_path: Path, preparation: Preparation
) -> None:
    """Searches that were started when 0.05 was the default record it."""
    before = config_of(tmp_path, "revo-continuous", {"data.train_fraction": fraction})
    after = config_of(tmp_path, "revo-continuous", {"data.train_fraction": now})
    start(before, RunDirectory.of(before))
    if now in ("auto", fraction):
        with pytest.raises(ReadImagesError):
            preparation.check(after)
        assert preparation.finished(after) is not None
        return
    for refuse in (preparation.check, preparation.finished):
        with pytest.raises(UserError, match=r"data\.train_fraction"):
            refuse(after)


@pytest.mark.parametrize(
    ("given", "keys", "expected"),
    [
        (["train", "test"], {}, "rest"),
        (["train", None], {}, 0.05),
        (None, {}, 0.05),
        (["train", "test"], {"data.splits": "drawn"}, 0.05),
        (["train", "test"], {"data.train_fraction": 0.3}, 0.3),
    ],
)
def test_a_search_records_the_training_fraction_that_it_uses(
    given: list[str | None] | None,
    keys: dict[str, Any],
    expected: float | str,
    tmp_path: Path,
    preparation: Preparation,
) -> None:
    marks = None if given is None else tuple(given[i % 5 == 0] for i in range(100))
    table = SimpleNamespace(
        labels=[i % 2 for i in range(100)], groups=None, classes=("a", "b"), given=marks
    )
    preparation.prepare_table = lambda config, folder: table  # type: ignore[assignment,return-value]
    config = config_of(tmp_path, "revo-continuous", keys)
    assert preparation.check_unlocked(config)[0].data.train_fraction == expected


@pytest.mark.parametrize("method", METHODS)
def test_a_search_that_did_not_change_goes_on(
    method: str, tmp_path: Path, preparation: Preparation
) -> None:
    config = config_of(tmp_path, method, {})
    start(config, RunDirectory.of(config))
    with pytest.raises(ReadImagesError):
        preparation.check(config)
    assert preparation.finished(config) is not None


@pytest.mark.parametrize(
    ("recorded", "named"), [({"gone": 3}, "method.gone (3, now None)"), ({}, "method.scale (None")]
)
def test_an_option_that_another_version_lacks_is_refused_by_name(
    recorded: dict[str, int], named: str, tmp_path: Path, preparation: Preparation
) -> None:
    config = config_of(tmp_path, "revo-continuous", {})
    run = RunDirectory.of(config)
    start(config, run)
    values = yaml.safe_load(run.config_text())
    values["method"].update(recorded)
    if not recorded:
        del values["method"]["scale"]
    run.storage.write(run.CONFIG, yaml.safe_dump(values).encode())
    for resume in (preparation.check, preparation.finished):
        with pytest.raises(UserError, match="other settings: " + re.escape(named)):
            resume(config)


@pytest.mark.parametrize("rule", RULES)
def test_a_search_of_other_rules_is_refused_before_its_images_are_read(
    rule: str, tmp_path: Path, preparation: Preparation
) -> None:
    config = config_of(tmp_path, "full", {})
    start(config, RunDirectory.of(config), RULES | {rule: 77})
    for resume in (preparation.check, preparation.finished):
        with pytest.raises(UserError, match=f"version 77 of the rules of {rule}"):
            resume(config)


@pytest.mark.parametrize("left", ["ledger/000000.json", "ledger.parquet", "result.json"])
def test_a_search_is_not_begun_over_another_whose_ledger_may_have_been_put_away(
    left: str, tmp_path: Path, preparation: Preparation
) -> None:
    config = config_of(tmp_path, "full", {})
    run = RunDirectory.of(config)
    run.write_config(config, CHECKSUMS, RULES)
    if left == "result.json":
        nothing = SearchResult.of_rows("run", run.uri, [], LOSS)
        run.write_outcome(replace(nothing, evaluations=1, stopped_by="budget"))
    else:
        run.storage.write(left, b"")
    with pytest.raises(UserError, match=r"other settings: train\.seed"):
        preparation.check_unlocked(config_of(tmp_path, "full", {"train.seed": 7}))
    preparation.resume = False
    with pytest.raises(UserError, match=r"run already holds a search; go on with --resume"):
        preparation.check_unlocked(config)


def test_a_result_without_its_ledger_is_not_trained_again_unasked(
    tmp_path: Path, preparation: Preparation
) -> None:
    config = config_of(tmp_path, "full", {})
    run = RunDirectory.of(config)
    run.write_config(config, CHECKSUMS, RULES)
    best = Evaluation(evaluation=0, sample={}, status="ok", val_loss=0.5)
    run.write_outcome(SearchResult.of_rows("run", run.uri, [best], LOSS))
    with pytest.raises(UserError, match="put ledger/ back, or delete result"):
        preparation.check_unlocked(config)
    run.storage.delete("result.json")
    with pytest.raises(ReadImagesError):
        preparation.check_unlocked(config)


def test_a_search_without_a_row_is_begun_anew_with_other_images(tmp_path: Path) -> None:
    settings = {"model.name": "timm/test_resnet", "model.weights": "none"}
    settings |= {"data.max_images": 200, "data.image_size": 32}
    for seed in (0, 1):
        config = config_of(tmp_path, "full", settings | {"data.seed": seed})
        with ExitStack() as stack:
            preparation = Preparation(
                str(tmp_path),
                False,
                stack,
                prepare_table=prepare_table,
                early_stopping=lambda method, config: None,
            )
            state = preparation.state(config)
            table, rows = preparation.table(config), preparation.splits(config).test
        images = state.run.predictions.images("test")
        assert images is not None
        assert images.names == tuple(table.names[row] for row in rows)


@pytest.mark.parametrize("file", CHECKSUMS)
def test_a_file_that_changed_is_refused_by_name(
    file: str, tmp_path: Path, preparation: Preparation, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tmp_path, "full", {})
    monkeypatch.setattr(preparation, "splits", lambda config: None)
    for part, checksum in (("table", "table"), ("network", "weights")):
        found = SimpleNamespace(sha256="another" if checksum == file else CHECKSUMS[checksum])
        monkeypatch.setattr(preparation, part, lambda config, found=found: found)
    start(config, RunDirectory.of(config))
    with pytest.raises(UserError, match=f"the {file} of the search in .* changed since"):
        preparation.state(config)


def test_a_line_tells_once_what_of_a_weight_file_is_left_out(
    tmp_path: Path, preparation: Preparation
) -> None:
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "w.pth")
    model = {"model.name": "timm/test_resnet", "model.weights": str(tmp_path / "w.pth")}
    config = config_of(tmp_path, "full", model | {"data.max_images": 200, "data.image_size": 32})
    said: list[str] = []
    preparation.say, preparation.prepare_table = said.append, prepare_table
    for _ in range(2):
        preparation.network(config)
    (line,) = said
    assert line.startswith("model.weights: left out its classifier")
