"""The file of a saved searcher: it grows with the search, survives a cut, and may be older."""

from __future__ import annotations

import copy
import itertools
import json
import math
import os
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import tune

from revo_ray.tune import CMAMVSearch
from revo_ray.tune.saved_state import SavedState
from tests.tune.calls import trajectory

SPACE = {
    "lr": tune.loguniform(1e-4, 1.0),
    "net": {"kind": tune.choice(["a", (1, 2), None])},
    "a/b": tune.randint(0, 5),
    "drop": [tune.quniform(0, 0.5, 0.1), 7],
}
FORMAT_3 = Path(__file__).with_name("format_3.json")
"""As an earlier version saved it, after six trials with four to a generation: t3 and t5 ran."""
OPTIONS: dict[str, Any] = {"seed": 5, "lookahead": 2, "population": 4}
FILE = "searcher-state-one.pkl"


def loss(config: dict[str, Any]) -> float:
    return float(math.log10(config["lr"]) ** 2 + config["drop"][0] + config["a/b"])


def make(space: Any = SPACE, mode: Any = "min", **options: Any) -> CMAMVSearch:
    return CMAMVSearch(space, "loss", mode, **(OPTIONS | options))


def test_each_save_of_a_session_appends_what_is_new(tmp_path: Path) -> None:
    """So all saves of a search together write each evaluation once."""
    searcher, sizes = make(), []
    for number in range(60):
        trajectory(searcher, loss, 1, prefix=str(number))
        searcher.save_to_dir(str(tmp_path), "one")
        sizes.append((tmp_path / FILE).stat().st_size)
        assert os.listdir(tmp_path) == [FILE]
    steps = [after - before for before, after in itertools.pairwise(sizes[5:])]
    assert max(steps) < 2 * min(steps)
    lines = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert [line["told"] for line in lines if "told" in line] == list(range(60))


def test_old_snapshots_do_not_pile_up(tmp_path: Path) -> None:
    """However often a state with many live trials is saved."""
    searcher = make(population=200)
    for number in range(200):
        searcher.suggest(f"t{number}")
    searcher.save(str(tmp_path / "whole"))
    whole = (tmp_path / "whole").stat().st_size
    for _ in range(40):
        searcher.save_to_dir(str(tmp_path), "one")
        assert (tmp_path / FILE).stat().st_size < 3 * whole + 2**16
    assert SavedState.read(str(tmp_path / FILE)) == SavedState.read(str(tmp_path / "whole"))


@pytest.mark.parametrize("points", [0, 9])
def test_a_file_that_was_appended_to_is_that_of_one_save(tmp_path: Path, points: int) -> None:
    searcher = make()
    for number in range(points):
        searcher.add_evaluated_point({"lr": 0.1, "net/kind": None, "a/b": 1, "drop/0": 0.1}, number)
    for number in range(25):
        config = searcher.suggest(f"t{number}")
        if config and number % 5:
            searcher.on_trial_complete(f"t{number}", {"loss": loss(config)})
        if number == 13:
            point = {"lr": 0.2, "net/kind": "a", "a/b": 1, "drop/0": 0.1}
            searcher.add_evaluated_point(point, 1)
        searcher.save_to_dir(str(tmp_path), "one")
        searcher.save(str(tmp_path / "whole"))
        one = SavedState.read(str(tmp_path / FILE))
        assert one == SavedState.read(str(tmp_path / "whole"))
        restored = make(None)
        restored.restore_from_dir(str(tmp_path))
        again = make(None)
        again.restore(str(tmp_path / "whole"))
        assert restored.suggest("next") == again.suggest("next")


@pytest.mark.parametrize("spoil", ["gone", "longer", "shorter", "another session"])
def test_a_file_that_is_not_as_it_was_left_is_written_whole(tmp_path: Path, spoil: str) -> None:
    searcher, path = make(), tmp_path / FILE
    trajectory(searcher, loss, 7)
    searcher.save_to_dir(str(tmp_path), "one")
    if spoil == "gone":
        path.unlink()
    elif spoil == "longer":
        path.write_text(path.read_text() + "{")
    elif spoil == "shorter":
        path.write_text(path.read_text()[:-40])
    else:
        searcher.save_to_dir(str(tmp_path), "two")
    trajectory(searcher, loss, 3, prefix="more")
    searcher.save_to_dir(str(tmp_path), "one")
    searcher.save(str(tmp_path / "whole"))
    assert SavedState.read(str(path)) == SavedState.read(str(tmp_path / "whole"))


def test_a_save_that_was_cut_off_anywhere_leaves_the_one_before(tmp_path: Path) -> None:
    """As a driver that is killed while it appends leaves the file."""
    searcher, path = make(), tmp_path / FILE
    trajectory(searcher, loss, 6)
    searcher.save_to_dir(str(tmp_path), "one")
    before = path.read_bytes()
    live = {name: searcher.suggest(name) for name in ("a", "b")}
    trajectory(searcher, loss, 2, prefix="more")
    searcher.save_to_dir(str(tmp_path), "one")
    after = path.read_bytes()
    assert after.startswith(before)
    for length in [*range(len(before), len(after) - 1, 7), len(after) - 2]:
        path.write_bytes(after[:length])
        restored = make(None)
        restored.restore_from_dir(str(tmp_path))
        assert len(restored._begin().told) == 6
        assert list(live.values()) == [restored.suggest(name) for name in ("x", "y")]
    path.write_bytes(before[:-10])  # the first save was cut off
    with pytest.raises(ValueError, match="is of another version, or damaged"):
        make(None).restore_from_dir(str(tmp_path))


@pytest.mark.parametrize("space", [None, SPACE])
def test_a_file_of_format_3_goes_on_with_the_same_search(space: Any, tmp_path: Path) -> None:
    restored = make(space, mode="max")
    restored.restore(str(FORMAT_3))
    assert list(restored._begin().live) == ["t3", "t5"]
    fresh = make(mode="max")
    for number in range(6):
        config = fresh.suggest(f"t{number}")
        assert config is not None
        if number not in (3, 5):
            value = -config["lr"] if number else math.nan
            fresh.on_trial_complete(f"t{number}", {"loss": value})
    assert restored._begin().told == fresh._begin().told
    restored.save(str(tmp_path / "now"))
    again = make(None, mode="max")
    again.restore(str(tmp_path / "now"))
    for searcher in (restored, again, fresh):
        searcher.on_trial_complete("t3", {"loss": 0.5})
        searcher.on_trial_complete("t5", {"loss": 0.25})
    expected = trajectory(fresh, loss, 20, prefix="rest")
    assert trajectory(restored, loss, 20, prefix="rest") == expected
    assert trajectory(again, loss, 20, prefix="rest") == expected


def test_a_searcher_that_was_pickled_before_there_were_points_can_be_restored() -> None:
    """`Tuner.restore` unpickles the searcher of an earlier version."""
    settings = {"algorithm": "catcmawm", "population_size": 4, "sigma": None, "seed": 5}
    for space in (None, SimpleNamespace(_template=SPACE)):
        searcher = CMAMVSearch.__new__(CMAMVSearch)
        old = {"_metric": "loss", "_mode": "max", "_settings": settings, "_lookahead": 2}
        searcher.__setstate__(old | {"_space": space})
        searcher.restore(str(FORMAT_3))
        assert list(searcher._begin().live) == ["t3", "t5"]


@pytest.mark.parametrize(
    "header", [{"space": None}, {"names": ["x"]}, {"names": None}, {"settings": {}}, {"format": 5}]
)
def test_a_file_of_another_search_is_refused(header: dict[str, Any], tmp_path: Path) -> None:
    searcher, path = make(), tmp_path / "state"
    trajectory(searcher, loss, 6)
    searcher.save(str(path))
    first, *rest = path.read_text().splitlines(keepends=True)
    path.write_text("".join([json.dumps(json.loads(first) | header) + "\n", *rest]))
    restored = make(None)
    if header == {"names": None}:
        restored.restore(str(path))  # they are only a check
        return
    with pytest.raises(ValueError, match="state") as refused:
        restored.restore(str(path))
    assert len(str(refused.value).splitlines()) == 1


def test_a_searcher_that_could_not_be_restored_leaves_the_files_as_they_are(
    tmp_path: Path,
) -> None:
    """A later file would be taken for the newest state, by `Tuner.restore`."""
    searcher = make()
    trajectory(searcher, loss, 6)
    searcher.save_to_dir(str(tmp_path), "one")
    other = make(seed=6)
    with pytest.raises(ValueError, match="was saved with"):
        other.restore_from_dir(str(tmp_path))
    other.save_to_dir(str(tmp_path), "two")
    assert os.listdir(tmp_path) == [FILE]


@pytest.mark.parametrize("algorithm", ["catcmawm", "cmawm", "sop"])
def test_a_copy_or_pickle_that_has_not_begun_has_the_same_search(algorithm: str) -> None:
    """The library's own pickles of some optimisers draw new seeds."""
    expected = trajectory(make(algorithm=algorithm), loss, 20)
    copied = copy.deepcopy(make(algorithm=algorithm))
    pickled = pickle.loads(pickle.dumps(make(algorithm=algorithm)))
    assert trajectory(copied, loss, 20) == expected
    assert trajectory(pickled, loss, 20) == expected
