"""Several plans at once: one stacked model, whose members share nothing but the images."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from revo_ray.finetune.plan import Plan
from revo_ray.finetune.stacked import Stacked
from revo_ray.finetune.training.augment import augment
from revo_ray.finetune.training.epoch import LOSS_LIMIT, Epoch, batches
from revo_ray.finetune.training.metrics import classification_metrics
from revo_ray.finetune.training.tuner import FineTuner


class FusedTuner:
    """Fine-tunes k plans of one tuner in one pass over the images, on `torch.func.vmap`.

    Each member has its own rates, weight decay, frozen units with their BatchNorm statistics,
    momenta, and its own divergence. Order, augmentation and head are those of `FineTuner`, and the
    results equal its own but for rounding: in fp32, losses and weights within 1e-4 where training
    is stable. (AdamW's first steps are of full length also where a gradient is nothing but
    rounding, of a bias before a norm, say: at large rates such weights go their own way.)

    A convolution of k members is one grouped convolution: that pays where one small model leaves a
    GPU idle, and costs on a CPU. What no member trains is computed once for all.

    Example:
        >>> fused = FusedTuner(tuner)
        >>> *_, last = fused.run([Plan((0.01,) * count), Plan((0.1,) * count)])
        >>> [epoch.val_loss for epoch in last], fused.state_dict(1)

    Args:
        tuner: its model is used, and is pretrained again when `tuner.run` next begins.
    """

    def __init__(self, tuner: FineTuner) -> None:
        self._tuner = tuner
        self._members: list[int] = []
        self._stacked: Stacked | None = None
        self._buffers: dict[str, Tensor] = {}
        self._ended: dict[int, dict[str, Tensor]] = {}
        self._frozen: dict[str, Tensor] = {}
        self._called = _Called(tuner)

    def run(self, plans: Sequence[Plan]) -> Iterator[list[Epoch]]:
        """Fine-tune under all plans, and yield after each epoch what each member gave.

        A member that diverged yields that epoch again and again; with all of them diverged, or
        after the last epoch, the run ends. Validation follows `train.validate_epochs`. `seconds`
        is a member's share of the time.

        Raises:
            ValueError: no plan, a plan with another number of units, or one with a policy.
        """
        return self._run(plans, self._rates(plans))

    def begin(self, plans: Sequence[Plan]) -> None:
        """Stack the pretrained weights for `train_on`.

        Raises:
            ValueError: as by `run`.
        """
        self._begin(plans, self._rates(plans))

    def train_on(self, order: Tensor) -> None:
        """One pass of all members over the training images at `order` (n,)."""
        with self._tuner.own_rng():
            self._train_epoch(1, order, [0] * len(self._members))

    def state_dict(self, member: int) -> dict[str, Tensor]:
        """A copy of a member's weights and buffers, as `FineTuner.state_dict` gives them.

        A member that diverged has those with which it did.
        """
        if member in self._ended:
            return dict(self._ended[member])
        own = self._own(self._members.index(member))
        return {
            name: own.get(name, tensor).detach().to("cpu", copy=True).contiguous()
            for name, tensor in self._tuner.model.state_dict().items()
        }

    def _rates(self, plans: Sequence[Plan]) -> list[Mapping[str, float]]:
        if not plans:
            raise ValueError("no plan to run")
        if any(plan.policy is not None for plan in plans):
            raise ValueError("plans with a policy cannot be fused: run them one by one")
        return [self._tuner.by_parameter(plan.unit_lrs) for plan in plans]

    def _run(
        self, plans: Sequence[Plan], rates: Sequence[Mapping[str, float]]
    ) -> Iterator[list[Epoch]]:
        tuner, config = self._tuner, self._tuner.train
        started, images, seconds = time.perf_counter(), [0] * len(plans), [0.0] * len(plans)
        self._begin(plans, rates)
        last: list[Epoch | None] = [None] * len(plans)
        for number in range(1, config.epochs + 1):
            with tuner.own_rng():
                order = tuner.shuffle()
                losses, diverged = self._train_epoch(number, order, images)
            final = number == config.epochs
            logits = None
            if final or config.validate_epochs == "every":
                self._settle_norms()
                logits = self._predict()
            now = time.perf_counter()
            share, started = (now - started) / len(self._members), now
            for place, member in enumerate(self._members):
                seconds[member] += share
                metrics = None
                if logits is not None and not diverged[place]:
                    metrics = classification_metrics(logits[place], tuner.labels("validation"))
                    if not metrics.loss <= LOSS_LIMIT:
                        metrics, diverged[place] = None, final
                last[member] = Epoch(
                    epoch=number,
                    train_loss=None if diverged[place] else losses[place],
                    val_loss=metrics.loss if metrics else None,
                    val_accuracy=metrics.accuracy if metrics else None,
                    val_auc=metrics.auc if metrics else None,
                    images=images[member],
                    seconds=seconds[member],
                    diverged=diverged[place],
                )
            self._drop(diverged)
            pause = time.perf_counter()
            yield [epoch for epoch in last if epoch is not None]
            started += time.perf_counter() - pause
            if not self._members:
                return

    def _begin(self, plans: Sequence[Plan], rates: Sequence[Mapping[str, float]]) -> None:
        """Stack what at least one member trains; the rest stays in the model, shared."""
        tuner, count = self._tuner, len(plans)
        self._members, self._ended = list(range(count)), {}
        trained = {
            name: [member[name] for member in rates]
            for name in rates[0]
            if any(member[name] > 0 for member in rates)
        }
        tuner.begin({name: max(values) for name, values in trained.items()})
        self._stacked = None
        if trained:
            self._stacked = Stacked(
                {name: tuner.model.get_parameter(name) for name in trained},
                trained,
                [plan.weight_decay for plan in plans],
                tuner.train,
            )
        self._buffers, self._frozen = {}, {}
        for unit in tuner.units:
            frozen = [all(member[name] == 0 for name in unit.parameters) for member in rates]
            if all(frozen):
                continue
            for path in unit.modules:
                module = tuner.model.get_submodule(path)
                if not isinstance(module, nn.modules.batchnorm._BatchNorm):
                    continue
                for name, buffer in module.named_buffers(prefix=path, recurse=False):
                    self._buffers[name] = buffer.detach().expand(count, *buffer.shape).clone()
                mean = f"{path}.running_mean"
                if any(frozen) and mean in self._buffers:
                    self._frozen[mean] = torch.tensor(frozen, device=tuner.device)

    def _train_epoch(
        self, number: int, order: Tensor, images: list[int]
    ) -> tuple[list[float | None], list[bool]]:
        """One pass; each member's mean loss, and whether it diverged."""
        tuner, stacked = self._tuner, self._stacked
        if stacked is None:
            return [None] * len(self._members), [False] * len(self._members)
        idle = [not stacked.trains(place) for place in range(len(self._members))]
        tuner.set_modes()
        cut = batches(order, tuner.train.batch_size)
        totals = torch.zeros(len(self._members), device=tuner.device)
        dead = [False] * len(self._members)
        for step, index in enumerate(cut, start=(number - 1) * len(cut)):
            x, labels = tuner.batch("train", index)
            x = augment(x, tuner.train.augment, tuner.augmenter)
            logits = self._forward(tuner.normalise(x))
            losses = member_losses(logits, labels)
            totals += losses.detach() * len(index)
            for place, member in enumerate(self._members):
                images[member] += 0 if idle[place] or dead[place] else len(index)
            if tuner.device.type == "cpu":
                dead = [not math.isfinite(total) for total in totals.tolist()]
            stacked.zero_grad()
            losses.sum().backward()
            factor = 1.0
            if tuner.train.schedule == "cosine":
                factor = 0.5 * (1 + math.cos(math.pi * step / (tuner.train.epochs * len(cut))))
            stacked.step(factor)
        self._correct_counts()
        means = (totals / len(order)).tolist()
        diverged = [
            not loss <= LOSS_LIMIT and not still for loss, still in zip(means, idle, strict=True)
        ]
        return [None if i else loss for i, loss in zip(idle, means, strict=True)], diverged

    def _settle_norms(self) -> None:
        """As the tuner settles those of one model: its passes do not count as batches."""
        counts = {
            name: buffer.clone()
            for name, buffer in self._buffers.items()
            if name.endswith("num_batches_tracked")
        }
        self._tuner.settle_norms(self._forward)
        self._buffers.update(counts)

    def _correct_counts(self) -> None:
        """Take back the batches of frozen norms: the module counts, whatever `batch_norm` does."""
        for mean, frozen in self._frozen.items():
            steps = mean.replace("running_mean", "num_batches_tracked")
            if steps in self._buffers:
                self._buffers[steps][frozen] = self._tuner.model.get_buffer(steps)

    def _predict(self) -> Tensor:
        """(k, n, C) logits of the validation images."""
        tuner = self._tuner
        tuner.set_modes(training=False)
        with torch.no_grad():
            parts = [
                self._forward(tuner.normalise(tuner.batch("validation", index)[0]))
                for index in tuner.prediction_batches("validation", len(self._members))
            ]
        return torch.cat(parts, dim=1)

    def _forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, S, S) to the logits (k, B, C) of every member."""
        tuner = self._tuner
        weights = {} if self._stacked is None else self._stacked.weights
        if not weights and not self._buffers:
            return tuner.forward(x).expand(len(self._members), -1, -1)

        def member(
            weights: dict[str, Tensor], buffers: dict[str, Tensor], frozen: dict[str, Tensor]
        ) -> Tensor:
            # The very tensors that a norm will be called with; no two are alike.
            chosen = {id(buffers[name]): flag for name, flag in frozen.items()}
            with _FrozenNorms(chosen):
                result: Tensor = functional_call(self._called, weights | buffers, (x,))
            return result

        prefixed = (
            {f"model.{name}": tensor for name, tensor in group.items()}
            for group in (weights, self._buffers, self._frozen)
        )
        return vmap(member, randomness="same")(*prefixed)

    def _own(self, place: int) -> dict[str, Tensor]:
        weights = {} if self._stacked is None else self._stacked.weights
        return {name: t[place] for name, t in chain(weights.items(), self._buffers.items())}

    def _drop(self, diverged: Sequence[bool]) -> None:
        """Go on without the members that diverged."""
        if not any(diverged):
            return
        for place, member in enumerate(self._members):
            if diverged[place]:
                self._ended[member] = self.state_dict(member)
        keep = [place for place, gone in enumerate(diverged) if not gone]
        self._members = [self._members[place] for place in keep]
        if self._stacked is not None and keep:
            self._stacked.keep(keep)
        self._buffers = {name: buffer[keep] for name, buffer in self._buffers.items()}
        self._frozen = {name: flags[keep] for name, flags in self._frozen.items()}


def member_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy (k,) of each member, from logits (k, B, C) and labels (B,)."""
    each = functional.cross_entropy(
        logits.flatten(0, 1), labels.repeat(len(logits)), reduction="none"
    )
    return each.view(len(logits), -1).mean(1)


class _Called(nn.Module):
    """The tuner's forward as a module, for `functional_call`."""

    def __init__(self, tuner: FineTuner) -> None:
        super().__init__()
        self.model, self._run = tuner.model, tuner.forward

    def forward(self, x: Tensor) -> Tensor:
        return self._run(x)


class _FrozenNorms(TorchFunctionMode):
    """BatchNorm in training, with running statistics for the members that froze it.

    It stands below the modules, so that every module that normalises by `batch_norm` is met.
    """

    def __init__(self, frozen: Mapping[int, Tensor]) -> None:
        super().__init__()
        self._frozen = frozen

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is functional.batch_norm:
            flag = self._frozen.get(id(args[1] if len(args) > 1 else kwargs.get("running_mean")))
            if flag is not None:
                return _norm_of_either(flag, *args, **kwargs)
        return func(*args, **kwargs)


def _norm_of_either(
    frozen: Tensor,
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`batch_norm` in training where `frozen` () is false, in evaluation where it is true."""
    if not training:
        return functional.batch_norm(
            x, running_mean, running_var, weight, bias, False, momentum, eps
        )
    var, mean = torch.var_mean(x, dim=[0, *range(2, x.ndim)], correction=0)
    used_mean = torch.where(frozen, running_mean.clone(), mean)
    used_var = torch.where(frozen, running_var.clone(), var)
    with torch.no_grad():
        count = x.numel() // x.shape[1]
        unbiased = var.detach() * (count / max(1, count - 1))
        for running, new in ((running_mean, mean.detach()), (running_var, unbiased)):
            running.copy_(torch.where(frozen, running, running + momentum * (new - running)))
    shape = (1, -1, *([1] * (x.ndim - 2)))
    scale = torch.rsqrt(used_var + eps)
    if weight is not None:
        scale = scale * weight
    y = (x - used_mean.view(shape)) * scale.view(shape)
    return y if bias is None else y + bias.view(shape)
