"""RelativeGradientNorm: the policy of Auto-RGN, which scales the rate of each tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm

from revo_ray.methods import TunerLike, find_units


class RelativeGradientNorm:
    """Sets the rate of each tensor by its relative gradient norm as an epoch starts.

    A tensor's score is ‖g‖/‖θ‖ (Euclidean norms), averaged over the epoch's first batches and
    divided by the largest score of all; its rate is score·lr (Lee et al. 2022, arXiv 2210.11466,
    section 5). g is the gradient of the loss on a batch as training would take it next, without
    augmentation. A new head has gradients far larger than pretrained tensors have, so it is not
    scored, and trains at lr. A tensor that is all zeros has no relative gradient and scores 0.
    Scoring leaves modes, buffers and random states as they were. Its images are counted.

    Args:
        lr: rate of the new head, and of the tensor with the largest score.
        batches: number of batches; all of them if an epoch has fewer.
        norms: `untrained`: parameters of normalisation layers are frozen; `with-weight`: they get
            the rate of the weight that their layer belongs to.
        scoring: `train`: in training mode, as the authors' code has it; `eval`: in eval mode, and
            the head is scored with the other tensors.
    """

    def __init__(
        self,
        lr: float,
        batches: int = 5,
        norms: Literal["untrained", "with-weight"] = "untrained",
        scoring: Literal["train", "eval"] = "train",
    ) -> None:
        self.lr = lr
        self.batches = batches
        self.norms = norms
        self.scoring = scoring

    def __call__(self, epoch: int, tuner: TunerLike) -> dict[str, float]:
        """Rates of single parameters by name; the others are frozen."""
        norms = norm_parameters(tuner.model)
        head: set[str] = set()
        if self.scoring == "train":
            head.update(n for unit in tuner.units if unit.head for n in unit.parameters)
        scored = {n: p for n, p in tuner.model.named_parameters() if n not in norms | head}
        scores = self._scores(tuner, list(scored.values()))
        rates = dict(zip(scored, (self.lr * scores).tolist(), strict=True))
        rates |= dict.fromkeys(head - norms, self.lr)
        if self.norms == "with-weight":
            rates |= {norm: rates[weight] for norm, weight in weight_beside(tuner.model).items()}
        return rates

    def _scores(self, tuner: TunerLike, tensors: Sequence[nn.Parameter]) -> Tensor:
        """Scores (T,) float64 of T tensors, on the CPU; the largest is 1."""
        model = tuner.model
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for tensor in tensors:  # also those that the epoch before froze
            tensor.requires_grad_(True)
        batches = tuner.batches[: self.batches]
        gradients = torch.zeros(len(tensors), dtype=torch.float64, device=tuner.device)
        with undisturbed(model, tuner.device):
            for index in batches:
                # .train() first: some attention layers keep in eval mode what depends on weights.
                model.train().train(self.scoring == "train")
                found = torch.autograd.grad(tuner.loss(index), tensors, allow_unused=True)
                zero = torch.zeros((), device=tuner.device)
                gradients += torch.stack([zero if g is None else vector_norm(g) for g in found])
                tuner.images += len(index)
        sizes = torch.stack([vector_norm(tensor.detach()) for tensor in tensors]).double()
        ratios = torch.where(sizes > 0, gradients / len(batches) / sizes, 0.0).cpu()
        return _relative_to_largest(ratios)


@contextmanager
def undisturbed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Put a model's modes and buffers, and torch's random states, back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
    model.train()
    for module, mode in modes:
        module.training = mode
    for buffer, before in buffers:
        buffer.copy_(before)


def norm_parameters(model: nn.Module) -> set[str]:
    """The names of the parameters of normalisation layers.

    A normalisation layer has `norm` in its class's name, and holds no convolution or linear layer.
    """
    return {
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        if "norm" in type(module).__name__.lower()
        and not any(isinstance(m, nn.modules.conv._ConvNd | nn.Linear) for m in module.modules())
        for name, _ in module.named_parameters(recurse=False)
    }


def weight_beside(model: nn.Module) -> dict[str, str]:
    """The parameters of normalisation layers, and the weight of the unit that each belongs to."""
    norms = norm_parameters(model)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    beside = {}
    for unit in find_units(model, "layer"):
        own = [name for name in unit.parameters if name.startswith(f"{unit.name}.")]
        weight = max(own, key=sizes.__getitem__)
        beside.update({name: weight for name in unit.parameters if name in norms})
    return beside


def _relative_to_largest(ratios: Tensor) -> Tensor:
    """Scores (T,) of ratios (T,); a ratio that overflowed scores 1, and its training diverges."""
    ratios = ratios.nan_to_num(nan=torch.inf, posinf=torch.inf)
    largest = ratios.max()
    if largest.isinf():
        return (ratios == largest).double()
    return ratios / largest if largest > 0 else ratios
