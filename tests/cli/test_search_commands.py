"""Ends of `search` and `study`: exit status and next commands, where the searches ran before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import revo_ray.run
from revo_ray.cli import search_commands
from revo_ray.rundir import RunDirectory
from revo_ray.rundir.outcome import SearchResult
from tests.report.studies import write_search
from tests.typed import Typed

DIVERGED = (None, None)
CLUSTER = "ray://cluster name:10001"
CLUSTER_WORDS = "--address 'ray://cluster name:10001'"

Ended = Callable[..., None]


@pytest.fixture
def ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ended:
    """Let a search or a study end with results that lie in `all/`, instead of running it."""
    monkeypatch.chdir(tmp_path)

    def end(*losses: Sequence[float | None], stopped_by: str = "budget") -> None:
        results: list[SearchResult] = []
        for number, each in enumerate(losses):
            write_search(tmp_path / "all", f"s{number}", [f"search.seed={number}"], losses=each)
            result = RunDirectory(str(tmp_path / "all" / f"s{number}")).outcome()
            assert result is not None
            results.append(replace(result, stopped_by=stopped_by))
        monkeypatch.setattr(revo_ray.run, "run_search", lambda *_, **__: results[0])
        monkeypatch.setattr(revo_ray.run, "run_study", lambda *_, **__: results)

    return end


@pytest.fixture
def study_file(tmp_path: Path) -> str:
    """A study of two searches in `all/`."""
    study = {"methods": ["random"], "data": ["digits"], "seeds": [0, 1]}
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({"name": "all", "storage": str(tmp_path), "study": study}))
    return str(file)


@pytest.mark.parametrize("stopped_by", ["budget", "time"])
def test_a_search_without_a_success_ends_with_3(
    ended: Ended, typed: Typed, stopped_by: str
) -> None:
    ended(DIVERGED, stopped_by=stopped_by)
    status, out, err = typed("search")
    assert status == 3
    assert "best: null" in out
    assert "no evaluation succeeded (2 diverged)" in err
    assert ("--resume" in out) == (stopped_by == "time")


@pytest.mark.parametrize("stopped_by", ["budget", "time"])
def test_a_study_names_each_search_without_a_success(
    ended: Ended, typed: Typed, study_file: str, stopped_by: str
) -> None:
    ended((0.5, None), DIVERGED, stopped_by=stopped_by)
    status, out, err = typed("study", study_file)
    assert status == 3
    assert err.endswith("no evaluation succeeded in s1\n")
    assert ("2 of 2 searches unfinished" in out) == (stopped_by == "time")


@pytest.mark.parametrize(("losses", "status"), [([], 3), ([(0.5,)], 0)])
def test_a_study_that_time_ended_has_a_result_or_ends_with_3(
    ended: Ended,
    typed: Typed,
    study_file: str,
    monkeypatch: pytest.MonkeyPatch,
    losses: list[Sequence[float]],
    status: int,
) -> None:
    monkeypatch.setattr(search_commands, "show_report", lambda folder: [])
    ended(*losses, stopped_by="time")
    found, out, err = typed("study", study_file)
    assert found == status
    assert "2 of 2 searches unfinished; the same command with --resume" in out
    assert ("search.stop_after passed before an evaluation ended" in err) == (status == 3)


@pytest.mark.parametrize("stopped_by", ["budget", "time"])
def test_the_next_search_joins_the_same_cluster(
    ended: Ended, typed: Typed, tmp_path: Path, stopped_by: str
) -> None:
    (tmp_path / "photos/a").mkdir(parents=True)
    ended((0.5, 0.6), stopped_by=stopped_by)
    status, out, _ = typed("search", "photos", "--address", CLUSTER)
    assert status == 0
    (again,) = (line for line in out.splitlines() if "--resume" in line and "revo-ray" in line)
    assert CLUSTER_WORDS in again


@pytest.mark.parametrize("kind", ["search", "study"])
def test_a_checked_search_starts_on_the_same_cluster(
    typed: Typed, study_file: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(search_commands, "show_dry_run", lambda *_: None)
    config = [study_file] if kind == "study" else []
    status, out, _ = typed(kind, *config, "--dry-run", "--address", CLUSTER)
    assert status == 0
    assert CLUSTER_WORDS in out


@pytest.mark.parametrize("kind", ["search", "study"])
def test_a_stopped_search_goes_on_on_the_same_cluster(
    typed: Typed, study_file: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(revo_ray.run, f"run_{kind}", stopped)
    config = [study_file] if kind == "study" else []
    status, out, _ = typed(kind, *config, "--address", CLUSTER)
    assert status == 130
    assert out.count(CLUSTER_WORDS) == 1
