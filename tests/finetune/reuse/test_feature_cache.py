"""Features that are kept change no bit, and spare the passes that they stand for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from revo_ray.finetune.network.backbone import Backbone
from revo_ray.finetune.network.units import find_units
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.reuse.feature_cache import FeatureCache, _bytes
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.settings.schema import TrainConfig
from tests.finetune.tuners import (
    CLASSES,
    MEAN,
    STD,
    equal,
    finish,
    make_splits,
    make_table,
    make_tuner,
)

OPTIONS: dict[str, Any] = {"epochs": 5, "validate_epochs": "every"}


def calls(tuner: FineTuner, module: str) -> list[int]:
    """Grows by the number of images each time that the convolution computes."""
    seen: list[int] = []
    layer: Any = tuner.model.get_submodule(module)
    compute = layer._conv_forward
    layer._conv_forward = lambda x, *rest: seen.append(len(x)) or compute(x, *rest)
    return seen


def frozen_below(tuner: FineTuner, unit: int, rate: float = 0.05) -> Plan:
    return Plan((0.0,) * unit + (rate,) * (len(tuner.units) - unit), 0.01)


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("small", {}),
        ("dropout", {"momentum": 0.9}),
        ("small", {"augment": "crop-flip", "precision": "bf16"}),
        ("test_efficientnet", {"side": 32, "batch_size": 7, "optimizer": "adamw"}),
        ("small", {"train": 19}),  # batches of three sizes
        ("test_vit", {"side": 160, "train": 12}),
        ("resnet10", {"side": 16, "train": 12}),
    ],
)
def test_kept_features_change_no_bit(name: str, options: dict[str, Any]) -> None:
    kept, plain = (make_tuner(name, cache_mb=mb, **OPTIONS, **options) for mb in (64, 0))
    count = len(kept.units)
    for unit in (count - 1, count // 2, count - 1):
        plan = frozen_below(kept, unit)
        (epochs, state), (expected, weights) = finish(kept, plan), finish(plain, plan)
        assert equal(state, weights)
        for what in ("train_loss", "validation", "images"):
            assert [getattr(e, what) for e in epochs] == [getattr(e, what) for e in expected], what
    splits = {split for split, _ in kept._cache._kept}
    assert splits == ({"validation"} if "augment" in options else {"train", "validation"})
    assert not plain._cache._kept


def test_frozen_units_run_once_for_many_evaluations() -> None:
    tuner = make_tuner(train=24, **OPTIONS)
    seen = calls(tuner, "0")
    list(tuner.run(frozen_below(tuner, 2)))
    first = sum(seen)
    seen.clear()
    list(tuner.run(frozen_below(tuner, 2, rate=0.01)))
    list(tuner.run(frozen_below(tuner, 3)))  # a deeper cut, computed anew
    again = sum(seen)
    seen.clear()
    list(tuner.run(frozen_below(tuner, 2)))
    assert seen == []
    assert first + again < 3 * 5 * 24
    list(tuner.run(frozen_below(tuner, 0)))
    assert sum(seen) == 5 * 24 + 5 * 20  # all that trains is computed: 24 images and 20 to validate


def test_other_weights_are_not_answered_from_kept_features() -> None:
    tuner, fresh = make_tuner(**OPTIONS), make_tuner(**OPTIONS)
    _, state = finish(tuner, frozen_below(tuner, 0))
    list(tuner.run(frozen_below(tuner, 3)))
    tuner.load_state_dict(state)
    fresh.load_state_dict(state)
    assert torch.equal(tuner.predict("validation"), fresh.predict("validation"))


def test_a_policy_may_change_what_is_frozen() -> None:
    kept, plain = (make_tuner(cache_mb=mb, **OPTIONS) for mb in (64, 0))
    for tuner in (kept, plain):
        list(tuner.run(frozen_below(tuner, 3)))
        list(
            tuner.run(
                frozen_below(tuner, 3), lambda epoch, _: [0.1, 0, 0, 0.1] if epoch == 2 else None
            )
        )
    assert equal(kept.state_dict(), plain.state_dict())


def test_memory_is_bounded_and_a_cut_that_fits_is_used() -> None:
    tuner = make_tuner(**OPTIONS)
    cache = tuner._cache
    kept = []
    for limit in (2**20, 20_000, 500):
        cache._limit = limit
        for unit in (1, 2, 3, 1, 2, 3):
            list(tuner.run(frozen_below(tuner, unit)))
            assert _bytes(cache._kept.values()) <= limit
        kept.append(len(cache._kept))
        cache._kept.clear()
    assert kept[0] > kept[1] > kept[2]


class Shortcut(nn.Module):
    """The head uses the output of the first layer again: there is no cut behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        one = self.one(x)
        two = self.norm(self.two(one.relu()))
        return self.head(torch.cat((one.mean((2, 3)), two.mean((2, 3))), 1))


class AcrossImages(nn.Module):
    """A norm that looks at the neighbours of an image in its batch, also when it is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x)).mean((2, 3)))


class Tail(nn.Module):
    """A kernel that computes the last number of its tensor in another way, by some last bits."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        y[-1, -1, -1, -1] *= 1 + 2**-20
        return y


class Rounded(nn.Module):
    """Hides such bits, nearly always."""

    def forward(self, x: Tensor) -> Tensor:
        return (8 * x).round() / 8


class PlaceInBatch(nn.Module):
    """The last image of a batch is another one than it would be before it, and it hardly shows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.tail, self.rounded = nn.Conv2d(3, 4, 3), Tail(), Rounded()
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rounded(self.tail(self.conv(x))).mean((2, 3)))


@pytest.mark.parametrize(
    ("network", "deepest"), [(Shortcut, "one"), (AcrossImages, "conv"), (PlaceInBatch, "conv")]
)
def test_a_network_is_cut_only_where_that_is_exact(network: type[nn.Module], deepest: str) -> None:
    results = []
    for limit in (64, 0):
        torch.manual_seed(1)
        model = network()
        backbone = Backbone("own", model, "head", MEAN, STD, "none", None)
        train = TrainConfig(batch_size=8, cache_mb=limit, **OPTIONS)
        tuner = FineTuner(backbone, find_units(model), make_table(), make_splits(20), train)
        count = len(tuner.units)
        for unit in (1, count - 1):
            results.append(finish(tuner, frozen_below(tuner, unit))[1])
        if limit:
            kept = {name for split, name in tuner._cache._kept if split == "train"}
            assert kept == {deepest}
    for one, other in zip(results[:2], results[2:], strict=True):
        assert equal(one, other)


def test_one_module_rules_out_all_cuts_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cut at `rounded` fails by `tail`, which then is not tried as a cut of its own."""
    torch.manual_seed(1)
    model = PlaceInBatch()
    backbone = Backbone("own", model, "head", MEAN, STD, "none", None)
    train = TrainConfig(batch_size=8, cache_mb=64, **OPTIONS)
    tuner = FineTuner(backbone, find_units(model), make_table(), make_splits(20), train)
    tried: list[str] = []
    compute = FeatureCache._compute
    monkeypatch.setattr(
        FeatureCache,
        "_compute",
        lambda self, cut, *rest: tried.append(cut.name) or compute(self, cut, *rest),
    )
    finish(tuner, frozen_below(tuner, len(tuner.units) - 1))
    assert tried == ["rounded", "conv"]
