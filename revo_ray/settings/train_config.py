"""The section `train` of a configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from revo_ray.settings.limits import LARGEST
from revo_ray.settings.section import Section


class TrainConfig(Section):
    """Settings of one fine-tuning, the same for every evaluation of a search."""

    epochs: int = Field(10, ge=1, le=LARGEST)
    """Passes over the training images."""
    batch_size: int = Field(32, ge=2, le=LARGEST)
    """Images per step. If the last batch would have less than half as many, it shares evenly with
    the one before, since BatchNorm learns badly from few. A single image joins the one before
    instead."""
    optimizer: Literal["sgd", "adamw"] = "adamw"
    """One learning rate per unit. The paper uses sgd, which learns far less in few steps."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """SGD momentum. The paper uses 0."""
    decay_all: bool = False
    """false: weight decay leaves out biases, norms and other vectors, and the parameters that the
    network's `no_weight_decay()` names, as timm does. true: it acts on all that trains."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Factor on all learning rates, updated at each step. cosine falls from 1 to 0."""
    warmup_epochs: float = Field(0.0, ge=0)
    """Epochs over which the factor rises linearly to 1, before the schedule begins."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: the training loss weighs each class by the inverse of its number of training
    images, with mean 1, as `weight` of torch's CrossEntropyLoss. Validation and test weigh all
    images alike."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Part of each training label that is spread evenly over all classes."""
    mixup: float = Field(0.0, ge=0)
    """α of mixup, which blends images and labels of a batch (arXiv 1710.09412). 0: none."""
    cutmix: float = Field(0.0, ge=0)
    """α of CutMix, which pastes a box of another image (arXiv 1905.04899). 0: none. With mixup too,
    each batch gets one of the two, at random."""
    clip_norm: float | None = Field(None, gt=0)
    """Largest norm of the gradient of all that trains; longer ones are scaled down. Each unit's
    step then depends on which others are frozen. None: no limit."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay, per step, of a moving average of the weights, which then replaces them in validation,
    in the best model and in the test. BatchNorm: precise statistics are computed under the average;
    running ones stay those of the weights that train. None: no average."""
    batch_norm: Literal["running", "precise"] = "precise"
    """Statistics that trained BatchNorm layers use in evaluation. running: averages over their last
    steps. precise: exact statistics of all training images under the final weights, at the price
    of one more forward pass (arXiv 2105.07576). After few steps the two are far apart."""
    augment: Literal["none", "flip", "crop-flip", "trivial", "randaugment"] = "none"
    """Augmentation of the training images, seeded, on the device."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    """Convolutions and products in fp32, on GPUs in tf32, or in bf16 by automatic mixing."""
    cuda_graphs: bool = False
    """true: a GPU gets each step's forward and backward pass at once, where that changes no bit."""
    validate_epochs: Literal["last", "every"] = "last"
    """last: validate after the last epoch, which the search reads. every: after each epoch."""
    cache_mb: int = Field(64, ge=0, le=LARGEST)
    """Memory per worker for cached features of frozen layers, used only where caching changes no
    bit of any result. 0 turns the cache off."""
    time_limit: float | None = Field(None, gt=0)
    """Seconds that an evaluation may take, as 600 for ten minutes. Its worker is then killed; after
    the third time its row is `error`. A worker's first evaluation gets five minutes more, for
    loading. None: no limit."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of the new classifier, the data order, the augmentation and dropout."""

    @model_validator(mode="after")
    def _warmup_ends(self) -> TrainConfig:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs is {self.warmup_epochs:g}; it must be below epochs, {self.epochs}"
            )
        return self
