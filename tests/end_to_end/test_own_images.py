"""`revo-ray search photos/`: what it chooses, records and promises."""

from __future__ import annotations

import json
import re
import shutil
import time
from typing import Any

import pytest
import yaml

from revo_ray.search.ray.resources import TrialResources
from tests.end_to_end.cli import ROOT, Cli
from tests.end_to_end.photos import write_photos

pytestmark = pytest.mark.slow

NETWORK = {"model__name": "timm/test_efficientnet", "model__weights": "none"}
SHORT = ("--time", "20s", "--evaluations", "4")


@pytest.mark.nightly
@pytest.mark.usefixtures("one_ray")
def test_what_is_chosen_is_recorded_and_a_resumed_search_keeps_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrialResources, "check", lambda _: "waiting for a machine")
    photos = str(write_photos(cli.folder / "my photos", {"temple": 20, "flower": 8}, (320, 240)))
    run = cli.folder / "my-photos"
    settings = NETWORK | {"search__population": "4", "train__epochs": "2"}
    done = cli.run("search", photos, *SHORT, small=False, **settings)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "16 to train, 6 to validate, 6 to test" in said
    assert said.count("waiting for a machine") == 1
    assert re.search(r"time: +about \d+s from now", said)
    assert re.search(r"it took \d+s; about \d+s were estimated; .* in all, of --time 20s", said)
    recorded = yaml.safe_load((run / "config.yaml").read_text())
    train = recorded["train"]
    assert (train["class_weights"], train["batch_size"]) == ("balanced", 8)
    assert f"images of {recorded['data']['image_size']} px" in said
    assert recorded["search"]["evaluations"] == 4
    rows = cli.facts("my-photos")
    assert "all of them are plain fine-tuning" in said
    assert re.search("go on .*--evaluations 8 --resume", said)

    second = cli.run("search", photos, *SHORT, small=False, **settings)
    assert second.returncode == 2
    assert "--resume" in second.stderr
    assert "a step takes" not in second.stdout + second.stderr

    # As after a kill between the choice and the first row. Five minutes would buy other settings.
    kept = (run / "config.yaml").read_bytes()
    shutil.rmtree(run)
    run.mkdir()
    (run / "config.yaml").write_bytes(kept)
    again = cli.run("search", photos, *SHORT[2:], "--resume", small=False, **settings)
    assert again.returncode == 0, again.stderr
    assert "a step takes" not in again.stdout + again.stderr
    assert cli.facts("my-photos") == rows


@pytest.mark.parametrize("words", [(), ("preset:quickstart",)])
def test_a_time_needs_images(cli: Cli, words: tuple[str, ...]) -> None:
    done = cli.run("search", *words, "--time", "5m")
    assert done.returncode == 2
    assert "--time" in done.stderr
    assert "search.stop_after" in done.stderr


@pytest.mark.parametrize("text", ["soon", "0", "-5"])
def test_a_time_that_is_none_is_refused(cli: Cli, text: str) -> None:
    done = cli.run("search", "--time", text)
    assert done.returncode == 2
    assert f"'{text}': give a time such as 2h" in " ".join(done.stderr.split())


def test_a_dry_run_says_the_plan_and_keeps_the_time_in_the_next_command(cli: Cli) -> None:
    photos = str(write_photos(cli.folder / "photos", {"temple": 10, "flower": 10}, (160, 120)))
    done = cli.run("search", photos, "--time", "90s", "--dry-run", small=False, **NETWORK)
    assert done.returncode == 0, done.stderr
    assert re.search(r"plan: +\d+ evaluations of \d+ epochs", done.stdout + done.stderr)
    assert "--time 90s" in done.stdout
    assert "if every unit trains" not in done.stdout  # one estimate, not two
    assert not (cli.folder / "photos" / "config.yaml").exists()


@pytest.mark.nightly
def test_photographs_of_12_megapixels_take_the_promised_time(cli: Cli) -> None:
    photos = write_photos(cli.folder / "photos")
    began = time.monotonic()
    done = cli.run_alone("search", str(photos), "--time", "2m", small=False, forks=False)
    took = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    said = re.search(r"it took (.*?); about (.*?) were estimated", done.stdout + done.stderr)
    assert said
    real, promised = (seconds(text) for text in said.groups())
    assert promised / 2 < real < promised * 2
    assert took < 2 * 120
    result = json.loads((cli.folder / "photos" / "result.json").read_text())
    assert result["test"]["accuracy"] > 0.9  # a temple is no flower


def seconds(text: str) -> int:
    return sum(
        int(number) * {"s": 1, "m": 60, "h": 3600}[unit]
        for number, unit in re.findall(r"(\d+)([smh])", text)
    )


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_the_lines_of_the_page_run(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """`docs/own-images.md`, from Python, in less time."""
    page = (ROOT / "docs/own-images.md").read_text()
    (lines,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.S | re.M)
    write_photos(cli.folder / "photos", {"temple": 20, "flower": 20}, (320, 240))
    monkeypatch.chdir(cli.folder)
    names: dict[str, Any] = {}
    exec(lines.replace("minutes=30", "minutes=1"), names)
    assert names["result"].best["val_loss"] < 0.7
    assert (cli.folder / "revo_results/photos/config.yaml").exists()
