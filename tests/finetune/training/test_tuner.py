"""FineTuner: runs, policies, predictions and weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from revo_ray.data.table.images import Images
from revo_ray.finetune.network.backbone import Backbone
from revo_ray.finetune.network.units import find_units
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training import tuner as tuner_module
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.settings.schema import TrainConfig
from tests.finetune.tuners import (
    MEAN,
    STD,
    equal,
    finish,
    make_splits,
    make_table,
    make_tuner,
    mixed,
    small,
)


def test_frozen_units_keep_weights_and_statistics_and_the_others_move() -> None:
    tuner = make_tuner(momentum=0.9)
    before = tuner.state_dict()
    list(tuner.run(Plan((0.1,) * 4)))
    plan = Plan((0.0, 0.1, 0.0, 0.1), weight_decay=0.1)
    _, after = finish(tuner, plan)
    for unit, rate in zip(tuner.units, plan.unit_lrs, strict=True):
        for module in unit.modules:
            for name in before:
                if name.rpartition(".")[0] == module:
                    assert torch.equal(before[name], after[name]) == (rate == 0), name
        for name in unit.parameters:
            parameter = tuner.model.get_parameter(name)
            assert parameter.requires_grad == (rate > 0)
            assert (parameter.grad is None) == (rate == 0)


@pytest.mark.parametrize("augment", ["none", "crop-flip"])
def test_where_the_images_are_kept_changes_no_bit(
    augment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    streamed = make_tuner("dropout", augment=augment)
    monkeypatch.setattr(tuner_module, "fits", lambda *_: True)
    resident = make_tuner("dropout", augment=augment)
    monkeypatch.setattr(Images, "__getitem__", lambda *_: pytest.fail("read again"))
    epochs, state = finish(resident, mixed(4))
    monkeypatch.undo()
    expected, weights = finish(streamed, mixed(4))
    assert equal(state, weights)
    assert [epoch.train_loss for epoch in epochs] == [epoch.train_loss for epoch in expected]
    assert epochs[-1].validation.loss == expected[-1].validation.loss
    assert torch.equal(resident.predict("test"), streamed.predict("test"))


def test_all_frozen_is_the_pretrained_model() -> None:
    tuner = make_tuner(validate_epochs="every")
    before, scores = tuner.state_dict(), tuner.evaluate("validation")
    list(tuner.run(mixed(4)))
    epochs, after = finish(tuner, Plan((0.0,) * 4, weight_decay=0.1))
    assert equal(before, after)
    assert len(epochs) == 3
    for epoch in epochs:
        assert epoch.validation == scores
        assert (epoch.train_loss, epoch.images, epoch.diverged) == (None, 0, False)


@pytest.mark.parametrize("norms", ["running", "precise"])
def test_validating_each_epoch_does_not_change_the_training(norms: str) -> None:
    last, every = (
        make_tuner("dropout", validate_epochs=v, batch_norm=norms) for v in ("last", "every")
    )
    (some, one), (more, two) = finish(last, mixed(4)), finish(every, mixed(4))
    assert [epoch.validation.loss is None for epoch in some] == [True, True, False]
    assert all(epoch.validation.loss is not None for epoch in more)
    assert [epoch.epoch for epoch in more] == [1, 2, 3]
    assert equal(one, two)
    assert some[-1].validation.loss == more[-1].validation.loss


def test_predictions_do_not_depend_on_the_split_being_resident() -> None:
    tuner = make_tuner()
    table, splits = make_table(), make_splits(20)
    tuner.model.eval()
    for name in ("train", "validation", "test"):
        images = torch.tensor(table.images[getattr(splits, name)]).float() / 255
        mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
        with torch.no_grad():
            expected = tuner.model((images - mean) / std)
        assert torch.equal(tuner.predict(name), expected)  # type: ignore[arg-type]


def test_state_goes_out_and_in() -> None:
    tuner = make_tuner()
    _, state = finish(tuner, mixed(4))
    loss = tuner.evaluate("test").loss
    kept = {name: tensor.clone() for name, tensor in state.items()}
    list(tuner.run(Plan((0.1,) * 4)))
    assert equal(state, kept)  # a copy, not a view of the weights
    assert tuner.evaluate("test").loss != loss
    tuner.load_state_dict(state)
    assert tuner.evaluate("test").loss == loss
    assert all(t.device.type == "cpu" and t.is_contiguous() for t in state.values())
    assert equal(finish(tuner, mixed(4))[1], state)  # runs still start pretrained


def test_bf16_trains_close_to_fp32() -> None:
    losses = [
        finish(make_tuner(precision=precision), Plan((0.01,) * 4))[0][-1].validation.loss
        for precision in ("fp32", "bf16")
    ]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_a_policy_changes_rates_from_its_epoch_on() -> None:
    tuner = make_tuner()
    seen: list[dict[str, Tensor]] = []

    def freeze_all_in_the_second(epoch: int, tuner: FineTuner) -> list[float] | None:
        seen.append(tuner.state_dict())
        return [0.0] * 4 if epoch == 2 else None

    epochs = list(tuner.run(mixed(4), freeze_all_in_the_second))
    assert equal(seen[1], tuner.state_dict())
    assert not equal(seen[0], seen[1])
    assert [epoch.images for epoch in epochs] == [20, 20, 20]
    plain = finish(tuner, mixed(4))[1]
    list(tuner.run(mixed(4), lambda epoch, tuner: None))
    assert equal(tuner.state_dict(), plain)


def test_a_policy_gives_rates_to_single_parameters() -> None:
    tuner = make_tuner()
    before = tuner.state_dict()
    list(tuner.run(Plan((0.1,) * 4), lambda epoch, tuner: {"4.weight": 0.1}))
    changed = {n for n, t in tuner.state_dict().items() if not torch.equal(t, before[n])}
    assert {n for n in changed if "running" not in n and "num_" not in n} == {"4.weight"}
    with pytest.raises(ValueError, match=r"'5\.wait'"):
        list(tuner.run(Plan((0.1,) * 4), lambda epoch, tuner: {"5.wait": 0.1}))


@pytest.mark.parametrize("validate", ["last", "every"])
def test_a_policy_sees_the_model_in_eval_mode_and_training_goes_on(validate: str) -> None:
    tuner = make_tuner("dropout", validate_epochs=validate, schedule="cosine")
    expected = finish(tuner, mixed(4))
    modes: list[bool] = []

    def look(epoch: int, tuner: FineTuner) -> None:
        modes.extend(module.training for module in tuner.model.modules())
        tuner.loss(tuner.order[:8])

    epochs = list(tuner.run(mixed(4), look))
    assert not any(modes)
    assert equal(tuner.state_dict(), expected[1])
    assert [epoch.train_loss for epoch in epochs] == [epoch.train_loss for epoch in expected[0]]


def test_a_schedule_goes_on_under_new_rates() -> None:
    plain, again = (make_tuner(schedule="cosine") for _ in range(2))
    _, state = finish(plain, mixed(4))
    list(again.run(mixed(4), lambda *_: mixed(4).unit_lrs))  # plain SGD keeps no state
    assert equal(again.state_dict(), state)


def test_a_plan_that_names_a_policy_needs_it() -> None:
    tuner = make_tuner()
    plan = Plan((0.1,) * 4, policy={"method": "auto"})
    with pytest.raises(ValueError, match="needs the policy"):
        tuner.run(plan)
    before = tuner.state_dict()
    list(tuner.run(plan, lambda epoch, tuner: [0.0] * 4))
    assert equal(tuner.state_dict(), before)


def test_units_and_plan_must_fit_the_model() -> None:
    tuner = make_tuner()
    with pytest.raises(ValueError, match="3 units, the model 4"):
        tuner.run(Plan((0.1,) * 3))
    backbone = Backbone("small", small(), "", MEAN, STD, "none", None)
    units = find_units(backbone.model)
    for wrong in (units[1:], [*units, units[0]]):
        with pytest.raises(ValueError, match="each parameter"):
            FineTuner(backbone, wrong, make_table(), make_splits(20), TrainConfig())


def test_seconds_leave_out_what_the_caller_spends(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    seconds = []
    for epoch in make_tuner().run(Plan((0.1,) * 4), lambda *_: clock.__setitem__(0, clock[0] + 2)):
        seconds.append(epoch.seconds)
        clock[0] += 100
    assert seconds == [2, 4, 6]
