"""Keys that a search of images leaves open: what is chosen for them, and what stays the user's."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from operator import attrgetter
from pathlib import Path

import pytest

from revo_ray.data.table.image_table import prepare_table
from revo_ray.errors import UserError
from revo_ray.finetune.training.exhausted import StepMemoryError
from revo_ray.run.open_choice import with_choice
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.own_images import Choice, Measured, choose, recorded_choice
from revo_ray.search.core.prepare import Preparation
from revo_ray.search.core.time_budget import Plan, Work, largest, limits
from revo_ray.search.ray.halving import make_halving
from revo_ray.settings.duration import read_time
from revo_ray.settings.open_keys import OPEN
from revo_ray.settings.schema import SearchConfig, TrainConfig
from tests.end_to_end.photos import write_photos

MINUTE = timedelta(minutes=1)
SET = {
    "model.name": "timm/resnet18",
    "model.weights": "none",
    "data.image_size": 48,
    "train.batch_size": 5,
    "train.epochs": 2,
    "train.augment": "none",
    "train.class_weights": "balanced",
    "search.evaluations": 6,
}
"""Values that no choice gives."""


class Workers:
    """Workers of a known speed; a step takes so long for each image of 64 px."""

    def __init__(self, seconds: float = 0.01, count: int = 2, *, gpu: bool = False) -> None:
        self.seconds, self.count, self.gpu = seconds, count, gpu
        self.asked: list[tuple[str, int, list[int], int]] = []

    def time_steps(
        self, model: str, classes: int, sizes: Sequence[int], train: TrainConfig, at_once: int
    ) -> Measured:
        self.asked.append((model, classes, list(sizes), at_once))
        return Measured({size: self.seconds * (size / 64) ** 2 for size in sizes}, 5.0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    return write_photos(folder / "p", {"temple": 30, "flower": 30}, (320, 240))


def chosen(source: Path, workers: Workers, *sets: str, limit: timedelta = MINUTE) -> Choice:
    config = SearchConfig.load(str(source), sets)
    return choose(config, lambda: workers, limit, time.monotonic())


@pytest.mark.sample(3)
@pytest.mark.parametrize("key", OPEN)
def test_a_key_that_the_user_sets_is_never_chosen(photos: Path, key: str) -> None:
    choice = chosen(photos, Workers(), f"{key}={SET[key]}")
    assert attrgetter(key)(choice.config) == SET[key]
    assert not choice.config.open_keys
    others = (each for each in OPEN if each != key)
    assert all(attrgetter(each)(choice.config) != SET[each] for each in others)


def test_with_all_keys_set_nothing_is_open(photos: Path) -> None:
    sets = [f"{key}={value}" for key, value in SET.items()]
    assert SearchConfig.load(str(photos), sets).open_keys == frozenset()
    assert SearchConfig.load(str(photos)).open_keys == {*OPEN}
    assert SearchConfig.load("preset:own-images", [f"data.root={photos}"]).open_keys == {*OPEN}
    assert SearchConfig.load(None).open_keys == frozenset()


def test_the_plan_is_that_of_the_rules(photos: Path) -> None:
    workers = Workers()
    choice = chosen(photos, workers)
    assert workers.asked == [("timm/tf_efficientnet_lite0", 2, [64, 224], 2)]
    config = choice.config
    work = Work(36, 12, 12, {64: 0.01, 224: 0.01 * 3.5**2}, 2, 10, seconds=5.0)
    plan = Plan(config.data.image_size, config.train.epochs, config.search.evaluations)
    assert plan == largest(limits(36, 8, 224, 240), work, 59)
    assert choice.seconds == pytest.approx(work.seconds_of(plan), abs=5)
    assert (config.train.batch_size, config.train.augment) == (8, "flip")


def test_gpus_take_the_networks_own_size(photos: Path) -> None:
    workers = Workers(gpu=True)
    assert chosen(photos, workers).config.data.image_size == 224
    assert workers.asked[0][2] == [224]


def test_a_network_that_takes_one_size_only_gets_it(photos: Path) -> None:
    class Whole(Workers):
        def time_steps(
            self, model: str, classes: int, sizes: Sequence[int], train: TrainConfig, at_once: int
        ) -> Measured:
            found = super().time_steps(model, classes, sizes, train, at_once)
            return Measured({max(sizes): found.steps[max(sizes)]}, found.start)

    assert chosen(photos, Whole()).config.data.image_size == 224


@pytest.mark.parametrize(("counts", "weights"), [((30, 12), "balanced"), ((14, 12), "none")])
def test_classes_are_weighed_where_they_are_imbalanced(
    tmp_path: Path, counts: tuple[int, int], weights: str
) -> None:
    temples, flowers = counts
    photos = {"temple": temples, "flower": flowers}
    folder = write_photos(tmp_path / "p", photos, (64, 48))
    choice = chosen(folder, Workers())
    assert choice.config.train.class_weights == weights
    assert choice.config.data.image_size <= 64  # the pictures have 48 px


def test_warmup_ends_before_the_epochs(photos: Path) -> None:
    assert chosen(photos, Workers(10.0)).config.train.epochs == 3
    slow = chosen(photos, Workers(10.0), "train.warmup_epochs=5.5")
    assert slow.config.train.epochs == 6


def test_a_short_time_says_that_it_is_not_enough(photos: Path) -> None:
    config = SearchConfig.load(str(photos))
    choice = choose(config, lambda: Workers(10.0), MINUTE, time.monotonic() - 55)
    assert choice.seconds is not None
    assert choice.seconds > 60
    assert re.search("took 5[5-9]s of --time 1m: .* no smaller plan", choice.lines[-1])


def test_the_time_at_which_layers_vary_is_enough(photos: Path) -> None:
    few = chosen(photos, Workers(0.2))
    assert few.config.search.evaluations == 10
    (line,) = (line for line in few.lines if "too few evaluations" in line)
    found = re.search(r"takes 20 or more, about .* \(--time (\w+)\)", line)
    assert found
    more = chosen(photos, Workers(0.2), limit=read_time(found[1]))
    assert more.config.search.evaluations >= 20
    assert not any("too few" in line for line in more.lines)
    by_count = chosen(photos, Workers(0.2), "search.evaluations=10")
    assert any("(--evaluations 20)" in line for line in by_count.lines)


@pytest.mark.sample(4)
@pytest.mark.parametrize("speed", [1e-4, 0.01, 0.1, 10.0])
@pytest.mark.parametrize("limit", [MINUTE, 10 * MINUTE, timedelta.max])
def test_more_time_buys_what_is_said(photos: Path, speed: float, limit: timedelta) -> None:
    choice = chosen(photos, Workers(speed), limit=limit)
    said = re.search("--time (\\w+) would buy (.*)", choice.lines[-1])
    before, after = choice.config, choice.config
    if said:
        after = chosen(photos, Workers(speed), limit=read_time(said[1])).config
    for words, key in (
        ("larger images", "data.image_size"),
        ("more epochs", "train.epochs"),
        ("more evaluations", "search.evaluations"),
    ):
        named = said is not None and words in said[2]
        assert named == (attrgetter(key)(before) < attrgetter(key)(after))


def test_the_line_at_the_end_has_the_time_of_the_whole_command() -> None:
    choice = Choice(SearchConfig(), seconds=87.0, used=55.0, limit=2 * MINUTE)
    line = choice.took(148.0)
    assert line == "it took 1m 33s; about 1m 27s were estimated; 2m 28s in all, of --time 2m"
    assert Choice(SearchConfig()).took(148.0) is None


class Little(Workers):
    """Workers whose memory holds so many pixels in a step."""

    def __init__(self, pixels: int, *, gpu: bool) -> None:
        super().__init__(gpu=gpu)
        self.pixels = pixels

    def time_steps(
        self, model: str, classes: int, sizes: Sequence[int], train: TrainConfig, at_once: int
    ) -> Measured:
        for size in sizes:
            if train.batch_size * size**2 > self.pixels:
                raise StepMemoryError(train.batch_size, size)
        return super().time_steps(model, classes, sizes, train, at_once)


def test_batches_are_halved_where_memory_is_short(photos: Path) -> None:
    choice = chosen(photos, Little(4 * 224**2, gpu=True))
    assert (choice.config.train.batch_size, choice.config.data.image_size) == (4, 224)
    assert any("memory does not hold batches of 8" in line for line in choice.lines)


def test_images_are_smaller_where_memory_is_shorter_still(photos: Path) -> None:
    ample = timedelta(hours=9)
    choice = chosen(photos, Little(4 * 100**2, gpu=False), limit=ample)
    assert (choice.config.train.batch_size, choice.config.data.image_size) == (4, 96)
    own = chosen(photos, Little(4 * 100**2, gpu=False), "train.batch_size=2", limit=ample)
    assert (own.config.train.batch_size, own.config.data.image_size) == (2, 128)
    with pytest.raises(StepMemoryError):
        chosen(photos, Little(4 * 100**2, gpu=True))


def never() -> Workers:
    raise AssertionError("asked a worker")


def test_wrong_images_are_told_before_a_worker_is_asked(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    config = SearchConfig.load(str(tmp_path))
    with pytest.raises(UserError, match="no image lies in"):
        choose(config, never, MINUTE, time.monotonic())


def test_a_resumed_search_reads_the_choice(photos: Path, tmp_path: Path) -> None:
    config = SearchConfig.load(str(photos), [f"storage={tmp_path}", "train.seed=3"])
    choice = choose(config, Workers, MINUTE, time.monotonic())
    run = RunDirectory.of(config)
    run.write_config(choice.config, {}, {})
    again = recorded_choice(config, run)
    assert again.config.model_dump() == choice.config.model_dump()
    assert again.seconds is None
    other = SearchConfig.load(str(photos), [f"storage={tmp_path}", "train.epochs=77"])
    assert recorded_choice(other, run).config.train.epochs == 77  # for the check to refuse


def test_a_wrong_method_is_told_before_a_worker_is_asked(photos: Path, tmp_path: Path) -> None:
    config = SearchConfig.load(str(photos), [f"storage={tmp_path}", "method.name=nope"])
    with ExitStack() as stack:
        preparation = Preparation(
            str(tmp_path), False, stack, prepare_table=prepare_table, early_stopping=make_halving
        )
        with pytest.raises(UserError, match=r"method\.name"):
            with_choice(config, preparation, never, None, time.monotonic(), None)


def test_a_choice_that_does_not_fit_the_users_keys_is_refused(photos: Path, tmp_path: Path) -> None:
    config = SearchConfig.load(str(photos), [f"storage={tmp_path}"])
    run = RunDirectory.of(config)
    run.write_config(config.filled_in({"train.epochs": 1}), {}, {})
    later = SearchConfig.load(str(photos), [f"storage={tmp_path}", "train.warmup_epochs=2"])
    with pytest.raises(UserError, match=r"warmup_epochs.*--set"):
        recorded_choice(later, run)


def test_the_choice_for_other_images_is_not_taken(photos: Path, tmp_path: Path) -> None:
    config = SearchConfig.load(str(photos), [f"storage={tmp_path}"])
    run = RunDirectory.of(config)
    run.write_config(SearchConfig.load(overrides=[f"storage={tmp_path}", "name=p"]), {}, {})
    with pytest.raises(UserError, match=r"other settings: data\.root .*data\.source \('digits'"):
        recorded_choice(config, run)
    run.write_config(config.filled_in({}), {}, {})
    relative = os.path.relpath(photos)
    again = SearchConfig.load(relative + "/", [f"storage={tmp_path}"])
    assert not recorded_choice(again, run).config.open_keys  # the same folder in other words
