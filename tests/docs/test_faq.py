"""Each error message of the FAQ is printed by a real command, and the page has no other."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from revo_ray.cli.main import main
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.prepare import resolve
from revo_ray.storage import Storage
from tests.monitor.synthetic import open_state, run

PAGE = Path(__file__).parents[2] / "docs" / "faq.md"
Prepare = Callable[[Path], object]


def nothing(folder: Path) -> None:
    """Prepare nothing."""


def photos(folder: Path, *, bad: bool = False, images: int = 4) -> None:
    random = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(images):
            pixels = random.integers(0, 255, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / label / f"{number}.png")
    if bad:
        (folder / "photos" / "cat" / "0.png").write_bytes(b"no picture")


def searched(folder: Path, errors: int = 0) -> None:
    """A run directory of a search that stopped after four evaluations."""
    state = open_state(Storage(str(folder / "run")), "name=run", f"storage={folder}")
    state.run.write_config(resolve(state.config)[0], {}, {})
    run(state, rows=4)
    for number in range(4, 4 + errors):
        error = {"status": "error", "error": "OSError: photos/cat/0.png: No such file"}
        state.ledger.append(Evaluation(evaluation=number, sample={}, **error))


def put_away(folder: Path) -> None:
    searched(folder)
    directory = RunDirectory(str(folder / "run"))
    directory.write_outcome(directory.outcome_so_far(directory.config().config))
    shutil.rmtree(folder / "run" / "ledger")


def edited(folder: Path) -> None:
    searched(folder)
    file = folder / "run" / "ledger" / "000002.json"
    file.write_text(file.read_text().replace('"ok"', '"ok "'))


def foreign(folder: Path) -> None:
    (folder / "photos").mkdir()
    (folder / "photos" / "notes.txt").write_text("")


SET = ["--set", "storage={}"]
RUN = ["--set", "name=run", "--set", "method.name=revo-binary", "--set", "search.evaluations=30"]
CASES: list[tuple[Prepare, list[str]]] = [
    # configuration
    (nothing, ["search", "config.yml"]),
    (nothing, ["search", "preset:quikstart"]),
    (nothing, ["search", "--set", "search.evalutions=20"]),
    (nothing, ["search", "--set", "search.evaluations=many"]),
    (nothing, ["search", "--dry-run", *SET, "--set", "method.name=revo-continous"]),
    # data
    (nothing, ["data", "inspect", "--set", "data.source=folder", "--set", "data.root=photos"]),
    (foreign, ["search", "photos", "--dry-run", *SET]),
    (lambda folder: photos(folder, bad=True), ["search", "photos", "--dry-run", *SET]),
    (lambda folder: photos(folder, images=1), ["search", "photos", "--dry-run", *SET]),
    # network
    (nothing, ["search", "--dry-run", *SET, "--set", "model.name=timm/resnet1888"]),
    (nothing, ["search", "--dry-run", *SET, "--set", "model.weights=weights.pth"]),
    (nothing, ["search", "--dry-run", *SET, "--set", "model.weights=pretrained"]),
    # run directory
    (searched, ["search", *SET, "--set", "name=run"]),
    (searched, ["search", "{}/run"]),
    (put_away, ["search", *SET, *RUN, "--resume"]),
    (searched, ["search", *SET, *RUN, "--set", "train.epochs=20", "--resume"]),
    (lambda folder: (folder / "file").touch(), ["search", "--set", "storage={}/file"]),
    (edited, ["report", "{}/run"]),
    # while it runs, and after
    (searched, ["watch", "{}/run", "--every", "0.1"]),
    (lambda folder: searched(folder, errors=3), ["watch", "{}/run", "--every", "0.1"]),
    (nothing, ["watch", "{}/results/run"]),
    (nothing, ["report", "{}/run"]),
    (lambda folder: (folder / "run").mkdir(), ["report", "{}/run"]),
    (foreign, ["report", "{}/photos"]),
    (lambda folder: (folder / "run").touch(), ["report", "{}/run"]),
    (searched, ["report", "{}/run", "--reference", "full"]),
    # the model
    (searched, ["export", "{}/run", "--to", "onxx", "--out", "model.onnx"]),
    (lambda folder: (folder / "run").mkdir(), ["predict", "{}/run", "photos"]),
    (lambda folder: (foreign(folder), searched(folder)), ["predict", "{}/run", "photos"]),
    (
        lambda folder: (photos(folder), (folder / "model.pt2").write_bytes(b"PK")),
        ["predict", "model.pt2", "photos"],
    ),
    # clusters
    (nothing, ["submit", "--address", "http://127.0.0.1:9"]),
    (nothing, ["submit", *SET, "--address", "http://127.0.0.1:9"]),
    (nothing, ["search", *SET, "--address", "ray://head:10001"]),
]


def shown(folder: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The message that a command ends with, its paths put into words."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main()
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert end.value.code in (2, 3), arguments
    text = printed.err.strip()
    if not text:  # `watch` says how a search ended
        text = next(line for line in printed.out.splitlines() if "stopped" in line)
        text = text[text.index("stopped") :]
    return placeholders(text.splitlines()[-1], folder)


def placeholders(text: str, folder: Path) -> str:
    text = text.removeprefix("revo-ray: ").removeprefix("Error: ")
    text = text.replace("Value error, ", "")  # some versions of Typer say so
    text = text.replace(f"{folder}/", "").replace(str(folder), "FOLDER")
    text = re.sub(r"\(/?[\w.-]*127\.0\.0\.1.*?\)|127\.0\.0\.1:9 cannot be.*?(?=\))", "CAUSE", text)
    return re.sub(r"/\S*/huggingface/hub", "CACHE", text)


@pytest.fixture
def quiet_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without a network for weights."""
    monkeypatch.chdir(tmp_path)
    nowhere = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", nowhere)
    return tmp_path


def quoted() -> list[str]:
    blocks = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.S)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_command_prints_each_message(
    quiet_place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: int,
) -> None:
    prepare, arguments = CASES[case]
    prepare(quiet_place)
    words = [word.replace("{}", str(quiet_place)) for word in arguments]
    monkeypatch.setattr("sys.argv", ["revo-ray", *words])
    message = shown(quiet_place, words, capsys)
    assert message == quoted()[case]


def test_no_message_on_the_page_is_without_a_test() -> None:
    assert len(quoted()) == len(CASES)
