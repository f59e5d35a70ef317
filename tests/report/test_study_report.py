"""The whole report of generated studies: its files, and that it does not say more than it can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import fs
from scipy import stats

from revo_ray.cli.main import main
from revo_ray.errors import UserError
from revo_ray.report.scores import ACCURACY
from revo_ray.report.statistics_text import verdict
from revo_ray.report.study_report import StudyReport, study_report, write_report
from revo_ray.rundir import open_directory
from revo_ray.storage import Storage
from tests.report.studies import place, write_grid, write_search

FILES = [
    *("tables.md", "tables.tex", "results.csv", "means.csv", "statistics.md", "statistics.json"),
    *(f"figures/critical-difference.{kind}" for kind in ("svg", "png", "csv")),
]
METHODS = ["full", "last", "revo-binary"]


def report_on(folder: Path, **options: Any) -> StudyReport:
    return study_report(open_directory(str(folder)), **options)


def write(folder: Path) -> list[str]:
    return write_report(report_on(folder))


def score(method: str, data: str, fraction: float, seed: int) -> float:
    """`last` is worse by 10 points, in every pair; the others differ by chance."""
    noise = np.random.default_rng([seed, int(100 * fraction), len(data)]).normal(0, 0.01)
    own = np.random.default_rng([seed, int(100 * fraction), len(data), len(method)]).normal(
        0, 0.004
    )
    return 0.8 + noise + own - 0.1 * (method == "last")


@pytest.fixture(scope="module")
def decisive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 blocks: 2 data sets × 2 fractions × 4 seeds."""
    folder = tmp_path_factory.mktemp("decisive")
    write_grid(
        folder, METHODS, score, data=["busi", "leaves"], fractions=[0.05, 0.2], seeds=range(4)
    )
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cell, three seeds."""
    folder = tmp_path_factory.mktemp("small")
    write_grid(folder, METHODS, score)
    return folder


def test_the_report_is_written_beside_the_searches(small: Path) -> None:
    paths = write(small)
    assert paths == [str(small / "report" / name) for name in FILES]
    before = {path: Path(path).read_bytes() for path in paths}
    assert all(before.values())
    assert "critical-difference.svg" in (small / "report" / "statistics.md").read_text()
    write(small)  # `report/` is there now, and is no search
    assert {path: Path(path).read_bytes() for path in paths} == before


def test_a_study_opens_with_a_plain_sentence_on_each_rival(small: Path) -> None:
    report = report_on(small)
    lines = report.markdown.splitlines()
    (first,) = [m for m in report.statistics.metrics if m.metric == ACCURACY]
    assert len(first.comparisons) == 2
    for comparison in first.comparisons:
        mean, visible = comparison.difference.mean, comparison.difference.visible
        assert mean is not None
        assert visible is not None
        gain = f"{-100 * mean:+.1f}".replace("-", "−")
        end = {"better": "it is worse", "worse": "it is better"}.get(verdict(comparison, 0.05))
        assert comparison.p_holm is not None
        assert comparison.p_holm >= 0.001
        assert (
            f"- revo-binary has {gain} points of test {first.metric.title} against "
            f"{comparison.method} (± {100 * visible:.1f}, 3 pairs, p = {comparison.p_holm:.2g}): "
            f"{end or 'not decided'}."
        ) in lines
    assert any("1 complete block." in line for line in lines)


def test_what_sixteen_pairs_decide_is_said(decisive: Path) -> None:
    report = report_on(decisive)
    assert report.statistics.reference == "revo-binary"
    blocks = [(d, f, s) for d in ("busi", "leaves") for f in (0.05, 0.2) for s in range(4)]
    for metric in report.statistics.metrics:
        comparisons = {c.method: c for c in metric.comparisons}
        assert verdict(comparisons["last"], 0.05) == "worse"
        for method, comparison in comparisons.items():
            differences = [score(method, *b) - score("revo-binary", *b) for b in blocks]
            by_data = np.array(differences).reshape(2, 2, 4).mean(axis=1)  # over the fractions
            assert (comparison.pairs, comparison.cells) == (16, 4)
            assert comparison.difference.mean == pytest.approx(np.mean(differences))
            error = np.sqrt(np.mean(np.var(by_data, axis=1, ddof=1) / 4) / 2)
            assert comparison.difference.visible is not None
            assert 2.4 < comparison.difference.visible / error < 3.2  # t of 3 to 6 degrees
        table = [[score(method, *b) for b in blocks] for method in METHODS]
        assert metric.ranking.p == pytest.approx(stats.friedmanchisquare(*table).pvalue)
        cells = np.array(table).reshape(3, 4, 4).mean(axis=2)
        strict = metric.ranking_by_cell
        assert strict.blocks == 4
        assert strict.p == pytest.approx(stats.friedmanchisquare(*cells).pvalue)


def test_the_numbers_are_in_the_json(decisive: Path) -> None:
    report = report_on(decisive, reference="full", alpha=0.1)
    values = json.loads(report.files()["statistics.json"])
    assert (values["reference"], values["alpha"], values["seeds"]) == ("full", 0.1, [4, 4])
    assert [metric["metric"] for metric in values["metrics"]] == ["auc", "accuracy"]
    first = values["metrics"][0]
    assert first["comparisons"][0]["p_holm"] == report.statistics.metrics[0].comparisons[0].p_holm
    assert first["ranking"]["blocks"] == 16


def test_a_study_is_reported_while_it_runs(tmp_path: Path) -> None:
    write_grid(tmp_path, METHODS[1:], score, seeds=range(2))
    settings = ["method.name=full", *place("digits", 0.05, 0)]
    write_search(tmp_path, "running", settings, losses=(0.5,), done=False)
    waiting = ["method.name=random", *place("digits", 0.05, 0)]
    write_search(tmp_path, "waiting", waiting, losses=(), done=False)
    report = report_on(tmp_path)
    text = report.markdown
    assert "4 of 6 searches are finished" in text
    assert "Without a result yet: full, random." in text
    (auc, _) = report.statistics.metrics
    assert auc.ranking.methods.count("full") == 0
    assert auc.ranking.blocks == 2  # a method that has nothing yet hides no block


def test_blocks_without_every_method_are_counted(tmp_path: Path) -> None:
    write_grid(tmp_path, METHODS, score, seeds=range(3))
    for result in tmp_path.glob("*-full-s2/result.json"):
        result.unlink()
    text = report_on(tmp_path).markdown
    assert "2 complete blocks (1 left out, where not every method has a result)" in text


def test_a_figure_that_no_longer_holds_goes(tmp_path: Path) -> None:
    write_grid(tmp_path, ["full", "last"], score)
    assert any(path.endswith(".svg") for path in write(tmp_path))
    for result in tmp_path.glob("*-last-*/result.json"):
        result.unlink()
    written = write(tmp_path)
    left = {str(p.relative_to(tmp_path / "report")) for p in (tmp_path / "report").rglob("*.*")}
    assert left == set(FILES[:6])
    assert len(written) == 6
    text = (tmp_path / "report" / "statistics.md").read_text()
    assert "Nothing can be compared before two methods have finished searches" in text


def test_two_methods_are_compared_without_friedman(tmp_path: Path) -> None:
    write_grid(tmp_path, ["last", "revo-binary"], score, seeds=range(6))
    text = report_on(tmp_path).markdown
    assert "for two methods see the t test" in text
    assert "| worse |" in text


def test_one_search_alone_has_a_report(tmp_path: Path) -> None:
    write_search(tmp_path, "alone")
    paths = write(tmp_path / "alone")
    assert str(tmp_path / "alone" / "report" / "tables.md") in paths


@pytest.mark.parametrize(
    ("finished", "waiting", "reference"),
    [
        (["full", "revo-binary", "revo-continuous"], [], "revo-binary"),
        (["full", "revo-continuous"], ["revo-binary"], "revo-continuous"),
        (["full", "last"], ["revo-binary", "first"], "full"),
        (["last"], ["full"], "last"),
    ],
)
def test_the_reference_is_chosen_by_the_rule_that_is_said(
    tmp_path: Path, finished: list[str], waiting: list[str], reference: str
) -> None:
    write_grid(tmp_path, finished, lambda *_: 0.5, seeds=range(1))
    for method in waiting:
        settings = [f"method.name={method}", *place("digits", 0.05, 0)]
        write_search(tmp_path, f"waiting-{method}", settings, losses=(), done=False)
    statistics = report_on(tmp_path).statistics
    assert statistics.reference == reference
    rule = "the first REVO method by name with a finished search, else the first other with one"
    assert statistics.rule == rule


def test_a_wrong_reference_or_alpha_is_named(small: Path) -> None:
    with pytest.raises(UserError, match="no method 'revo' in this study; there are full, last"):
        report_on(small, reference="revo")
    with pytest.raises(UserError, match="alpha is 5"):
        report_on(small, alpha=5)


def test_the_command_takes_the_reference(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["revo-ray", "report", str(small), "--reference", "full"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    statistics = json.loads((small / "report" / "statistics.json").read_text())
    assert statistics["reference"] == "full"


def test_any_file_system_will_do(small: Path) -> None:
    storage = Storage("mock:///study")
    assert storage.local is None
    memory = storage._fs
    memory.create_dir("study/report/figures")  # object stores make them by themselves
    fs.copy_files(str(small), "study", fs.LocalFileSystem(), memory)
    paths = write_report(study_report(open_directory(storage)))
    assert paths[0] == "mock:///study/report/tables.md"
    local = report_on(small).files()
    assert {name: storage.read(f"report/{name}") for name in FILES} == local
