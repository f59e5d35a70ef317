"""`revo_ray.load`: every form, here and on an object store, answers as its search does."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from pyarrow import fs
from safetensors.torch import load_file, save_file

import revo_ray
from revo_ray.data.files.decode import square
from revo_ray.data.files.formats import open_image
from revo_ray.data.files.intensity import shown
from revo_ray.errors import UserError
from revo_ray.model.classifier import Classifier
from revo_ray.model.description import Description
from revo_ray.model.export.export import export_model
from revo_ray.model.model import Model
from revo_ray.rundir.forms import FORMS, Form
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.settings.limits import MAX_PIXELS
from tests.model.all_modes import write_pictures
from tests.model.run_directories import make_run, probabilities
from tests.object_store import object_store

Pixels = NDArray[np.uint8]
ROOT = Path(revo_ray.__file__).parents[1]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread, as searches do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run directory `run` and the pictures `pictures`."""
    folder = tmp_path_factory.mktemp("loaded")
    make_run(folder, "run")
    write_pictures(folder / "pictures")
    return folder


@pytest.fixture(scope="module")
def pictures(place: Path) -> list[Path]:
    found = sorted((place / "pictures").iterdir())
    assert len(found) >= 40
    return found


@pytest.fixture(scope="module")
def pixels(pictures: list[Path]) -> Pixels:
    """The pictures as an image table holds them."""
    opened = (open_image(path.read_bytes(), path.name) for path in pictures)
    return np.stack([shown(square(image, 32), None) for image in opened])


def configured(place: Path, folder: Path, old: str, new: str) -> Path:
    """A copy of the run directory whose configuration says something else."""
    run = Path(shutil.copytree(place / "run", folder / "run"))
    text = (run / "config.yaml").read_text()
    assert old in text
    (run / "config.yaml").write_text(
        text.replace(old, new).replace(str(place), str(folder))  # where its image table is made
    )
    return run


@pytest.mark.parametrize("form", FORMS)
def test_a_run_directory_answers_as_its_search(
    place: Path, pictures: list[Path], pixels: Pixels, form: Form
) -> None:
    model = revo_ray.load(place / "run", form=form)
    answers = model.predict(pictures)
    wanted = probabilities(place / "run", form, pixels)
    assert np.abs(answers.probabilities - wanted).max() < 1e-4
    assert np.ptp(wanted, axis=0).max() > 0.01, "the pictures differ"
    assert answers.classes == model.classes == tuple("0123456789")
    assert not answers.errors
    assert [answer.name for answer in answers] == [str(path) for path in pictures]
    assert answers.labels == tuple(model.classes[row.argmax()] for row in wanted)
    assert isinstance(model.module, torch.nn.Module)
    with torch.inference_mode():
        logits = model.module(torch.stack([model.transform(path) for path in pictures]))
    assert np.abs(logits.softmax(1).numpy() - wanted).max() < 1e-4


def test_while_a_grown_search_replaces_its_ensemble_the_best_model_stands_for_it(
    place: Path, pixels: Pixels, tmp_path: Path
) -> None:
    run = configured(place, tmp_path, "result: best", "result: ensemble")
    images = pixels.transpose(0, 2, 3, 1)
    wanted = probabilities(run, "best", pixels)
    (run / "models" / "000000.safetensors").unlink()  # it fell out of the best few
    with pytest.raises(UserError, match="weights of a member are missing"):
        revo_ray.load(run)
    (run / "result.json").unlink()
    answers = revo_ray.load(run).predict(images)
    assert np.abs(answers.probabilities - wanted).max() < 1e-4


@pytest.mark.nightly
@pytest.mark.parametrize("far", [False, True])
def test_every_form_answers_the_same_here_and_on_an_object_store(
    place: Path, pictures: list[Path], pixels: Pixels, far: bool
) -> None:
    """Run directory and exports, of one model and of an ensemble; exports of an export too."""
    run, made = place / "run", place / "exports"
    if not made.exists():
        made.mkdir()
        for form in FORMS:
            export_model(str(run), "safetensors", made / form, form)
        export_model(str(run), "torch-export", made / "ensemble.pt2", "ensemble")
        export_model(str(made / "ensemble"), "onnx", made / "ensemble.onnx")
    files = ("ensemble.pt2", "ensemble.onnx", "best/model.safetensors")
    exports = [*FORMS, *files]
    wanted = {form: probabilities(run, form, pixels) for form in FORMS}

    def check(uri: Callable[[str], str]) -> None:
        for form in FORMS:
            answers = revo_ray.load(uri("run"), form=form).predict(pictures)
            assert np.abs(answers.probabilities - wanted[form]).max() < 1e-4
        for name in exports:
            model = revo_ray.load(uri(f"exports/{name}"), trust=True)
            form = name.partition(".")[0].partition("/")[0]
            found = model.predict(pictures).probabilities
            assert np.abs(found - wanted[form]).max() < 1e-4, name  # type: ignore[index]
            assert (model.module is None) == name.endswith(".onnx")

    if not far:
        check(lambda path: str(place / path))
        return
    with object_store() as uri:
        for folder in ("run", "exports"):
            system, path = fs.FileSystem.from_uri(uri(folder))
            fs.copy_files(str(place / folder), path, destination_filesystem=system)
        check(uri)


def test_without_a_form_the_recorded_one_is_taken_where_it_was_made(
    place: Path, tmp_path: Path
) -> None:
    run = configured(place, tmp_path, "result: best", "result: ensemble")
    grey = np.full((3, 32, 32), 100, np.uint8)

    def same(wanted_form: Form, **chosen: Any) -> bool:
        wanted = probabilities(run, wanted_form, grey[None])
        found = revo_ray.load(run, **chosen).predict(grey.transpose(1, 2, 0)).probabilities
        return bool(np.abs(found - wanted).max() < 1e-6)

    assert same("ensemble")
    assert not same("best")
    assert same("best", form="best")
    shutil.rmtree(run / "ensemble")
    assert same("best"), "an older or an unfinished search has its best model alone"
    with pytest.raises(UserError, match=r"--form ensemble: .* it has best, soup, plain"):
        revo_ray.load(run, form="ensemble")
    with pytest.raises(UserError, match="no form 'mean'"):
        revo_ray.load(run, form="mean")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model(place: Path) -> Model:
    return revo_ray.load(place / "run")


def test_pictures_of_pillow_are_read_as_their_files_are(model: Model, pictures: list[Path]) -> None:
    """Opened and not decoded yet; they are left as they were."""
    wanted = [model.transform(path) for path in pictures]
    opened = [Image.open(path) for path in pictures]
    before = [(image.size, image.mode) for image in opened]
    for _ in range(2):
        for path, image, pixels in zip(pictures, opened, wanted, strict=True):
            assert torch.equal(model.transform(image), pixels), path.name
    assert [(image.size, image.mode) for image in opened] == before
    for path, image, pixels in zip(pictures, opened, wanted, strict=True):
        image.load()
        found = model.transform(image)
        if path.suffix == ".jpg":  # training decodes a large one at a reduced scale
            assert (found.float() - pixels.float()).abs().mean() < 3, path.name
        else:
            assert torch.equal(found, pixels), path.name


@pytest.mark.parametrize(
    ("array", "as_image"),
    [
        (lambda rgb: rgb[:, :, 0], lambda rgb: Image.fromarray(rgb[:, :, 0])),
        (lambda rgb: rgb[:, :, :1], lambda rgb: Image.fromarray(rgb[:, :, 0])),
        (lambda rgb: rgb[:, :, :2], lambda rgb: Image.fromarray(rgb[:, :, :2])),
        (lambda rgb: rgb[:, :, :3], lambda rgb: Image.fromarray(rgb[:, :, :3])),
        (lambda rgb: rgb, Image.fromarray),
        (lambda rgb: rgb / 255, Image.fromarray),
        (lambda rgb: (rgb[:, :, :3] / 255).astype(np.float16), None),
        (lambda rgb: rgb[:, :, :3].astype(np.uint16) * 256 + 77, None),
        (lambda rgb: rgb[:, :, 0] > 99, lambda rgb: Image.fromarray(rgb[:, :, 0] > 99)),
        (lambda rgb: rgb[::-1, ::-1, :3], lambda rgb: Image.fromarray(rgb[::-1, ::-1, :3].copy())),
        (
            lambda rgb: rgb[:, :, 0].astype(np.uint16) * 250,
            lambda rgb: Image.fromarray(rgb[:, :, 0].astype(np.uint16) * 250),
        ),
        (lambda rgb: rgb[:, :, 0] / 255, lambda rgb: Image.fromarray(rgb[:, :, 0])),
    ],
)
def test_arrays_are_the_pictures_that_files_of_the_same_pixels_are(
    model: Model, array: Callable[[Pixels], Any], as_image: Callable[[Pixels], Image.Image] | None
) -> None:
    rgba = np.random.default_rng(3).integers(0, 256, (40, 60, 4), np.uint8)
    wanted = (as_image or (lambda rgba: Image.fromarray(rgba[:, :, :3])))(rgba)
    found = model.predict(array(rgba))
    assert not found.errors
    assert np.array_equal(found.probabilities, model.predict(wanted).probabilities)


@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.int64, np.float32, np.float64])
def test_grey_values_lie_in_the_range_of_a_search_that_had_one(kind: Any) -> None:
    described = Description("timm/none", ("a",), 32, (0.5,) * 3, (0.5,) * 3, "crop", (10.0, 500.0))
    model = Model(Classifier(described, lambda images: np.zeros((len(images), 1), np.float32)))
    grey = np.linspace(0, 1000, 32 * 32).reshape(32, 32).astype(kind)
    wanted = np.rint((grey.astype(float) - 10) * 255 / 490).clip(0, 255)
    assert np.abs(model.transform(grey).numpy() - wanted).max() <= 1
    byte = np.arange(32 * 32).reshape(32, 32).astype(np.uint8)
    assert np.array_equal(model.transform(byte)[1].numpy(), byte)


@pytest.mark.parametrize("exported", [False, True])
def test_an_image_may_be_as_large_as_in_the_search(
    place: Path, tmp_path: Path, exported: bool
) -> None:
    """An export keeps the limit too; a file of an older version has the default."""
    run = configured(place, tmp_path, f"max_pixels: {MAX_PIXELS}", "max_pixels: 100")
    made = run
    if exported:
        made = tmp_path / "out"
        export_model(str(run), "safetensors", made)
    model = revo_ray.load(made)
    small, large = model.predict([np.zeros(shape, np.uint8) for shape in ((10, 10), (10, 11))])
    assert small.error is None
    assert large.error == "110 pixels, over data.max_pixels: 100"
    if exported:
        config = json.loads((made / "config.json").read_text())
        del config["max_pixels"]
        (made / "config.json").write_text(json.dumps(config))
        assert not revo_ray.load(made).predict(np.zeros((10, 11), np.uint8)).errors


def test_one_or_many_of_any_kind_together(model: Model, pictures: list[Path]) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (4, 40, 60, 3), np.uint8)
    mixed = model.predict([str(pictures[0]), pictures[1], Image.fromarray(pixels[0]), pixels[1]])
    assert [answer.name for answer in mixed] == [*map(str, pictures[:2]), "image 2", "image 3"]
    batch = model.predict(pixels).probabilities
    assert np.allclose(mixed.probabilities[2:], batch[:2], atol=1e-6)
    assert np.allclose(model.predict(iter(pixels)).probabilities, batch)
    folder = model.predict(pictures[0].parent)
    assert [answer.name for answer in folder] == [str(path) for path in pictures]
    assert mixed[1:3].labels == mixed.labels[1:3]
    first = mixed[0]
    assert first.top(3)[0] == (first.label, first.probabilities.max())
    assert sum(chance for _, chance in first.top(99)) == pytest.approx(1)
    assert model.predict([]).probabilities.shape == (0, 10)


def test_a_bad_image_is_a_row_with_its_error(model: Model, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    good = np.zeros((9, 9), np.uint8)
    bad: list[Any] = [
        tmp_path / "bad.png",
        np.zeros((3, 40, 60), np.uint8),  # channels first
        np.zeros((9, 9, 7)),
        np.zeros((0, 9)),
        np.zeros(9),
        np.full((9, 9, 3), 2.5),
        np.full((9, 9, 3), np.nan),
        np.full((9, 9, 3), -1, np.int16),
        np.full((9, 9), 100.0),  # a range that the model has not seen
        np.full((9, 9), 100, np.int64),
        np.array([["a"]]).reshape(1, 1)[0:1].astype("S1"),
    ]
    answers = model.predict([good, *bad, good])
    assert [answer.error is None for answer in answers] == [True, *[False] * len(bad), True]
    assert np.isnan(answers.probabilities[1:-1]).all()
    assert answers.labels[1:-1] == (None,) * len(bad)
    assert answers[1].top() == []
    assert len(answers.errors) == len(bad)
    assert np.array_equal(answers.probabilities[0], answers.probabilities[-1])
    with pytest.raises(UserError, match="not an image of a format"):
        model.transform(tmp_path / "bad.png")


def in_buffer(kind: str) -> io.BytesIO:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 30)).save(buffer, kind)
    return buffer


def of_closed_buffer(kind: str, path: Path) -> Image.Image:
    buffer = in_buffer(kind)
    image = Image.open(buffer)
    buffer.close()
    return image


def after_its_block(kind: str, path: Path) -> Image.Image:
    path.write_bytes(in_buffer(kind).getvalue())
    with Image.open(path) as image:
        pass
    return image


def closed(kind: str, path: Path) -> Image.Image:
    image = Image.open(in_buffer(kind))
    image.close()
    return image


def closed_after_load(kind: str, path: Path) -> Image.Image:
    image = Image.open(in_buffer(kind))
    image.load()
    image.close()
    return image


@pytest.mark.parametrize("close", [of_closed_buffer, after_its_block, closed, closed_after_load])
@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "bmp", "gif"])
def test_a_closed_picture_is_a_row_with_its_error(
    model: Model, tmp_path: Path, close: Callable[[str, Path], Image.Image], kind: str
) -> None:
    image, good = close(kind, tmp_path / "a"), np.zeros((9, 9), np.uint8)
    answers = model.predict([good, image, good])
    assert [answer.error is None for answer in answers] == [True, False, True]
    assert answers.errors["image 1"].startswith("it is closed; open it again")
    with pytest.raises(UserError, match="image 0: it is closed"):
        model.transform(image)


def test_a_picture_that_was_decoded_before_its_file_was_closed_is_read(model: Model) -> None:
    with in_buffer("png") as buffer:
        image = Image.open(buffer)
        image.load()
    assert not model.predict(image).errors


def test_each_frame_of_an_iterator_is_itself(model: Model) -> None:
    frames = [Image.fromarray(np.full((32, 32), 20 * n, np.uint8)) for n in range(12)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "tiff", save_all=True, append_images=frames[1:])
    found = model.predict(ImageSequence.Iterator(Image.open(buffer)))
    assert np.allclose(found.probabilities, model.predict(frames).probabilities)


def test_a_path_may_be_in_any_wrapping(model: Model, pictures: list[Path]) -> None:
    path = str(pictures[0])
    wanted = model.predict(path)
    for wrapped in (
        np.array(path),
        np.array(path, object),
        np.array([path]),
        np.str_(path),
        os.scandir(pictures[0].parent),
        iter([pictures[0]]),
    ):
        found = model.predict(wrapped)
        assert not found.errors
        answer = next(each for each in found if each.name == path)
        assert np.allclose(answer.probabilities, wanted.probabilities[0], atol=1e-6)


@pytest.mark.parametrize("number", [np.array(3), np.array(0.5), np.array(True), np.array(b"a.png")])
def test_an_array_without_dimensions_is_no_picture(model: Model, number: NDArray[Any]) -> None:
    (answer,) = model.predict(number)
    assert answer.error is not None
    assert "an array of shape ()" in answer.error


@pytest.mark.parametrize(
    "thing",
    [
        io.BytesIO(b"bytes"),
        torch.tensor(3),
        3,
        None,
        b"bytes",
        [1.5],
        torch.zeros(3, 9, 9),
        {"a": 1}.items(),
    ],
)
def test_what_is_no_image_is_one_line(model: Model, thing: Any) -> None:
    with pytest.raises(UserError, match=r"image 0 is a .*; give a path|no such folder"):
        model.predict(thing)


def test_a_bf16_search_is_loaded_in_its_precision(place: Path, tmp_path: Path) -> None:
    run = configured(place, tmp_path, "precision: fp32", "precision: bf16")
    pixels = np.random.default_rng(3).integers(0, 256, (5, 3, 32, 32), np.uint8)
    found = revo_ray.load(run, form="ensemble").predict(pixels.transpose(0, 2, 3, 1))
    assert np.abs(found.probabilities - probabilities(run, "ensemble", pixels)).max() < 1e-4
    fp32 = probabilities(place / "run", "ensemble", pixels)
    assert np.abs(found.probabilities - fp32).max() > 1e-4


@pytest.mark.parametrize("page", ["README.md", "docs/taking-away.md"])
def test_the_lines_of_the_documents_run(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), flags=re.S | re.M)
    (lines,) = [block for block in blocks if "revo_ray.load(" in block]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "revo_results").mkdir()
    for name in ("photos", "run"):
        (tmp_path / "revo_results" / name).symlink_to(place / "run")
    (tmp_path / "photos").symlink_to(place / "pictures")
    here: dict[str, Any] = {}
    exec(lines, here)
    assert here["answers"].probabilities.shape == (len([*(place / "pictures").iterdir()]), 10)


# what is none, or wants to do harm


def spoilt(folder: Path, **changes: Any) -> Path:
    config = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        section, _, inner = key.partition("__")
        if inner:
            config[section][inner] = value
        else:
            config[section] = value
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def single(place: Path, tmp_path: Path) -> Path:
    """An exported folder of one network, to spoil."""
    export_model(str(place / "run"), "safetensors", tmp_path / "single", "best")
    return tmp_path / "single"


@pytest.fixture
def ensemble(place: Path, tmp_path: Path) -> Path:
    """An exported folder of an ensemble, to spoil."""
    export_model(str(place / "run"), "safetensors", tmp_path / "ensemble", "ensemble")
    return tmp_path / "ensemble"


@pytest.mark.parametrize(
    "changes",
    [
        {"label_names": "0123456789"},
        {"label_names": [*range(10)]},
        {"label_names": []},
        {"label_names": None},
        {"label_names": ["a"] * 11},
        {"num_classes": 10**12},
        {"library_name": "os"},
        {"library_name": None},
        {"pretrained_cfg": []},
        {"pretrained_cfg": None},
        {"pretrained_cfg__mean": [0.5]},
        {"pretrained_cfg__mean": ["a", "b", "c"]},
        {"pretrained_cfg__std": [0, 1, 1]},
        {"pretrained_cfg__std": [1e999, 1, 1]},
        {"pretrained_cfg__input_size": [3, 10**9, 10**9]},
        {"pretrained_cfg__input_size": [3, -32, -32]},
        {"pretrained_cfg__input_size": [3, 32, 32.5]},
        {"pretrained_cfg__input_size": "32"},
        {"intensity": [5]},
        {"intensity": [9, 2]},
        {"intensity": "dark"},
        {"max_pixels": 0},
        {"max_pixels": "many"},
        {"architecture": None},
        {"architecture": "../../evil"},
        {"architecture": "hf-hub:timm/resnet18.a1_in1k"},
        {"architecture": "resnet18"},
        {"model_args": {"no_such": 1}},
        {"model_args": {"pretrained_cfg": {"file": "/etc/passwd"}}},
        {"model_args": {"checkpoint_path": "/etc/passwd"}},
        {"model_args": {"num_classes": 11}},
        {"model_args": {"img_size": [32, 64]}},
        {"model_args": {"window_size": [[0, 0]]}},
        {"model_args": {"window_size": [1] * 10**4}},
        {"model_args": {"global_pool": "a b"}},
        {"model_args": {"fc_norm": 1}},
        {"model_args": [1]},
        {"label_names": [*"012345678", "\ud800"]},
        {"pretrained_cfg__mean": [10**400, 1, 1]},
        {"pretrained_cfg__classifier": 5},
        {"pretrained_cfg__classifier": "no.such.layer"},
        {"pretrained_cfg__classifier": [[1]]},
        {"pretrained_cfg__classifier": {}},
    ],
)
def test_a_description_of_wrong_types_is_one_line(single: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(
        UserError, match=r"does not describe an exported model|cannot load"
    ) as error:
        revo_ray.load(spoilt(single, **changes))
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    "members",
    [
        [{"folder": "../single", "share": 1.0}],
        [{"folder": "/etc", "share": 1.0}],
        [{"folder": "", "share": 1.0}],
        [{"folder": ".", "share": 1.0}],
        [{"folder": "a/b", "share": 1.0}],
        [{"folder": ["a"], "share": 1.0}],
        [{"folder": 3, "share": 1.0}],
        [{"folder": "evaluation-0", "share": 0.5}],
        [{"folder": "evaluation-0", "share": "all"}],
        [{"folder": "evaluation-0", "share": 1e999}],
        [{"folder": "evaluation-0", "share": 2.0}, {"folder": "evaluation-1", "share": -1.0}],
        [{"folder": "evaluation-0", "share": 0.5}] * 2,
        [{"folder": f"m{n}", "share": 1e-6} for n in range(10**4)],
        [{"folder": "gone", "share": 1.0}],
        [],
        {},
        "evaluation-0",
        None,
        [None],
        ["evaluation-0"],
    ],
    ids=lambda members: str(members)[:40],
)
def test_members_that_are_none_are_one_line(ensemble: Path, members: Any) -> None:
    with pytest.raises(UserError, match=r"does not describe an (ensemble|exported model)"):
        revo_ray.load(spoilt(ensemble, members=members))


def test_a_member_that_is_another_model_is_refused(ensemble: Path) -> None:
    spoilt(ensemble / "evaluation-0", label_names=[*"9876543210"])
    with pytest.raises(UserError, match="evaluation-0 is not a model of the ensemble"):
        revo_ray.load(ensemble)


def no_weights(folder: Path) -> Path:
    (folder / "model.safetensors").unlink()
    return folder


def torn_weights(folder: Path) -> Path:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    return folder


def fewer_weights(folder: Path) -> Path:
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("classifier.bias")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def other_name(folder: Path) -> Path:
    return (folder / "model.safetensors").rename(folder / "other.safetensors")


def lone_weights(folder: Path) -> Path:
    return Path(shutil.copy(folder / "model.safetensors", folder.parent / "model.safetensors"))


def empty(folder: Path) -> Path:
    (folder.parent / "empty").mkdir()
    return folder.parent / "empty"


def program(folder: Path) -> Path:
    path = folder.parent / "model.pt2"
    path.write_bytes(b"anything: it is not looked at")
    return path


def no_labels(folder: Path) -> Path:
    onnx = pytest.importorskip("onnx")
    helper, path = onnx.helper, folder.parent / "model.onnx"
    value = helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1])
    graph = helper.make_graph([], "nothing", [value], [value])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path


def text(folder: Path) -> Path:
    return folder / "README.md"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (no_weights, "has no model.safetensors"),
        (torn_weights, "cannot load"),
        (fewer_weights, "cannot load"),
        (other_name, "holds weights alone"),
        (lone_weights, "holds weights alone"),
        (empty, "is no run directory"),
        (program, "is code that can do whatever you can; .*--trust"),
        (no_labels, "has no labels in its metadata|cannot open"),
        (text, "cannot tell what"),
        (lambda folder: folder / "gone", "no such folder"),
        (lambda folder: folder / "gone.onnx", "no such file"),
        (lambda folder: "ftp://host/model", "cannot open"),
        (lambda folder: "s3://key:secret@bucket/model", "holds credentials"),
    ],
)
def test_what_is_no_model_is_one_line(
    single: Path, spoil: Callable[[Path], Path], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        revo_ray.load(spoil(single))


def test_a_study_or_a_folder_of_a_run_is_told_from_a_run(place: Path) -> None:
    with pytest.raises(UserError, match=r"holds the searches run; name one of them"):
        revo_ray.load(place)
    for part in ("best", "best/model.safetensors", "ensemble", "soup"):
        with pytest.raises(UserError, match="name the run directory"):
            revo_ray.load(place / "run" / part)
    with pytest.raises(UserError, match="weights alone"):
        revo_ray.load(place / "run" / "models" / "000000.safetensors")
    with pytest.raises(UserError, match="is no run directory"):
        revo_ray.load(place / "run" / "models")


def test_a_form_belongs_to_a_run_directory(single: Path) -> None:
    with pytest.raises(UserError, match=r"--form best: .* is no run directory"):
        revo_ray.load(single, form="best")


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
def test_a_file_has_no_forms(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"anything: it is not looked at")
    with pytest.raises(UserError, match=r"--form soup: .* is no run directory, it holds one model"):
        revo_ray.load(tmp_path / name, form="soup", trust=True)


@pytest.mark.parametrize(
    "changes",
    [
        *({"classes": classes} for classes in (5, None, "0123456789", [], [*range(10)], {"a": 1})),
        *({"classes": classes} for classes in ([["a"]], [*"012345678", "\ud800"], ["a"] * 9)),
        *({"image_size": size} for size in ("a", None, [32], 32.5, -1, 0, 10**12, True, "32")),
        *({"mean": mean} for mean in ([1], 5, None, "abc", ["a"] * 3, [[1]] * 3, [10**400] * 3)),
        *({"std": std} for std in ([1], 5, None, [0, 1, 1], [float("nan")] * 3, {})),
        *({"intensity": limits} for limits in (5, [5], [9, 2], "ab", [None, None])),
        *({"units": units} for units in (5, None, "abc")),
    ],
    ids=str,
)
def test_a_model_folder_of_wrong_types_is_one_line(
    place: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    run = Path(shutil.copytree(place / "run", tmp_path / "run"))
    spoilt(run / "best", **changes)
    for use in (
        revo_ray.load,
        lambda path: export_model(str(path), "safetensors", tmp_path / "out"),
    ):
        with pytest.raises(UserError, match=r"best\S* is damaged") as error:
            use(run)
        assert len(str(error.value)) < 500
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_members_weights_that_are_gone_are_told(place: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(place / "run", tmp_path / "run"))
    directory = RunDirectory(str(run))
    directory.members.delete(1)
    with pytest.raises(UserError, match=r"ensemble is damaged: weights of a member are missing"):
        revo_ray.load(run, form="ensemble")
    assert revo_ray.load(run, form="best")
