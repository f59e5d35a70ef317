"""Every format of a model answers as the search's own does, and holds what its readers want."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import revo_ray
from revo_ray.errors import UserError
from revo_ray.model.export.export import export_model
from revo_ray.objective import METRICS
from tests.model.export.conftest import Exports
from tests.model.export.runs import MODELS, searched_tuner, write_test_images

LIBRARIES = tuple(MODELS)
FORMS = ("safetensors", "torch-export", "onnx")
MARKED_FORMS = (FORMS[0], *(pytest.param(form, marks=pytest.mark.slow) for form in FORMS[1:]))
"""The forms for tests; torch takes seconds to write the last two."""


@pytest.fixture(scope="module")
def test_images(
    searches: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Path], list[str]]:
    """The test images of both searches, which are the same, and their labels."""
    return write_test_images(searches["timm"], tmp_path_factory.mktemp("images") / "test")


def predicted(model: Path, images: list[Path]) -> list[str | None]:
    return [*revo_ray.load(model, trust=True).predict(images).labels]


@pytest.mark.sample(4)
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
    labels = predicted(model, images)
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
        labels = predicted(model, test_images[0])
        assert labels == [names[label] for label in own]


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
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
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
    cells = {name: f"{test[name]:.4f}" for name in METRICS}
    cells["accuracy"] += " (0.2500–0.7500)"
    assert f"| test | {' | '.join(cells.values())} |" in card
    assert "| validation, cross-fitted | 1.6250 | 0.4375 | – | – | – |" in card
    assert "This model was tested once; with the other forms of the search, the test" in card
    splits = ", ".join(
        f"{result['splits'][key]} {name}"
        for key, name in (("train", "training"), ("validation", "validation"), ("test", "test"))
    )
    assert f"- images: {splits}\n" in card
    assert "evaluations: 3 of 3 (3 ok)" in card
    assert "not finished" not in card
    assert "started from (random weights)" in card
    assert f"torch {torch.__version__.partition('+')[0]}" in card


def test_the_card_of_an_ensemble_tells_of_its_members(exports: Exports) -> None:
    path = exports("timm", "safetensors", "ensemble").path
    text = (path / "README.md").read_text()
    assert "an ensemble of 2 evaluations: the weighted mean of their probabilities" in text
    assert "| 0 | 0.25 | 0 of 18 units frozen, rate 1e-3, head 1e-3 |" in text
    assert "| 1 | 0.75 | 0 of 18 units frozen, rate 1e-2, head 1e-2 |" in text
    config = json.loads((path / "config.json").read_text())
    assert config["members"] == [
        {"folder": "evaluation-0", "share": 0.25},
        {"folder": "evaluation-1", "share": 0.75},
    ]


def test_an_export_of_an_export_says_the_same(exports: Exports, tmp_path: Path) -> None:
    """All but the lines of the format stand in the folder, beside its card."""
    folder = exports("timm", "safetensors", "ensemble").path
    done = export_model(str(folder), "torch-export", tmp_path / "again.pt2")
    assert done.subject == "ensemble of 2 evaluations"

    def parts(card: str) -> list[str]:
        return [part for part in card.split("\n## ") if not part.startswith("Use")]

    extra = {"README.md": ""}
    torch.export.load(tmp_path / "again.pt2", extra_files=extra)
    assert parts(extra["README.md"]) == parts((folder / "README.md").read_text())
    bare = Path(shutil.copytree(folder, tmp_path / "bare"))
    (bare / "card.json").write_text("{")
    with pytest.raises(UserError, match=r"card.json' is damaged; delete it"):
        export_model(str(bare), "safetensors", tmp_path / "third")
    (bare / "card.json").unlink()
    export_model(str(bare), "safetensors", tmp_path / "third")
    assert "which classifies images into 10 classes" in (tmp_path / "third/README.md").read_text()
    with pytest.raises(UserError, match="is an exported file"):
        export_model(str(tmp_path / "again.pt2"), "safetensors", tmp_path / "fourth")
