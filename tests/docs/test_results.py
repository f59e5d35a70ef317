"""Records of benchmarks: what they say of the code, the page that they become, and its age."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import record
from benchmarks.models_page import MODELS_PAGE, models_page
from benchmarks.page import PAGE, shown, tables, text
from benchmarks.record import RESULTS, ROOT, Record, begin, command, git, read, read_all, spans
from benchmarks.stale import report

PARTS = {"plain", "practice"}
"""Programs that a benchmark starts, which hand their figures to it alone."""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of a product of one file, from which the code runs."""
    root = tmp_path / "checkout"
    for path in ("revo_ray/__init__.py", "benchmarks/speed.py", "benchmarks/results/old.json"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("")
    monkeypatch.setattr(record, "ROOT", root)
    monkeypatch.setattr(
        record.util, "find_spec", lambda _: argparse.Namespace(origin=root / "revo_ray/__init__.py")
    )
    monkeypatch.setattr(record, "git", partial(git, root=root))
    git("init", "--quiet", root=root)
    commit(root, "begin")
    return root


def commit(root: Path, message: str) -> None:
    git("add", "--all", root=root)
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    git(*who, "commit", "--quiet", "--message", message, root=root)


def measured(root: Path, name: str = "speed", searches: tuple[Any, ...] = ()) -> record.Result:
    """A benchmark's record, written and read back."""
    out = root / "benchmarks/results" / f"{name}.json"
    made = Record("speed", ("revo_ray", "benchmarks/speed.py"), out=out)
    made.finish({"ratio": 0.5}, [2, 0, 1], searches)
    return read(out, root / "benchmarks/results")


def test_a_record_says_which_code_made_it(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = measured(repository)
    assert result.doubt is None
    assert result.revisions == (git("rev-parse", "HEAD", root=repository),)
    assert result.record["seeds"] == "0-2"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", result.record["date"])
    assert {"cores", "cpu", "device", "python"} <= result.record["machine"].keys()
    printed = json.loads(capsys.readouterr().out)
    assert printed.pop("record").items() <= json.loads(result.path.read_text()).items()
    assert printed == result.runs[0][1] == {"benchmark": "speed", "ratio": 0.5}


def test_results_of_earlier_benchmarks_are_no_changes_of_code(repository: Path) -> None:
    measured(repository)
    (repository / "benchmarks/results/old.json").write_text("changed")
    assert measured(repository, "again").doubt is None


@pytest.mark.parametrize("path", ["revo_ray/__init__.py", "revo_ray/new.py"])
def test_changes_that_are_not_committed_are_seen(
    repository: Path, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / path).write_text("x = 1")
    assert measured(repository).doubt == "uncommitted changes"
    assert "prove nothing" in capsys.readouterr().err


def test_searches_made_by_code_that_nobody_knows_are_seen(repository: Path) -> None:
    known = "1" * 40
    assert measured(repository, searches=(known,)).doubt is None
    assert measured(repository, searches=(known, f"{known}-dirty")).doubt
    assert measured(repository, searches=(known, None)).doubt


def test_without_git_there_is_no_revision(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert measured(repository).doubt == "no revision"


def test_outside_a_checkout_there_is_no_revision(repository: Path) -> None:
    (repository / ".git").rename(repository / "no.git")
    result = measured(repository)
    assert (result.revisions, result.doubt) == ((), "no revision")


def test_code_from_another_folder_has_no_revision(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = argparse.Namespace(origin="/usr/lib/revo_ray/__init__.py")
    monkeypatch.setattr(record.util, "find_spec", lambda _: elsewhere)
    assert measured(repository).doubt == "no revision"


def test_the_command_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    words = [
        "--set",
        "a=[1, 2]",
        "--out",
        "x.json",
        "--seeds",
        "3",
        "--out=x.json",
        "--runs",
        "/tmp/x",
    ]
    expected = "ATEN_CPU_CAPABILITY=avx2 python -m benchmarks.a --set 'a=[1, 2]' --seeds 3"
    assert command("benchmarks.a", words) == expected


def test_out_is_no_option_of_the_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "new" / "x.json"
    monkeypatch.setattr(sys, "argv", ["program", "--out", str(out)])
    arguments, made = begin(argparse.ArgumentParser(), "searcher", ["revo_ray/evolve"])
    assert vars(arguments) == {}
    assert made.out == out
    assert out.parent.is_dir()
    assert set(made.measures) == {"revo_ray/evolve", "benchmarks/searcher.py"}
    monkeypatch.setattr(sys, "argv", ["program", "--out", "x.txt"])
    with pytest.raises(SystemExit):
        begin(argparse.ArgumentParser(), "searcher", ["revo_ray/evolve"])


def test_a_benchmark_cannot_measure_a_file_that_is_not_there() -> None:
    with pytest.raises(AssertionError, match="nowhere"):
        Record("searcher", ["revo_ray/nowhere.py"])


def test_every_benchmark_makes_a_record() -> None:
    programs = {path.stem: path.read_text() for path in (ROOT / "benchmarks").glob("*.py")}
    parse = {name for name, source in programs.items() if "ArgumentParser" in source} - {"record"}
    assert len(parse) > 15
    for name in parse:
        assert f'begin(parser, "{name}", MEASURES)' in programs[name]
    printing = {name for name, source in programs.items() if "print(json.dumps" in source}
    assert printing == PARTS | {"record", "gpu"}  # that one prints a line for each of its parts


def test_no_record_names_a_path_of_the_machine_that_made_it() -> None:
    commands = [line for result in read_all().values() for line, _ in result.runs]
    assert not [each for each in commands if re.search(r"(?<![\w.])/", each)]


def test_the_page_is_that_of_the_records() -> None:
    results = read_all()
    assert PAGE.read_text() == text(results), "make results"
    assert MODELS_PAGE.read_text() == models_page(results["models"]), "make results"


def test_every_result_is_on_the_page_with_its_command_and_revision(repository: Path) -> None:
    known = {"old": measured(repository, "old"), "cells/new": measured(repository, "cells/new")}
    page = text(known)
    for name, result in known.items():
        assert f"### {name}\n" in page
        assert page.count(result.revisions[0][:12]) == 4  # in the index, and above the figures
    assert page.count("$ python -m benchmarks.speed") == 2
    assert "| ratio | 0.5 |" in page
    unknown = {name: result for name, result in read_all(RESULTS).items() if result.doubt}
    assert text(unknown).count("no revision") >= 2 * len(unknown)


def test_groups_with_the_same_keys_share_a_table() -> None:
    line = {"benchmark": "x", "n": 2, "a": {"s": 1.0, "deep": {"s": 2.0}}, "b": {"s": 1234.5}}
    scalars, shared = tables(line)
    assert scalars.splitlines()[2:] == ["| n | 2 |"]
    assert shared.splitlines()[2:] == ["| a | 1.00 |", "| a, deep | 2.00 |", "| b | 1,230 |"]
    (rows,) = tables({"benchmark": "wins", "table": [{"method": "`full`", "acc.": "87.9 ± 2.7"}]})
    assert rows.splitlines() == ["| method | acc. |", "| --- | --- |", "| `full` | 87.9 ± 2.7 |"]


@pytest.mark.parametrize(
    ("value", "seen"),
    [(0.96281, "0.963"), (87.9444, "87.9"), (19810.0, "19,800"), (1819, "1,819"), (0.0, "0"),
     (-21.724, "-21.7"), (None, "–"), (True, "yes"), ([1, 2.5], "1, 2.50"), (float("inf"), "inf")],
)  # fmt: skip
def test_values_are_rounded(value: Any, seen: str) -> None:
    assert shown(value) == seen


def test_runs_of_seeds_are_short() -> None:
    assert spans([3, 1, 2, 7, 2]) == "1-3, 7"
    assert spans([]) == ""


def test_a_result_is_stale_if_its_code_has_changed(repository: Path) -> None:
    result = measured(repository)
    ask = partial(git, root=repository)
    assert report(result, ask) == "speed: up to date"
    (repository / "other.py").write_text("x = 1")
    commit(repository, "elsewhere")
    assert report(result, ask) == "speed: up to date"
    (repository / "revo_ray/__init__.py").write_text("x = 1")
    commit(repository, "the code")
    first, second = report(result, ask).splitlines()
    assert first == "speed: stale, 1 commit has changed its code since"
    assert second.endswith(" the code")
    later = measured(repository, "later")
    assert report(later, ask) == "later: up to date"
    of_old_searches = measured(repository, "mixed", searches=result.revisions)
    assert report(of_old_searches, ask).startswith("mixed: stale, 1 commit")


def test_a_revision_that_git_does_not_know_is_said(repository: Path) -> None:
    result = measured(repository, searches=("1" * 40,))
    assert "git does not know" in report(result, partial(git, root=repository))


def test_page_and_age_need_no_package() -> None:
    """On a machine with Python and git alone."""
    code = (
        "import sys; import benchmarks.page, benchmarks.stale; benchmarks.stale.main();"
        "print(sys.modules.keys() & {'torch', 'ray', 'numpy', 'revo_ray', 'pydantic'})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *lines, modules = done.stdout.splitlines()
    assert modules == "set()"
    assert len([line for line in lines if not line.startswith(" ")]) == len(read_all())
