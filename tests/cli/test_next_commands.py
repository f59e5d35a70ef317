"""The commands that a command shows at its end: a shell and this program take them as they are."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer.main

from revo_ray.cli import next_commands
from revo_ray.cli.console import errors
from revo_ray.cli.main import app, main
from revo_ray.cli.next_commands import IMAGES, Step, configured, show_next, shown_path
from revo_ray.cli.search_result import show_result
from revo_ray.rundir import Evaluation, RunDirectory, StudyDirectory
from tests.data.layouts import picture, unpacked
from tests.report.studies import write_search

AWKWARD = ("plain", "with space", "it's", 'say "x"', "$HOME;ls", "ünï", "-x", "a\\b", "*")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def described(folder: Path, name: str = "run") -> RunDirectory:
    """A finished search with a best model."""
    ledger = write_search(folder, name)
    run = RunDirectory(str(folder / name))
    best = ledger.best
    assert isinstance(best, Evaluation)
    run.best.write({}, best.evaluation)
    card = {"classes": ["a", "b"], "image_size": 8, "mean": [0] * 3, "std": [1] * 3, "units": ["u"]}
    run.best.describe(card | {"evaluation": best.evaluation})
    return run


def words_of(step: Step) -> list[str]:
    """The words of a command, as a shell splits them."""
    command = f"printf '%s\\0' {step[1]}"
    out = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    return out.removesuffix("\0").split("\0")


def parsed(words: list[str]) -> dict[str, Any]:
    """The arguments that this program reads from words; it refuses unknown ones."""
    command: Any = typer.main.get_command(app)
    assert words.pop(0).endswith("revo-ray")
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    return dict(command.make_context("revo-ray", words).params)


@pytest.mark.parametrize("name", AWKWARD)
def test_a_shell_gives_the_paths_back(here: Path, name: str) -> None:
    run = described(here / name)
    steps = next_commands.after_search(run)
    assert [parsed(words_of(step)).get("directory") for step in steps[::2]] == [
        shown_path(run.uri)
    ] * 2
    assert parsed(words_of(steps[1]))["images"] == [IMAGES]
    (page, *_) = next_commands.after_report(run, str(here / name / "run/report/index.html"))
    assert Path(words_of(page)[1]).absolute() == here / name / "run/report/index.html"
    inspected = next_commands.after_inspect(str(here / name), [f"data.root={name}"])
    for step, dry in zip(inspected, (True, False), strict=True):
        found = parsed(words_of(step))
        assert found["config"] == str(here / name)
        assert found["overrides"] == [f"data.root={name}"]
        assert found["dry_run"] == dry
    for step in (*next_commands.after_train(run.uri), *next_commands.after_export(run.uri)):
        assert shown_path(run.uri) in parsed(words_of(step)).values()


def test_a_remote_run_is_read_where_it_is_and_written_here(here: Path) -> None:
    run = RunDirectory("s3://bucket/some%20runs/run?region=eu-west-1&scheme=http")
    report, predict, export = (parsed(words_of(step)) for step in next_commands.after_search(run))
    assert report["directory"] == predict["model"] == export["directory"] == run.uri
    assert export["path"] == "run-exported"


def test_files_that_are_there_are_not_named_as_targets(here: Path) -> None:
    run = described(here)
    for expected in ("run-exported", "run-exported-2", "run-exported-3"):
        found = parsed(words_of(next_commands.after_search(run)[-1]))["path"]
        assert found == expected
        Path(expected).mkdir()


def test_a_path_outside_of_the_working_folder_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert shown_path(str(tmp_path / "there")) == str(tmp_path / "there")
    assert shown_path(str(tmp_path / "here/run")) == "run"


def test_a_study_leads_to_its_best_search(here: Path) -> None:
    write_search(here / "all", "a", ["search.seed=1"])  # no model: it is not shown
    run = described(here / "all", "c")
    outcome = run.outcome()
    assert outcome is not None
    assert outcome.best is not None
    other = RunDirectory(str(here / "all" / "b"))
    shutil.copytree(here / "all" / "c", here / "all" / "b")
    loss = outcome.best["val_loss"] + 0.1
    other.write_outcome(replace(outcome, name="b", best=outcome.best | {"val_loss": loss}))
    steps = next_commands.after_report(StudyDirectory(str(here / "all")), "s3://page")
    assert parsed(words_of(steps[0]))["directory"] == shown_path(run.uri)
    assert parsed(words_of(steps[1]))["model"] == shown_path(run.uri)
    assert next_commands.after_report(RunDirectory("all/a"), "s3://page") == []


def test_output_for_programs_stays_clean(capsys: pytest.CaptureFixture[str]) -> None:
    show_next(next_commands.after_predict("model", ["a b.png"]), errors)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "revo-ray predict model 'a b.png' --out labels.csv" in shown.err
    show_next([])
    assert capsys.readouterr() == ("", "")


def test_a_search_that_ran_out_of_time_is_gone_on_with(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = described(here)
    outcome = run.outcome()
    assert outcome is not None
    show_result(replace(outcome, stopped_by="time"), "my file.yaml", ["search.seed=1"])
    said = capsys.readouterr().out
    assert "next: spend the rest " in said
    assert "revo-ray search 'my file.yaml' --set search.seed=1 --resume\n" in said
    assert configured("study", None, None).endswith("revo-ray study")


@pytest.fixture
def typed(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Type a command; gives exit status and output."""

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["revo-ray", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(str(ended.value.code or 0)), capsys.readouterr().out

    return run


@pytest.mark.slow
def test_commands_end_with_the_next_ones(here: Path, typed: Any) -> None:
    files = {f"{c}/{i}.png": picture(n, i) for n, c in enumerate("ab") for i in range(12)}
    unpacked(files, here / "my photos")
    status, out = typed("data", "inspect", "my photos")
    assert status == 0
    assert out.endswith("revo-ray search 'my photos'\n")
    described(here)
    status, out = typed("report", "run")
    assert status == 0
    assert "next: look at it" in out
    assert out.endswith("revo-ray export run --to safetensors --out run-exported\n")


def test_lists_and_a_watched_search_lead_on(here: Path) -> None:
    (watched,) = next_commands.after_watch(str(here / "run"), resumable=False)
    assert parsed(words_of(watched))["directory"] == "run"
    (model,) = next_commands.after_models("timm/resnet18.a1_in1k")
    assert parsed(words_of(model))["overrides"] == ["model.name=timm/resnet18.a1_in1k"]
    method, study = next_commands.after_methods()
    assert parsed(words_of(method))["overrides"] == ["method.name=random"]
    assert parsed(words_of(study))["config"] == "preset:quick"
