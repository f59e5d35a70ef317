"""Features of the frozen units below all that trains, computed once and kept in bounded memory.

Kept features change no bit of any result, so results do not depend on what a worker ran before: a
cut is used only after it gave the network's own logits bit for bit, and training features only
where those of an image do not depend on its neighbours in the batch.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence, Set
from functools import partial
from itertools import chain, dropwhile
from typing import Literal

import torch
from torch import Tensor, nn

from revo_ray.finetune.reuse.cut_points import Cut, Forward, find_cuts
from revo_ray.finetune.reuse.partial_forward import ForwardFromCut, features_at, outputs_below
from revo_ray.finetune.training.loop import LogitsAt

Images = Callable[[Tensor], Tensor]
"""Positions (B,) in a split to normalised images (B, 3, S, S) on the device."""

_Key = tuple[Literal["train", "validation"], str]
"""Split and name of a cut."""

_Features = dict[int, Tensor]
"""Features of all training images by the size of their batches, or of each validation batch."""

# Errors of a network whose modules below the cut give NaN, or are called in another way.
_MISFITS = (
    *(RuntimeError, TypeError, ValueError, AttributeError, AssertionError),
    *(LookupError, StopIteration),
)


class FeatureCache:
    """Runs a network from the deepest cut that a plan leaves as it was pretrained.

    Args:
        model: the network, with the pretrained weights whenever features are computed.
        forward: runs it.
        image: shape of an image (3, S, S).
        restore: puts the pretrained buffers back.
        limit: bytes of features to keep; the least recently used go first.
    """

    def __init__(
        self,
        model: nn.Module,
        forward: Forward,
        image: torch.Size,
        restore: Callable[[], None],
        limit: int,
    ) -> None:
        self._model, self._forward, self._image, self._limit = model, forward, image, limit
        self._restore = restore
        self._cuts: list[Cut] | None = None
        self._below: list[Cut] = []
        self._moving: Set[str] = frozenset()
        self._kept: OrderedDict[_Key, _Features] = OrderedDict()
        self._from_cut: dict[str, ForwardFromCut] = {}
        self._misfits: set[_Key] = set()

    def set_plan(self, trained: Set[str], moving: Set[str], device: torch.device) -> None:
        """Find the cuts below all that a plan changes. The first time this draws random numbers.

        Args:
            trained: parameters that train.
            moving: modules in training mode, which may change their buffers or draw.
            device: device of the model.
        """
        if not self._limit:
            return
        if self._cuts is None:
            images = torch.randn(2, *self._image, generator=torch.Generator().manual_seed(0))
            try:
                self._cuts = find_cuts(self._model, self._forward, images.to(device))
            except _MISFITS:  # the network cannot train on two images, say
                self._cuts = []
            self._restore()
        self._moving = moving
        self._below = [
            cut
            for cut in reversed(self._cuts)
            if not (cut.parameters & trained or cut.stateful & moving)
        ]

    def forget_plan(self) -> None:
        """Use no features until the next `set_plan`: the weights may be any."""
        self._below = []

    def predict(self, images: Images, batches: Sequence[Tensor]) -> Tensor:
        """Logits (n, C) of the validation images, whose batches are always the same.

        If their features are not kept yet, the whole network runs, and its features at the cut are
        kept.
        """
        cut = self._first("validation", sum(map(len, batches)))
        if cut is None:
            return torch.cat([self._forward(images(index)) for index in batches])
        key: _Key = ("validation", cut.name)
        if key in self._kept:
            self._kept.move_to_end(key)
            kept = self._kept[key].values()
            return torch.cat([self._from_cut[cut.name](features.clone()) for features in kept])
        captured: list[Tensor] = []
        module = self._model.get_submodule(cut.name)
        with module.register_forward_hook(lambda _, __, output: captured.append(output.clone())):
            outputs = [self._forward(images(index)) for index in batches]
        if len(captured) == len(batches) and self._agrees(cut, captured[0].clone(), outputs[0]):
            self._keep(key, dict(enumerate(captured)))
        else:
            self._misfits.add(key)
        return torch.cat(outputs)

    def training(self, images: Images, count: int, sizes: Set[int], epochs: int) -> LogitsAt | None:
        """A function from positions of training images to their logits; None if no cut is exact.

        The modules must be in the modes of the plan's training, the buffers pretrained; they are so
        again afterwards. Random numbers may be drawn.

        Args:
            images: images of the training split, not augmented.
            count: the number of images.
            sizes: sizes of the batches.
            epochs: epochs for which the features will be used.
        """
        while (cut := self._first("train", count)) is not None:
            key: _Key = ("train", cut.name)
            if key not in self._kept:
                if epochs < 2 + len(sizes):  # computing the features would take as long
                    return None
                try:
                    with torch.no_grad():
                        made = self._compute(cut, images, count, sizes)
                except _MISFITS:
                    made = None
                self._restore()
                if made is None or not self._keep(key, made):
                    self._misfits.add(key)
                    continue
            self._kept.move_to_end(key)
            features, from_cut = self._kept[key], self._from_cut[cut.name]
            return lambda index: from_cut(features[len(index)][index])
        return None

    def _first(self, split: Literal["train", "validation"], count: int) -> Cut | None:
        """The deepest cut whose features fit into memory and that has not failed before."""
        for cut in self._below:
            draws = split == "train" and cut.draws & self._moving
            unusable = draws or (split, cut.name) in self._misfits
            if not unusable and cut.nbytes * count <= self._limit:
                return cut
        return None

    def _compute(self, cut: Cut, images: Images, count: int, sizes: Set[int]) -> _Features | None:
        """Features (n, …) for batches of each size; None if they would not be exact.

        The kernels of a small batch may add in another order than those of a large one. Each size
        then has features of its own.
        """
        run = partial(features_at, self._model, self._forward, cut)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
        made: _Features = {}
        whole: Tensor | None = None
        for size in sorted(sizes, reverse=True):
            sample = order[:size]
            probe = run(images(sample))
            for by in (1, size // 2):
                if placed := self._placed(cut, images(sample), by):
                    self._rule_out(placed)
                    return None
            gpus = [probe.device] if probe.is_cuda else []
            with torch.enable_grad(), torch.random.fork_rng(gpus):
                torch.manual_seed(0)
                expected = self._forward(images(sample)).detach()
                torch.manual_seed(0)
                if not self._agrees(cut, probe.clone(), expected):
                    return None
            if whole is None or not torch.equal(whole[sample.to(whole.device)], probe):
                # All batches have exactly that size; the last is filled up with the first images.
                filled = torch.arange(math.ceil(count / size) * size) % count
                whole = torch.cat([run(images(index)) for index in filled.split(size)])[:count]
            # The sample has other neighbours here, in another order; the bits must be the same.
            if not torch.equal(whole[sample.to(whole.device)], probe):
                return None
            made[size] = whole
        return made

    def _placed(self, cut: Cut, batch: Tensor, by: int) -> list[str]:
        """Modules whose outputs for an image depend on whether it is the batch's last.

        A vectorised kernel may compute the last few numbers of a tensor one by one, with another
        exponential, say. The outputs of single modules show that far more often than the cut's.

        Args:
            by: the batch runs twice, as it is and rolled by so many images.
        """
        run = partial(outputs_below, self._model, self._forward, cut)
        last = len(batch) - 1
        stay = run(batch, [last, last - by])
        turned = run(batch.roll(by, 0), [(last + by) % len(batch), last])
        pairs = zip(stay, turned, strict=True)
        return [name for (name, one), (_, other) in pairs if one.ne(other).any()]

    def _rule_out(self, modules: Sequence[str]) -> None:
        """Keep no features of training images at the first of these modules or behind it."""
        names = (cut.name for cut in self._cuts or [])
        self._misfits |= {("train", name) for name in dropwhile(lambda n: n not in modules, names)}

    def _agrees(self, cut: Cut, features: Tensor, expected: Tensor) -> bool:
        """Whether the network gives the expected logits from the cut on."""
        try:
            if cut.name not in self._from_cut:
                from_cut = ForwardFromCut(self._model, self._forward, cut, self._image)
                self._from_cut[cut.name] = from_cut
            return torch.equal(self._from_cut[cut.name](features).detach(), expected)
        except _MISFITS:
            return False

    def _keep(self, key: _Key, made: _Features) -> bool:
        """Keep features, and drop the least recently used ones; False if they need too much."""
        wanted = _bytes([made])
        if wanted > self._limit:
            return False
        while self._kept and _bytes(self._kept.values()) + wanted > self._limit:
            self._kept.popitem(last=False)
        self._kept[key] = made
        return True


def _bytes(kept: Iterable[_Features]) -> int:
    """Bytes of the features, those of several batch sizes counted once."""
    tensors = chain.from_iterable(features.values() for features in kept)
    return sum({id(tensor): tensor.nbytes for tensor in tensors}.values())
