"""FineTuner: one pretrained model on one device, fine-tuned under one plan after the other."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from revo_ray.data.splits.split import Splits
from revo_ray.data.table.image_table import Table
from revo_ray.finetune.network.backbone import Backbone
from revo_ray.finetune.network.units import Unit
from revo_ray.finetune.plan import Plan, Policy
from revo_ray.finetune.reuse.cut_points import Forward
from revo_ray.finetune.reuse.feature_cache import PrefixFeatures
from revo_ray.finetune.training.augment import augment
from revo_ray.finetune.training.depthwise import use_matrices, without_matrices
from revo_ray.finetune.training.epoch import Epoch, batches
from revo_ray.finetune.training.feed import Feed, fits
from revo_ray.finetune.training.metrics import classification_scores
from revo_ray.finetune.training.norms import norms_in_training, take_statistics
from revo_ray.objective import LOSS_LIMIT, Scores
from revo_ray.settings.schema import TrainConfig

SplitName = Literal["train", "validation", "test"]


class FineTuner:
    """Holds a pretrained model, its data and its device, and runs plans on them.

    On a CPU a run is a function of the plan and the configuration: earlier runs, other draws from
    torch's global random state and the process it runs in change no bit of it, at one number of
    threads (`torch.set_num_threads` is the caller's). The model belongs to the tuner from here on.
    Features below the first unit that trains are kept from epoch to epoch and from run to run,
    within `train.cache_mb`, where that changes no bit either.

    Example:
        >>> tuner = FineTuner(backbone, find_units(backbone.model), table, splits, config.train)
        >>> *_, last = tuner.run(Plan(unit_lrs=(0.01,) * len(tuner.units)))
        >>> tuner.evaluate("test").accuracy

    Args:
        backbone: the model with its new head; its weights now are what every run starts from.
        units: the model's units; together they hold each parameter once.
        table: images (N, 3, S, S) uint8 and labels (N,).
        splits: positions in the table.
        train: what is the same for every plan.
        device: where the model lives, and on a GPU the training and validation images as uint8,
            if they fit.

    Raises:
        ValueError: the units do not hold each of the model's parameters once.
    """

    def __init__(
        self,
        backbone: Backbone,
        units: Sequence[Unit],
        table: Table,
        splits: Splits,
        train: TrainConfig,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        if self.device.type == "cuda":
            _choose_deterministic_kernels()
        self.model: nn.Module = backbone.model.to(self.device)
        if self.device.type == "cpu":
            use_matrices(self.model)
        self.units = tuple(units)
        self.train = train
        self.images = 0
        """Training images processed since the run began; a policy adds those it looks at."""
        self.order = torch.empty(0, dtype=torch.int64)
        """(n,) the current epoch's training images in their order, as `loss` takes them."""
        self._table, self._splits = table, splits
        self._parameters = dict(self.model.named_parameters())
        self._optimizer: torch.optim.Optimizer | None = None
        self._shuffler = torch.Generator()
        self.augmenter = torch.Generator()
        """What augmentation draws from."""
        self._frozen: list[nn.Module] = []
        self._modes_set = False
        self._rng: list[Tensor] = []
        if sorted(chain.from_iterable(u.parameters for u in self.units)) != sorted(
            self._parameters
        ):
            raise ValueError("the units do not hold each parameter of the model once")
        self._pretrained = {name: t.detach().clone() for name, t in self._tensors()}
        self._versions = {name: t._version for name, t in self._parameters.items()}
        self._trained: set[str] = set()
        self._mean, self._std = (
            torch.tensor(values, device=self.device).view(1, 3, 1, 1)
            for values in (backbone.mean, backbone.std)
        )
        resident = fits(table, len(splits.train) + len(splits.validation), self.device)
        self._feeds = {
            name: Feed(
                table, getattr(splits, name), self.device, resident=resident and name != "test"
            )
            for name in get_args(SplitName)
        }
        image = torch.Size(table.images.shape[1:])
        limit = train.cache_mb * 2**20
        self._prefix = PrefixFeatures(self.model, self.forward, image, self._restore_buffers, limit)

    def run(
        self,
        plan: Plan,
        policy: Policy | None = None,
        *,
        validate: Literal["last", "every"] | None = None,
    ) -> Iterator[Epoch]:
        """Fine-tune the pretrained weights under a plan, and yield after each epoch.

        The weights that a finished run leaves are those that `evaluate`, `predict` and
        `state_dict` see. Only one run may be under way at a time.

        Args:
            plan: rates of the units, in their order; units at 0 keep weights and statistics.
            policy: may change the rates as each epoch starts; a plan that names one needs it
                (`revo_ray.methods.find_policy`).
            validate: which epochs are validated; None: as the configuration says.

        Raises:
            ValueError: the plan has another number of units, or its policy is missing.
        """
        rates = self.by_parameter(plan.unit_lrs)
        if plan.policy is not None and policy is None:
            raise ValueError(f"the plan needs the policy {dict(plan.policy)!r}")
        return self._run(plan, rates, policy, validate or self.train.validate_epochs)

    def _run(
        self,
        plan: Plan,
        rates: Mapping[str, float],
        policy: Policy | None,
        validate: Literal["last", "every"],
    ) -> Iterator[Epoch]:
        started = time.perf_counter()
        self._restore()
        self._set_rates(rates, plan.weight_decay)
        reused = None if policy is not None else self._reuse_prefix()
        for number in range(1, self.train.epochs + 1):
            with self.own_rng():
                self.order = self.shuffle()
                if policy is not None:
                    changed = policy(number, self)
                    self._modes_set = False  # it may look at the model in eval mode
                    if changed is not None:
                        self._set_rates(self.by_parameter(changed), plan.weight_decay)
                train_loss = self._train_epoch(number, reused)
            diverged = train_loss is not None and not train_loss <= LOSS_LIMIT
            last = number == self.train.epochs
            metrics = None
            validates = last or validate == "every"
            if not diverged and (validates or policy is not None):  # which may evaluate, too
                self.settle_norms()
            if not diverged and validates:
                metrics = self.evaluate("validation")
                if metrics.loss is None or not metrics.loss <= LOSS_LIMIT:
                    metrics, diverged = None, last
            pause = time.perf_counter()
            yield Epoch(
                epoch=number,
                train_loss=None if diverged else train_loss,
                validation=metrics or Scores(),
                images=self.images,
                seconds=pause - started,
                diverged=diverged,
            )
            started += time.perf_counter() - pause
            if diverged:
                return

    def loss(self, index: Tensor, augmenter: torch.Generator | None = None) -> Tensor:
        """Mean cross-entropy () of the training images at `index` (B,), positions in the split."""
        images, labels = self._feeds["train"].batch(index)
        if augmenter is not None:
            images = augment(images, self.train.augment, augmenter)
        return functional.cross_entropy(self.forward(self.normalise(images)), labels)

    def predict(self, split: SplitName) -> Tensor:
        """Logits (n, C) float32 of a split's images with the weights as they are, on the device."""
        cut = self.prediction_batches(split)
        self.set_modes(training=False)
        with torch.inference_mode():
            if split == "validation":
                return self._prefix.predict(self._images(split), cut)
            with without_matrices(self.model):  # what whoever loads the weights computes
                return torch.cat([self.forward(self._images(split)(index)) for index in cut])

    def evaluate(self, split: SplitName) -> Scores:
        """Scores of a split with the weights as they are."""
        return classification_scores(self.predict(split), self.labels(split))

    def labels(self, split: SplitName) -> NDArray[np.int64]:
        """Classes (n,) of a split's images."""
        return self._table.labels[getattr(self._splits, split)]

    def batch(self, split: SplitName, index: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, S, S) uint8 and labels (B,) at positions (B,) in a split, on the device."""
        feed = self._feeds[split]
        return feed.batch(index.to(feed.index_device))

    def prediction_batches(self, split: SplitName) -> Sequence[Tensor]:
        """A split's positions, cut so that activations have room."""
        feed = self._feeds[split]
        # 256 images up to 128 pixels, 83 at 224.
        size = max(16, min(256, 2**22 // self._table.images.shape[-1] ** 2))
        return torch.arange(len(feed), device=feed.index_device).split(size)

    def settle_norms(self) -> None:
        """Take the statistics of the norms that train from all training images, where `precise`."""
        if self.train.batch_norm != "precise" or self._optimizer is None:
            return
        self.set_modes()
        norms = norms_in_training(self.model)
        self.set_modes(training=False)
        feed = self._feeds["train"]
        everything = torch.arange(len(feed), device=feed.index_device)
        parts = batches(everything, len(self.prediction_batches("train")[0]))
        take_statistics(norms, parts, lambda index: self.forward(self._images("train")(index)))

    def shuffle(self) -> Tensor:
        """Positions (n,) of the training images in the order of the next epoch."""
        feed = self._feeds["train"]
        return torch.randperm(len(feed), generator=self._shuffler).to(feed.index_device)

    def begin(self, rates: Mapping[str, float]) -> None:
        """Go back to the pretrained weights and the seeds; parameters without a rate freeze."""
        self._restore()
        self._set_rates(rates, 0.0)

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of the weights and buffers as they are, on the CPU and contiguous."""
        return {
            name: tensor.detach().to("cpu", copy=True).contiguous()
            for name, tensor in self.model.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Set the weights that `evaluate` and `predict` use; runs still start pretrained."""
        self._prefix.forget_plan()
        self.model.load_state_dict(state)

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter and buffer, those too that a state dict leaves out."""
        return chain(self.model.named_parameters(), self.model.named_buffers())

    def _images(self, split: SplitName) -> Callable[[Tensor], Tensor]:
        """What gives a split's normalised images (B, 3, S, S) from their positions (B,)."""
        return lambda index: self.normalise(self.batch(split, index)[0])

    def normalise(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) uint8 to what the model takes."""
        return ((images.float() / 255) - self._mean) / self._std

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, S, S) to logits (B, C) float32."""
        bf16 = self.train.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            logits: Tensor = self.model(x)
        return logits.float()

    def _restore(self) -> None:
        """Go back to the pretrained weights, in place, and to the seeds."""
        self._prefix.forget_plan()
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                # Who writes to a tensor counts its versions up, but for fused optimizers.
                if name in self._trained or parameter._version != self._versions[name]:
                    parameter.copy_(self._pretrained[name])
                    self._versions[name] = parameter._version
        self._trained.clear()
        self._restore_buffers()
        self.images = 0
        self._shuffler.manual_seed(self.train.seed)
        self.augmenter.manual_seed(self.train.seed + 1)
        self._rng = [
            torch.Generator(device).manual_seed(self.train.seed).get_state()
            for device in self._rng_devices()
        ]

    def _restore_buffers(self) -> None:
        """Go back to the pretrained statistics; BatchNorm's kernels count no versions of them."""
        with torch.no_grad():
            for name, buffer in self.model.named_buffers():
                buffer.copy_(self._pretrained[name])

    def _rng_devices(self) -> list[torch.device]:
        """Where dropout and stochastic depth draw their random numbers."""
        cpu = torch.device("cpu")
        return [cpu] if self.device == cpu else [cpu, self.device]

    @contextmanager
    def own_rng(self) -> Iterator[None]:
        """Lend torch's global random state to the run, so that neither disturbs the other."""
        cuda = self._rng_devices()[1:]
        with torch.random.fork_rng(cuda):
            torch.set_rng_state(self._rng[0])
            for device, state in zip(cuda, self._rng[1:], strict=True):
                torch.cuda.set_rng_state(state, device)
            yield
            self._rng = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, cuda)]

    def by_parameter(self, rates: Sequence[float] | Mapping[str, float]) -> Mapping[str, float]:
        """The rates of the parameters by name, from those of the units.

        Raises:
            ValueError: the model has another number of units.
        """
        if isinstance(rates, Mapping):
            return rates
        if len(rates) != len(self.units):
            raise ValueError(f"the plan has {len(rates)} units, the model {len(self.units)}")
        return {
            name: rate
            for unit, rate in zip(self.units, rates, strict=True)
            for name in unit.parameters
        }

    def _set_rates(self, rates: Mapping[str, float], weight_decay: float) -> None:
        """Freeze what has no rate, and build the optimizer of the rest, one group for each rate."""
        unknown = set(rates) - set(self._parameters)
        if unknown:
            raise ValueError(f"no parameter is called {min(unknown)!r}")
        self._modes_set = False
        groups: dict[float, list[Tensor]] = {}
        for name, parameter in self._parameters.items():
            rate = rates.get(name, 0.0)
            parameter.requires_grad_(rate > 0)
            parameter.grad = None
            if rate > 0:
                self._trained.add(name)
                groups.setdefault(rate, []).append(parameter)
        self._frozen = [
            self.model.get_submodule(module)
            for unit in self.units
            if not any(self._parameters[name].requires_grad for name in unit.parameters)
            for module in unit.modules
        ]
        parts = [{"params": tensors, "lr": rate, "rate": rate} for rate, tensors in groups.items()]
        if not parts:
            self._optimizer = None
        elif self.train.optimizer == "sgd":
            self._optimizer = torch.optim.SGD(
                parts, momentum=self.train.momentum, weight_decay=weight_decay
            )
        else:
            # One pass over the weights in place of seven; SGD gains nothing by it.
            self._optimizer = torch.optim.AdamW(parts, weight_decay=weight_decay, fused=True)

    def _reuse_prefix(self) -> Forward | None:
        """What gives training logits from features below all that trains; None if nothing can."""
        trained = {name for name, p in self._parameters.items() if p.requires_grad}
        if len(trained) == len(self._parameters):
            return None
        frozen = set(self._frozen)
        moving = {name for name, module in self.model.named_modules() if module not in frozen}
        with torch.random.fork_rng(self._rng_devices()[1:]):
            self._prefix.set_plan(trained, moving, self.device)
            reused = None
            if self._optimizer is not None and self.train.augment == "none":
                self.set_modes()
                count = len(self._feeds["train"])
                sizes = set(map(len, batches(torch.arange(count), self.train.batch_size)))
                images, epochs = self._images("train"), self.train.epochs
                reused = self._prefix.training(images, count, sizes, epochs)
        return reused

    def set_modes(self, *, training: bool = True) -> None:
        """Training mode, but for the norms of frozen units; or eval mode."""
        if training and self._modes_set:
            return
        # .train() first: some attention layers drop what they cached in eval mode only there.
        self.model.train()
        if not training:
            self.model.eval()
        for module in self._frozen if training else ():
            module.training = False  # of the norm alone, not of a dropout inside
        self._modes_set = training

    def _train_epoch(self, number: int, reused: Forward | None) -> float | None:
        """One pass; the mean loss, not finite as soon as one step's is, None if nothing trains."""
        if self._optimizer is None:
            return None
        self.set_modes()
        cut = batches(self.order, self.train.batch_size)
        total = torch.zeros((), device=self.device)
        for step, index in enumerate(cut, start=(number - 1) * len(cut)):
            if reused is None:
                loss = self.loss(index, self.augmenter)
            else:
                labels = self._feeds["train"].labels(index)
                loss = functional.cross_entropy(reused(index), labels)
            self.images += len(index)
            total += loss.detach() * len(index)
            # On a GPU the sum tells at the end: to look at each step would wait for each step.
            if self.device.type == "cpu" and not total.isfinite():
                return math.nan
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._schedule(step, self.train.epochs * len(cut))
            self._optimizer.step()
        return total.item() / len(self.order)

    def _schedule(self, step: int, steps: int) -> None:
        if self.train.schedule == "cosine" and self._optimizer is not None:
            factor = 0.5 * (1 + math.cos(math.pi * step / steps))
            for group in self._optimizer.param_groups:
                group["lr"] = group["rate"] * factor


def _choose_deterministic_kernels() -> None:
    """Two runs of one plan on one kind of GPU shall end alike, wherever CUDA has the kernel."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
