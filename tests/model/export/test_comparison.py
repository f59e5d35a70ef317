"""The check of an exported model: it lets through what is the same model, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from revo_ray.errors import SearchError
from revo_ray.finetune.network.backbone import load_backbone
from revo_ray.model.classifier import Classifier, Normalised, torch_classifier
from revo_ray.model.description import Description
from revo_ray.model.export import export
from revo_ray.model.loaded_model import LoadedModel, Member
from tests.properties import examples

LABELS = ("zebra", "2", "10", 'ünï, "quoted"')
"""In no order that a program could sort them into."""
SIZE = 8
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, SIZE, SIZE), np.uint8)
DESCRIPTION = Description("timm/small", LABELS, SIZE, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


class Head(nn.Module):
    """Logits (N, 4) of the given size; one of them is `largest`."""

    def __init__(self, largest: float) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layer = nn.Linear(3 * SIZE * SIZE, len(LABELS))
        self.largest = largest

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.layer(images.flatten(1))) * self.largest


def model_of(network: nn.Module, description: Description = DESCRIPTION, head: str = "") -> Any:
    return LoadedModel(description, (Member("model", 1.0, network),), head)


@pytest.fixture(autouse=True)
def few_images() -> Iterator[None]:
    """Six images in place of a data set's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "sample_images", lambda *_: (IMAGES, "six images"))
        yield


def spoilt(network: nn.Module, error: float, image: int, label: int, *, alone: bool) -> Classifier:
    """A classifier that errs in one logit: of an image in the batch, or of a single image."""
    own = torch_classifier(Normalised(network, DESCRIPTION), DESCRIPTION)

    def logits(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        found = own.logits(images).copy()
        if alone == (len(images) == 1):
            found[min(image, len(images) - 1), label] += error
        return found

    return Classifier(DESCRIPTION, logits)


def largest_logit(network: nn.Module) -> float:
    own = torch_classifier(Normalised(network, DESCRIPTION), DESCRIPTION)
    return float(np.abs(own.logits(IMAGES)).max())


PLACES = {"image": st.integers(0, 5), "label": st.integers(0, 3), "alone": st.booleans()}


@examples(60)
@given(
    largest=st.sampled_from([0.01, 1.0, 30.0, 1e4]),
    part=st.one_of(st.floats(0, 0.8), st.floats(1.25, 1e4)),
    sign=st.sampled_from([-1, 1]),
    **PLACES,
)
def test_a_logit_may_differ_by_a_ten_thousandth_and_no_more(
    largest: float, part: float, sign: int, image: int, label: int, alone: bool
) -> None:
    """The scale is the largest logit, if it is above 1. A folder of weights may not differ."""
    network = Head(largest).eval()
    allowed = 1e-4 * max(1.0, largest_logit(network))
    wrong = spoilt(network, sign * part * allowed, image, label, alone=alone)
    model = model_of(network)
    if part > 1:
        with pytest.raises(SearchError, match=r"nothing was written: .* differs .* on six images"):
            export._compare(model, wrong, exact=False)
    else:
        difference, _ = export._compare(model, wrong, exact=False)
        # The logits are float32, and a small error is lost in a large one.
        assert difference == pytest.approx(part * allowed, abs=1e-6 * max(1.0, largest))
        if difference:
            with pytest.raises(SearchError, match="nothing was written"):
                export._compare(model, wrong, exact=True)
    right = spoilt(network, 0.0, image, label, alone=alone)
    assert export._compare(model, right, exact=True)[0] == 0


@pytest.mark.filterwarnings("ignore:invalid value")
@examples(20)
@given(
    value=st.sampled_from([float("nan"), float("inf"), -float("inf")]),
    both=st.booleans(),
    exact=st.booleans(),
    **PLACES,
)
def test_no_logit_may_be_other_than_finite(
    value: float, both: bool, exact: bool, image: int, label: int, alone: bool
) -> None:
    """Also where the search's own model gives the same."""
    network = Head(1.0).eval()
    wrong = spoilt(network, value, image, label, alone=alone)
    if both:
        with torch.no_grad():
            network.layer.bias[label] = value
        network.forward = lambda images: network.layer(images.flatten(1))  # type: ignore[method-assign]
        wrong = torch_classifier(Normalised(network, DESCRIPTION), DESCRIPTION)
    with pytest.raises(SearchError, match="nothing was written"):
        export._compare(model_of(network), wrong, exact=exact)


OTHERS: dict[str, Any] = {
    "model": "timm/other",
    "labels": LABELS[::-1],
    "image_size": SIZE + 1,
    "fit": "pad",
    "intensity": (0.0, 4095.0),
    "max_pixels": 2**30,
    "mean": (0.5, 0.4, 0.6),
    "std": (0.2, 0.25, 0.31),
}


@pytest.mark.parametrize("field", [field.name for field in fields(Description)])
def test_a_form_that_describes_another_model_is_refused(field: str) -> None:
    network = Head(1.0).eval()
    other = replace(DESCRIPTION, **{field: OTHERS[field]})
    same = torch_classifier(Normalised(network, DESCRIPTION), other)
    named = "architecture" if field == "model" else field
    with pytest.raises(SearchError, match=f"nothing was written: .* has other {named}"):
        export._compare(model_of(network), same, exact=True)


@examples(60)
@given(
    labels=st.lists(
        st.text('aZ019é💥"\\,[]\n ', max_size=5), min_size=2, max_size=6, unique=True
    ).map(tuple),
    statistics=st.tuples(*[st.floats(1e-3, 1e3)] * 3),
    most=st.integers(1, 2**31 - 1),
)
def test_a_description_survives_as_text(
    labels: Any, statistics: tuple[float, ...], most: int
) -> None:
    made = replace(DESCRIPTION, labels=labels, mean=statistics, std=statistics[::-1])
    made = replace(made, max_pixels=most)
    assert Description.from_strings(made.to_strings(), "none") == made


@pytest.mark.parametrize("name", ["timm/test_efficientnet", "torchvision/shufflenet_v2_x0_5"])
def test_a_folder_holds_the_labels_in_the_order_of_the_logits(name: str, tmp_path: Path) -> None:
    backbone = load_backbone(name, "none", len(LABELS), image_size=SIZE)
    model = model_of(backbone.model.eval(), replace(DESCRIPTION, model=name), backbone.head)
    write, reopen = export._FORMATS["safetensors"]
    write(model, tmp_path / "folder", "a card")
    assert reopen(tmp_path / "folder").description == model.description
    export._compare(model, reopen(tmp_path / "folder"), exact=True)
