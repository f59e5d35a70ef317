"""Every form of a model answers as the search's own does: here, and where revo-ray is not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from revo_ray.data.image_records import Problem
from revo_ray.model.classifier import Classifier
from revo_ray.model.export.export import export_model
from revo_ray.model.predict import find_images, open_model, predict
from revo_ray.objective import METRICS
from tests.model.export.conftest import Exports
from tests.model.export.runs import MODELS, searched_tuner, write_test_images

LIBRARIES = tuple(MODELS)
FORMS = ("safetensors", "torch-export", "onnx")
MARKED_FORMS = (FORMS[0], *(pytest.param(form, marks=pytest.mark.slow) for form in FORMS[1:]))
"""The forms for tests; torch takes seconds to write the last two."""

Answers = Mapping[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def test_images(
    searches: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Path], list[str]]:
    """The test images of both searches, which are the same, and their labels."""
    return write_test_images(searches["timm"], tmp_path_factory.mktemp("images") / "test")


def predicted(classifier: Classifier, images: list[Path]) -> list[str]:
    found, problems = find_images([str(image) for image in images])
    assert not problems
    labels = []
    for answer in predict(classifier, found):
        assert not isinstance(answer, Problem)
        labels.append(answer.top[0][0])
    return labels


@pytest.mark.slow
@pytest.mark.parametrize("form", ["run directory", *MARKED_FORMS])
@pytest.mark.parametrize("library", LIBRARIES)
def test_every_form_scores_on_image_files_what_the_search_reported(
    searches: dict[str, Path],
    exports: Exports,
    test_images: tuple[list[Path], list[str]],
    library: str,
    form: str,
) -> None:
    run = searches[library]
    model = run if form == "run directory" else exports(library, form).path
    images, truth = test_images
    labels = predicted(open_model(str(model)), images)
    own = searched_tuner(run).predict("test").argmax(1)
    assert labels == [str(label) for label in own.tolist()]
    accuracy = np.mean([label == true for label, true in zip(labels, truth, strict=True)])
    result = json.loads((run / "result.json").read_text())
    assert accuracy == pytest.approx(result["test"]["accuracy"], abs=1e-12)


def test_the_labels_are_those_of_the_card_in_its_order(
    searches: dict[str, Path], test_images: tuple[list[Path], list[str]], tmp_path: Path
) -> None:
    """Classes are sorted as their data set wants it: here in an order that nobody would make."""
    run = shutil.copytree(searches["timm"], tmp_path / "run")
    names = ["zebra", "10", "2", "ant", "é", "b c", "A", "0", "y", "_"]
    card = json.loads((run / "best" / "config.json").read_text())
    (run / "best" / "config.json").write_text(json.dumps(card | {"classes": names}))
    own = searched_tuner(run).predict("test").argmax(1).tolist()
    export_model(str(run), "safetensors", tmp_path / "folder")
    for model in (run, tmp_path / "folder"):
        labels = predicted(open_model(str(model)), test_images[0])
        assert labels == [names[label] for label in own]


WITHOUT_THIS_PACKAGE = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("revo_ray", "baselines"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
try:
    import revo_ray
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("revo_ray can be imported")
import json, pathlib, re, numpy, torch
torch.set_num_threads(1)
torch.set_grad_enabled(False)
stored = numpy.load("stored.npy")
whole, one = {}, {}
for name in sys.argv[1:]:
    use, cut = re.findall("```python\\n(.*?)```", pathlib.Path(name + ".md").read_text(), re.S)
    here = {}
    exec(cut, here)  # an image file to `images`
    if name.endswith((".onnx", ".pt2")):
        if name.endswith(".pt2"):
            here["images"] = torch.from_numpy(here["images"].copy())
        exec(use, here)  # `images` to `logits`
        one[name] = numpy.asarray(here["logits"])
        if name.endswith(".onnx"):
            whole[name] = here["session"].run(None, {"images": stored})[0]
        else:
            whole[name] = here["model"](torch.from_numpy(stored)).numpy()
    else:
        exec(use, here)
        normalised = numpy.load(name + ".npy")
        whole[name] = here["model"](torch.from_numpy(normalised)).numpy()
        if "logits" in here:
            one[name] = here["logits"].numpy()
        else:
            x = torch.from_numpy(here["images"].copy())
            config = here["config"]["pretrained_cfg"]
            mean, std = (torch.tensor(config[k]).view(3, 1, 1) for k in ("mean", "std"))
            one[name] = here["model"]((x / 255 - mean) / std).numpy()
numpy.savez("whole.npz", **whole)
numpy.savez("one.npz", **one)
"""


def card_of(path: Path) -> str:
    """The model card, from where each form carries it."""
    if path.is_dir():
        return (path / "README.md").read_text()
    if path.suffix == ".onnx":
        import onnx

        return str(onnx.load(path).doc_string)
    extra = {"README.md": ""}
    torch.export.load(path, extra_files=extra)
    return extra["README.md"]


@pytest.fixture(scope="module")
def answers(
    searches: dict[str, Path], exports: Exports, test_images: tuple[list[Path], list[str]]
) -> tuple[Answers, Answers]:
    """Logits of all test images, and of the first one, by the names of the exported files.

    One process computes them, with the code of the model cards and without this package.
    """
    paths = [exports(library, form).path for library in LIBRARIES for form in FORMS]
    work = exports.folder
    for path in paths:
        (work / f"{path.name}.md").write_text(card_of(path))
    (work / "image.png").write_bytes(test_images[0][0].read_bytes())
    for library in LIBRARIES:
        tuner = searched_tuner(searches[library])
        feed = tuner.feeds["test"]
        stored = feed.pixels(torch.arange(len(feed)))
        np.save(work / "stored.npy", stored.numpy())
        np.save(work / f"{library}.npy", tuner.normalise(stored).numpy())
    done = subprocess.run(
        [sys.executable, "-P", "-c", _with_image(WITHOUT_THIS_PACKAGE), *(p.name for p in paths)],
        cwd=work,
        capture_output=True,
        text=True,
        timeout=200,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return np.load(work / "whole.npz"), np.load(work / "one.npz")


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_the_code_of_the_model_card_loads_it_without_this_package(
    searches: dict[str, Path], exports: Exports, answers: tuple[Answers, Answers], library: str
) -> None:
    """The folder exactly, ONNX within 1e-4: against what the search itself computes."""
    own = searched_tuner(searches[library]).predict("test").numpy()
    whole, one = answers
    folder, program, onnx_file = (exports(library, form).path.name for form in FORMS)
    assert np.array_equal(whole[folder], own)
    assert np.abs(whole[program] - own).max() <= 1e-6
    assert 0 < np.abs(own).max() < 100
    assert np.abs(whole[onnx_file] - own).max() <= 1e-4
    for name in (folder, program, onnx_file):
        assert one[name].shape == (1, 10)
        assert np.abs(one[name] - own[:1]).max() <= 1e-4, name


def _with_image(script: str) -> str:
    """The card's lines for timm start from an open image, as its other ones do."""
    opened = 'import PIL.Image; here["image"] = PIL.Image.open("image.png")'
    return script.replace("exec(use, here)\n", f"{opened}; exec(use, here)\n")


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_an_onnx_file_says_what_it_takes(exports: Exports, library: str) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exports(library, "onnx").path)
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    (taken,), (given,) = model.graph.input, model.graph.output
    assert (taken.name, given.name) == ("images", "logits")
    assert taken.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    sizes = [d.dim_param or d.dim_value for d in taken.type.tensor_type.shape.dim]
    assert sizes == ["batch", 3, 32, 32]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["labels"]) == [str(digit) for digit in range(10)]
    assert (metadata["image_size"], metadata["model"]) == ("32", MODELS[library])
    assert json.loads(metadata["mean"]) == [0.485, 0.456, 0.406]


@pytest.mark.parametrize("form", MARKED_FORMS)
def test_no_path_of_this_machine_is_in_an_export(exports: Exports, form: str) -> None:
    path = exports("timm", form).path
    files = [path] if path.is_file() else sorted(path.iterdir())
    content = b"".join(file.read_bytes() for file in files)
    assert not re.findall(rb"/(?:tmp|home|root|site-packages)/.{40}", content)


def test_a_folder_has_what_the_hub_wants(exports: Exports) -> None:
    path = exports("timm", "safetensors").path
    config = json.loads((path / "config.json").read_text())
    assert config["architecture"] == "test_efficientnet"
    assert (config["num_classes"], config["num_features"]) == (10, 256)
    assert config["label_names"] == [str(digit) for digit in range(10)]
    images = config["pretrained_cfg"]
    assert images["input_size"] == [3, 32, 32]
    assert (images["interpolation"], images["crop_pct"]) == ("bicubic", 1.0)
    assert images["classifier"] == "classifier"
    assert not {"url", "hf_hub_id", "license"} & images.keys()


def test_the_card_tells_data_plan_budget_and_scores(
    searches: dict[str, Path], exports: Exports
) -> None:
    card = (exports("torchvision", "safetensors").path / "README.md").read_text()
    run = searches["torchvision"]
    result = json.loads((run / "result.json").read_text())
    best = json.loads((run / "best" / "config.json").read_text())
    plan = json.loads((run / "best" / "plan.json").read_text())
    for unit, rate in zip(best["units"], plan["unit_lrs"], strict=True):
        assert f"| `{unit}` | {rate:.6g} |" in card
    assert f"{plan['unit_lrs'].count(0)} of {len(best['units'])} units frozen" in card
    test = result["test"]
    titles = [metric.title for metric in METRICS.values()]
    assert f"| images | {' | '.join(titles)} |" in card
    assert f"| test | {' | '.join(f'{test[name]:.4f}' for name in METRICS)} |" in card
    assert "evaluations: 2 of 2 (2 ok)" in card
    assert "not finished" not in card
    assert f"torch {torch.__version__.partition('+')[0]}" in card
