"""FineTuner: one pretrained model on one device, fine-tuned under one plan after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from revo_ray.data.splits.split import Splits
from revo_ray.data.table.image_table import Table
from revo_ray.finetune.network.backbone import Backbone
from revo_ray.finetune.network.units import Unit
from revo_ray.finetune.network.weights import load_own
from revo_ray.finetune.plan import Plan, Policy, Rates
from revo_ray.finetune.reuse.feature_cache import FeatureCache
from revo_ray.finetune.training.augment import augment, mix
from revo_ray.finetune.training.depthwise import use_matrices, without_matrices
from revo_ray.finetune.training.feed import Feed, balanced_weights, batches, fits, normalisation
from revo_ray.finetune.training.initial_state import PretrainedState, RandomState
from revo_ray.finetune.training.layerwise import BETA1, LayerwiseOptimizer
from revo_ray.finetune.training.loop import Epoch, LossAt, train_epoch
from revo_ray.finetune.training.metrics import classification_scores
from revo_ray.finetune.training.norms import eval_mode, frozen_modules, training_mode, update_norms
from revo_ray.finetune.training.numerics import memory_format, numerics
from revo_ray.finetune.training.optimizer import (
    freeze_others,
    make_optimizer,
    rates_by_parameter,
    undecayed,
)
from revo_ray.finetune.training.step_graph import StepGraphs
from revo_ray.finetune.training.transfer import to_device
from revo_ray.finetune.training.weight_average import WeightAverage
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
        backbone: the model with its new head. Every run starts from the weights that it has now.
        units: the model's units; together they hold each parameter once.
        table: images (N, 3, S, S) uint8 and labels (N,).
        splits: positions in the table.
        train: settings that are the same for every plan.
        device: where the model lives, and on a GPU the training and validation images as uint8,
            if they fit.
        layout: order in memory of weights and images; None: the one that is fastest on the device.

    Attributes:
        order: (n,) the training images of the current epoch in their order, as `loss` takes them.
        images: training images processed since the run began. A policy adds those it looks at.

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
        layout: torch.memory_format | None = None,
    ) -> None:
        self.device = torch.device(device)
        self._layout = layout or memory_format(backbone.model, self.device, train.precision)
        self.model: nn.Module = backbone.model.to(self.device)
        self.model.to(memory_format=self._layout)  # type: ignore[call-overload]
        if self.device.type == "cpu":
            use_matrices(self.model)
        self.units = tuple(units)
        self.train = train
        self.images = 0
        self._parameters = dict(self.model.named_parameters())
        held = chain.from_iterable(unit.parameters for unit in self.units)
        if sorted(held) != sorted(self._parameters):
            raise ValueError("the units do not hold each parameter of the model once")
        fit = fits(table, len(splits.train) + len(splits.validation), self.device)
        self.feeds: dict[SplitName, Feed] = {
            name: Feed(table, getattr(splits, name), self.device, resident=fit and name != "test")
            for name in get_args(SplitName)
        }
        self._classes = len(table.classes)
        self._class_weights = None
        if train.class_weights == "balanced":
            self._class_weights = balanced_weights(self.feeds["train"].labels, self._classes)
        self.normalise = normalisation(backbone.mean, backbone.std, self.device)
        self.order = self.feeds["train"].in_order
        self._undecayed = set() if train.decay_all else undecayed(self.model)
        self._recipe: Mapping[str, float] = {}
        self._settings = train  # with the plan's recipe
        self._trained: set[str] = set()
        self._frozen: list[nn.Module] = []
        self._optimizer: LayerwiseOptimizer | None = None
        self._takes_graphs = train.cuda_graphs and self.device.type == "cuda"
        self._graphs = StepGraphs(self.model, self._loss_of_batch)
        self._random = RandomState(self.device)
        self._pretrained = PretrainedState(self.model)
        image, restore = torch.Size(table.images.shape[1:]), self._pretrained.restore_buffers
        limit = train.cache_mb * 2**20
        self._cache = FeatureCache(self.model, self.forward, image, restore, limit)

    def run(
        self,
        plan: Plan,
        policy: Policy | None = None,
        *,
        validate: Literal["last", "every"] | None = None,
    ) -> Iterator[Epoch]:
        """Fine-tune the pretrained weights under a plan, and yield after each epoch.

        `evaluate`, `predict` and `state_dict` then see the weights that the run left, or with
        `train.ema` their average. Only one run may be under way at a time.

        Args:
            plan: rates of the units, in their order; units at 0 keep weights and statistics.
            policy: may change the rates as each epoch starts; a plan that names one needs it
                (`revo_ray.methods.find_policy`).
            validate: which epochs are validated; None: as the configuration says.

        Raises:
            ValueError: the plan has another number of units, its policy is missing, or a value of
                its recipe does not fit.
        """
        rates = rates_by_parameter(self.units, plan.unit_lrs)
        if plan.policy is not None and policy is None:
            raise ValueError(f"the plan needs the policy {dict(plan.policy)!r}")
        self._with(plan.recipe)
        return self._run(rates, plan, policy, validate or self.train.validate_epochs)

    def _run(
        self, rates: Rates, plan: Plan, policy: Policy | None, validate: str
    ) -> Iterator[Epoch]:
        started = time.perf_counter()
        self.begin(rates, plan.weight_decay, plan.recipe)
        with self._numerics():
            loss_at = self._loss_of_features() if policy is None else self._loss_of_images
        # A policy may train other parameters in other epochs.
        averaged = self._trained if policy is None else self._parameters.keys()
        average = WeightAverage(map(self.model.get_parameter, sorted(averaged)), self.train.ema)
        in_order = self.feeds["train"].in_order
        for epoch in range(1, self.train.epochs + 1):
            with self._numerics():
                with self._random.lent():
                    shuffled = torch.randperm(len(in_order), generator=self._random.order)
                    self.order = shuffled.to(in_order.device)
                    if policy is not None:
                        self._ask(policy, epoch, plan.weight_decay)
                    train_loss = self._train_epoch(loss_at, average)
                last = epoch == self.train.epochs
                scores, diverged = Scores(), train_loss is not None and not train_loss <= LOSS_LIMIT
                logits = None
                validates = last or validate == "every"
                if not diverged and validates:
                    average.put_in()
                if not diverged and (validates or policy is not None):  # which may evaluate
                    self.update_norms()
                if not diverged and validates:
                    logits = self.predict("validation")
                    scores = classification_scores(logits, self.feeds["validation"].labels)
                    if scores.loss is None or not scores.loss <= LOSS_LIMIT:
                        scores, diverged = Scores(), last
            paused = time.perf_counter()
            loss = None if diverged else train_loss
            yield Epoch(epoch, loss, scores, self.images, paused - started, diverged, logits)
            started += time.perf_counter() - paused
            if diverged:
                return
            if not last and average.take_out() and policy is not None:
                self.update_norms()

    def _ask(self, policy: Policy, epoch: int, weight_decay: float) -> None:
        """Show the model to a policy in eval mode, and set the rates that it returns."""
        eval_mode(self.model)
        rates = policy(epoch, self)
        training_mode(self.model, self._frozen)
        if rates is not None:
            self._set_rates(rates, weight_decay, epoch)

    def _train_epoch(self, loss_at: LossAt, average: WeightAverage) -> float | None:
        """Train on all images once, in `order`; the mean loss, None if nothing trains."""
        optimizer = self._optimizer
        if optimizer is None:
            return None
        if not self.model.training:  # the walk over all modules takes a while
            training_mode(self.model, self._frozen)
        parts = self.batches
        self.feeds["train"].announce(parts)

        def set_gradients(index: Tensor) -> Tensor:
            optimizer.zero_grad()
            loss = loss_at(index)
            loss.backward()
            return loss.detach()

        whole = len(self._trained) == len(self._parameters)
        # With both, torch's loss reads from the device, which no graph can.
        reads = self._class_weights is not None and self._settings.label_smoothing > 0
        graphs = self._takes_graphs and whole and not reads
        way = self._gradients_of_graphs if graphs else set_gradients
        loss, images = train_epoch(parts, way, self.device, optimizer, average)
        self.images += images
        return loss

    def _batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised, augmented and mixed training images at positions (B,), and their labels."""
        feed, train, generator = self.feeds["train"], self._settings, self._random.augmentation
        images = self.normalise(augment(feed.pixels(index), train.augment, generator))
        labels, alphas = feed.labels_at(index), (train.mixup, train.cutmix)
        return mix(images, labels, self._classes, *alphas, generator)

    def _loss_of_batch(self, images: Tensor, labels: Tensor) -> Tensor:
        return self._loss(self.forward(images), labels)

    def _loss_of_images(self, index: Tensor) -> Tensor:
        """Loss () of augmented and mixed training images at positions (B,) in the split."""
        return self._loss_of_batch(*self._batch(index))

    def _gradients_of_graphs(self, index: Tensor) -> Tensor:
        """Set the gradients of a batch by a CUDA graph where that changes no bit; its loss ()."""
        return self._graphs.set_gradients(*self._batch(index), self._settings.label_smoothing)

    def _loss_of_features(self) -> LossAt:
        """Loss by cached features of the frozen units below all that trains, if possible."""
        cached, train = None, self._settings
        if len(self._trained) < len(self._parameters):
            with torch.random.fork_rng(self._random.gpus):
                frozen = set(self._frozen)
                moving = {name for name, m in self.model.named_modules() if m not in frozen}
                self._cache.set_plan(self._trained, moving, self.device)
                if self._trained and (train.augment, train.mixup, train.cutmix) == ("none", 0, 0):
                    order = self.feeds["train"].in_order
                    sizes = set(map(len, batches(order, self.train.batch_size)))
                    epochs = self.train.epochs
                    cached = self._cache.training(self._images("train"), len(order), sizes, epochs)
        if cached is None:
            return self._loss_of_images
        logits, feed = cached, self.feeds["train"]
        return lambda index: self._loss(
            logits(to_device(index, self.device)), feed.labels_at(index)
        )

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean loss () of logits (B, C) against classes (B,) or their probabilities (B, C).

        Weights are torch's own: the sum over classes is weighted, and divided by the weights of
        the batch's classes, or by B where classes are probabilities.
        """
        smoothing = self._settings.label_smoothing
        return functional.cross_entropy(
            logits, labels, self._class_weights, label_smoothing=smoothing
        )

    @property
    def batches(self) -> list[Tensor]:
        """`order` in batches (B,), as this epoch trains on them."""
        return batches(self.order, self.train.batch_size)

    def loss(self, index: Tensor) -> Tensor:
        """Training loss () of the images at `index` (B,), without augmentation or mixing."""
        with self._numerics():
            logits = self.forward(self._images("train")(index))
        return self._loss(logits, self.feeds["train"].labels_at(index))

    def predict(self, split: SplitName) -> Tensor:
        """Logits (n, C) float32 of a split's images with the weights as they are, on the device."""
        feed, images = self.feeds[split], self._images(split)
        parts = feed.in_order.split(feed.room)
        feed.announce(parts)
        eval_mode(self.model)
        with self._numerics(), torch.inference_mode():
            if split == "validation":
                return self._cache.predict(images, parts)
            with without_matrices(self.model):  # as the model computes in other programs
                return torch.cat([self.forward(images(index)) for index in parts])

    def evaluate(self, split: SplitName) -> Scores:
        """Scores of a split with the weights as they are."""
        return classification_scores(self.predict(split), self.feeds[split].labels)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, S, S) to logits (B, C) float32."""
        bf16 = self.train.precision == "bf16"
        # Graphs cannot share weights that autocast keeps from one pass to the next.
        with torch.autocast(self.device.type, torch.bfloat16, bf16, not self._takes_graphs):
            logits: Tensor = self.model(x.contiguous(memory_format=self._layout))
        return logits.float()

    def _numerics(self) -> AbstractContextManager[None]:
        return numerics(self.device, self.train.precision)

    def _images(self, split: SplitName) -> Callable[[Tensor], Tensor]:
        """A function from positions (B,) in a split to normalised images (B, 3, S, S)."""
        feed = self.feeds[split]
        return lambda index: self.normalise(feed.pixels(index))

    def update_norms(self, *, always: bool = False) -> None:
        """Compute the statistics of the norms that train, if `train.batch_norm` is precise.

        Args:
            always: also if it is not: the weights are not those of a training.
        """
        if not self._trained or not (always or self.train.batch_norm == "precise"):
            return
        feed, images = self.feeds["train"], self._images("train")
        parts = batches(feed.in_order, feed.room)
        feed.announce(parts)
        with self._numerics():
            update_norms(self.model, self._frozen, parts, lambda index: self.forward(images(index)))

    def begin(
        self, rates: Rates, weight_decay: float = 0.0, recipe: Mapping[str, float] | None = None
    ) -> None:
        """Go back to the pretrained weights and the seeds, and freeze parameters without a rate."""
        self._recipe = recipe or {}
        self._settings = self._with(self._recipe)
        self._cache.forget_plan()
        self._pretrained.restore()
        self._random.seed(self.train.seed)
        self.images = 0
        self._set_rates(rates, weight_decay, epoch=1)

    def _with(self, recipe: Mapping[str, float]) -> TrainConfig:
        """The training settings under a plan's recipe."""
        return TrainConfig.model_validate(self.train.model_dump() | dict(recipe))

    def _set_rates(self, rates: Rates, weight_decay: float, epoch: int) -> None:
        """Freeze parameters without a rate, and train the others from this epoch on."""
        rates = rates_by_parameter(self.units, rates)
        self._trained = freeze_others(self._parameters, rates)
        self._frozen = frozen_modules(self.model, self.units, self._trained)
        training_mode(self.model, self._frozen)
        self._pretrained.will_train(self._trained)
        steps = len(batches(self.feeds["train"].in_order, self.train.batch_size))
        self._optimizer = make_optimizer(
            *(self._parameters, rates, weight_decay, self._settings),
            *(steps, steps * (epoch - 1)),
            left_out=self._undecayed,
            beta1=self._recipe.get("momentum", BETA1),
        )

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of the weights and buffers as they are, on the CPU and contiguous."""
        return {
            name: tensor.detach().to("cpu", copy=True).contiguous()
            for name, tensor in self.model.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Set the weights that `evaluate` and `predict` use; runs still start pretrained."""
        self._cache.forget_plan()
        load_own(self.model, state)
