"""`export`, `predict` and `train` as they are typed: refusals, and what they leave behind."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image
from pyarrow import fs
from safetensors.torch import load_file, save_file

import revo_ray
from revo_ray.data.files.decode import square
from revo_ray.data.files.formats import open_image
from revo_ray.data.files.intensity import to_8_bits
from revo_ray.model.classifier import Classifier
from revo_ray.model.description import Description
from revo_ray.model.export import export as export_run
from revo_ray.model.export import facts
from revo_ray.model.model import Model
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.settings.schema import DataConfig, SearchConfig
from tests.model.export.conftest import Exports
from tests.model.run_directories import make_run
from tests.object_store import object_store
from tests.typed import Typed


@pytest.fixture
def run(searches: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of a run directory, to spoil."""
    return Path(shutil.copytree(searches["timm"], tmp_path / "study" / "run"))


def test_export_says_what_it_wrote_and_checked(typed: Typed, run: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    status, out, _ = typed("export", run, "--to", "safetensors", "--out", tmp_path / "model")
    assert status == 0
    assert f"{tmp_path}/model (evaluation " in out
    assert "the same logits as the search's own model, on 32 parts of photographs" in out
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "README.md",
        "card.json",
        "config.json",
        "model.safetensors",
    ]


def no_best(run: Path) -> Path:
    shutil.rmtree(run / "best")
    return run


def null_best(run: Path) -> Path:
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(result | {"best": None, "test": None}))
    return no_best(run)


def torn_best(run: Path) -> Path:
    card = json.loads((run / "best" / "config.json").read_text())
    (run / "best" / "config.json").write_text(json.dumps(card | {"evaluation": 77}))
    return run


def other_weights(run: Path) -> Path:
    path = run / "best" / "model.safetensors"
    owner = json.loads((run / "best" / "config.json").read_text())["evaluation"]
    tensors = load_file(path)
    tensors.pop("classifier.bias")
    save_file(tensors, path, {"evaluation": str(owner)})
    return run


def empty(run: Path) -> Path:
    shutil.rmtree(run)
    run.mkdir()
    return run


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda run: run / "nothing", "no such folder"),
        (lambda run: run.parent, "holds the searches run; name one of them"),
        (empty, "is no run directory"),
        (no_best, "has no best model yet; go on with --resume"),
        (null_best, "no evaluation succeeded"),
        (torn_best, "is not of evaluation 77"),
        (other_weights, "is damaged, or of another version"),
    ],
)
def test_what_is_no_best_model_is_one_line(
    typed: Typed, run: Path, tmp_path: Path, spoil: Callable[[Path], Path], says: str
) -> None:
    named, image, out = spoil(run), tmp_path / "image.png", tmp_path / "model"
    Image.new("RGB", (8, 8)).save(image)
    for words in (
        ("export", named, "--to", "safetensors", "--out", out),
        ("predict", named, image),
    ):
        status, said, err = typed(*words)
        assert (status, said, err.count("\n")) == (2, "", 1)
        assert says in err
    assert not out.exists()


@pytest.mark.parametrize(
    ("to", "out", "says"),
    [
        ("safetensors", "full", "is there already"),
        ("safetensors", "file", "is there already"),
        ("onnx", "file.onnx", "is there already"),
        ("onnx", "empty", "must end in .onnx"),
        ("torch-export", "model.pt", "must end in .pt2"),
        ("torch-export", "no/model.pt2", "no such folder"),
        ("safetensors", "s3://bucket/model", "is no local path"),
        ("safetensors", "model.safetensors", "is the name of a file; name a folder"),
        ("safetensors", "model.SafeTensors/", "is the name of a file; name a folder"),
        ("safetensors", "model.onnx", "is the name of a file; name a folder"),
        ("safetensors", "model.pt2", "is the name of a file; name a folder"),
        ("safetensors", "link", "is there already"),
        ("safetensors", "fifo", "is there already"),
        ("onnx", "dangling.onnx", "is there already"),
        ("torch-export", "fifo.pt2", "is there already"),
    ],
)
def test_nothing_is_overwritten(
    typed: Typed,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    to: str,
    out: str,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    for name in ("full/mine.txt", "file", "file.onnx"):
        (tmp_path / name).write_text("mine")
    for name in ("fifo", "fifo.pt2"):
        os.mkfifo(tmp_path / name)
    for name, target in {"link": "empty", "dangling.onnx": "new.onnx"}.items():
        (tmp_path / name).symlink_to(target)
    before = sorted(tmp_path.rglob("*"))
    status, _, err = typed("export", run, "--to", to, "--out", out)
    assert (status, err.count("\n")) == (2, 1)
    assert says in err
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file.onnx").read_text() == "mine"


def test_a_form_that_answers_otherwise_is_not_left_there(
    typed: Typed, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(searched: Any, folder: Path, card: str) -> None:
        export_run.write_folder(searched, folder, card)
        tensors = load_file(folder / "model.safetensors")
        tensors["classifier.bias"][3] += 1e-6
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    monkeypatch.setitem(export_run._FORMATS, "safetensors", (write, export_run._reopen_folder))
    status, _, err = typed("export", run, "--to", "safetensors", "--out", tmp_path / "model")
    assert status == 3
    assert "nothing was written: the exported model differs from the search's by" in err
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


def test_an_interrupted_search_gives_its_best_so_far(typed: Typed, tmp_path: Path) -> None:
    options = ("search.evaluations=9", "search.objective=macro_f1")
    run = make_run(tmp_path, "cut", *options, ended=False)
    status, out, _ = typed("export", run, "--to", "safetensors", "--out", tmp_path / "model")
    assert status == 0
    assert "This search is not finished (3/9): its best model so far." in out
    card = (tmp_path / "model/README.md").read_text()
    assert "**The search is not finished** (3/9)" in card
    best = json.loads((run / "best" / "config.json").read_text())["evaluation"]
    assert f"evaluation {best}, which had the best validation macro F1." in card
    assert "evaluations: 3 of 9 (3 ok)" in card
    assert "The test images have not been seen yet." in card


def test_a_search_that_ran_out_of_time_gives_its_best_and_its_test(
    typed: Typed, run: Path, tmp_path: Path
) -> None:
    """The search is of an earlier version, which had one form."""
    directory = RunDirectory(str(run))
    result = directory.outcome()
    assert result is not None
    directory.record_growth(9)
    directory.write_outcome(replace(result, stopped_by="time", test_looks=2, forms={}))
    status, out, _ = typed("export", run, "--to", "safetensors", "--out", tmp_path / "model")
    assert status == 0
    assert "This search is not finished (3/9): its best model so far." in out
    card = (tmp_path / "model/README.md").read_text()
    assert "the test images were seen 2 times, the last time by this model." in card


def test_without_its_data_set_a_model_is_tried_on_photographs(
    typed: Typed, run: Path, tmp_path: Path
) -> None:
    config = (run / "config.yaml").read_text().replace("source: digits", "source: folder")
    (run / "config.yaml").write_text(config.replace("root: null", "root: /gone/away"))
    words = ("export", run, "--to", "safetensors", "--compare-on-data", "--out")
    status, out, err = typed(*words, tmp_path / "model")
    assert status == 0, err
    assert "on 32 parts of photographs (the data set is not available here" in out


def test_the_data_set_is_opened_on_request_alone(typed: Typed, run: Path, tmp_path: Path) -> None:
    words = ("export", run, "--to", "safetensors", "--compare-on-data", "--out")
    status, out, err = typed(*words, tmp_path / "model")
    assert status == 0, err
    assert "the same logits as the search's own model, on 32 images of the data set" in out
    again = ("export", tmp_path / "model", *words[2:], tmp_path / "again")
    status, _, err = typed(*again)
    assert (status, "names no data set" in err) == (2, True)


@pytest.mark.slow
def test_a_run_directory_may_be_on_an_object_store(run: Path, tmp_path: Path) -> None:
    pixels = np.arange(3 * 32 * 32, dtype=np.uint8).reshape(32, 32, 3)
    with object_store() as uri:
        system, path = fs.FileSystem.from_uri(uri("run"))
        fs.copy_files(str(run), path, destination_filesystem=system)
        export_run.export_model(uri("run"), "safetensors", tmp_path / "model", "ensemble")
        system, path = fs.FileSystem.from_uri(uri("model"))
        fs.copy_files(str(tmp_path / "model"), path, destination_filesystem=system)
        places = {"run": run, "model": tmp_path / "model"}
        for name, near in places.items():
            answers = [revo_ray.load(place).predict(pixels) for place in (uri(name), near)]
            assert np.array_equal(answers[0].probabilities, answers[1].probabilities)


def test_bad_images_are_named_and_the_others_predicted(
    typed: Typed, exports: Exports, tmp_path: Path
) -> None:
    model = exports("timm", "safetensors").path
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), np.uint8)
    for name, image in zip(("a.png", "deep/b.jpg", "z.gif"), pixels, strict=True):
        Image.fromarray(image).save(folder / name)
    (folder / "bad.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("no image, and passed over")
    status, out, err = typed("predict", model, folder, "--top", 3, "--json")
    assert status == 3
    assert err.splitlines() == [
        f"revo-ray: {folder}/bad.png: not an image of a format that is read",
        "revo-ray: 1 of 4 images cannot be predicted",
    ]
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["path"] for line in lines] == [
        f"{folder}/{n}" for n in ("a.png", "bad.png", "deep/b.jpg", "z.gif")
    ]
    assert lines.pop(1)["error"] == "not an image of a format that is read"
    for line in lines:
        chances = [entry["probability"] for entry in line["top"]]
        assert len(chances) == 3
        assert chances == sorted(chances, reverse=True)
        assert line["top"][0] == {"label": line["label"], "probability": line["probability"]}

    status, out, _ = typed("predict", model, folder / "a.png")
    assert status == 0
    assert out == f"{folder}/a.png\t{lines[0]['label']}\t{lines[0]['probability']:.4f}\n"
    status, out, _ = typed("predict", model, folder / "a.png", "--top", 99, "--json")
    chances = {e["label"]: e["probability"] for e in json.loads(out)["top"]}
    assert len(chances) == 10
    assert sum(chances.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("model", "image", "says"),
    [
        ("model", "none.png", "no such file or folder"),
        ("model", "empty", "holds no image"),
        ("a.txt", "a.png", "cannot tell what"),
        ("best", "a.png", "name the run directory"),
        ("model.pt2", "a.png", "is code that can do whatever you can"),
        ("weights.safetensors", "a.png", "holds weights alone"),
        ("torn.pt2", "a.png", "cannot open"),
        ("torn.onnx", "a.png", "cannot open"),
    ],
)
def test_what_cannot_be_predicted_is_one_line(
    typed: Typed, exports: Exports, run: Path, tmp_path: Path, model: str, image: str, says: str
) -> None:
    if model.endswith(".onnx"):
        pytest.importorskip("onnxruntime")
    for name in ("a.txt", "torn.pt2", "torn.onnx", "model.pt2", "weights.safetensors"):
        (tmp_path / name).write_text("text")
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    places = {"model": exports("timm", "safetensors").path, "best": run / "best"}
    trust = ["--trust"] if model.startswith("torn") else []
    named = places.get(model, tmp_path / model)
    status, out, err = typed("predict", named, tmp_path / image, *trust)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert says in err


def test_a_card_names_the_data_sets_folder_and_not_its_server() -> None:
    root = "s3://bucket/private/birds?endpoint_override=http://10.0.0.5:9000"
    config = SearchConfig(data=DataConfig(source="folder", root=root))
    assert facts.data_name(config) == "`folder` (`birds`)"


class Recorder:
    """A model that keeps the batches that it is given."""

    def __init__(self, **changes: Any) -> None:
        self.batches: list[NDArray[np.uint8]] = []
        described = Description("timm/none", ("a", "b"), 512, (0.0,) * 3, (1.0,) * 3)
        self.model = Model(Classifier(replace(described, **changes), self.logits))

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.batches.append(images)
        return np.tile(np.float32([[0.0, np.log(3)]]), (len(images), 1))


def test_images_are_cut_as_tables_cut_them_in_batches_and_in_order(tmp_path: Path) -> None:
    """A large, turned JPEG, decoded at a reduced scale; ten images in batches of eight."""
    pixels = np.random.default_rng(1).integers(0, 256, (70, 90, 3), np.uint8)
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    paths = []
    for number in range(10):
        paths.append(tmp_path / f"{9 - number}.jpg")
        large = Image.fromarray(np.roll(pixels, 7 * number, 1)).resize((2700, 2100))
        large.save(paths[-1], exif=turned)
    recorder = Recorder()
    answers = recorder.model.predict(paths)
    assert [batch.shape for batch in recorder.batches] == [(8, 3, 512, 512), (2, 3, 512, 512)]
    wanted = [square(open_image(path.read_bytes()), 512) for path in paths]
    assert np.array_equal(np.concatenate(recorder.batches), np.stack(wanted))
    assert [answer.name for answer in answers] == [str(path) for path in paths]
    assert all(
        answer.top(2) == [("b", pytest.approx(0.75)), ("a", pytest.approx(0.25))]
        for answer in answers
    )


def test_a_zip_archive_of_images_is_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("L", (9, 9), 77).save(tmp_path / "in" / "grey.png")
    archive = shutil.make_archive(str(tmp_path / "images"), "zip", tmp_path / "in")
    recorder = Recorder()
    (answer,) = recorder.model.predict(archive)
    assert (answer.name, answer.error) == (f"{archive}/grey.png", None)
    assert (recorder.batches[0] == 77).all()


def test_images_are_seen_as_the_search_saw_them(tmp_path: Path) -> None:
    """A 12-bit panorama, for a model that was trained with bars and a range."""
    grey = np.linspace(0, 4095, 40 * 200).reshape(40, 200).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "a.png")
    recorder = Recorder(fit="pad", intensity=(0.0, 4095.0))
    (answer,) = recorder.model.predict(tmp_path / "a.png")
    assert answer.error is None
    (batch,) = recorder.batches
    wanted = to_8_bits(square(Image.fromarray(grey), 512, "pad"), 0, 4095)
    assert np.array_equal(batch[0], wanted)
    assert (batch[0][:, :200] == 0).all()
    assert np.ptp(batch) == 255
