"""Feed: the same batches, from the device or from the map."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.data.table.image_table import Table
from revo_ray.data.table.images import Images
from revo_ray.finetune.training import feed
from revo_ray.finetune.training.feed import Feed, batches, fits, normalisation

CPU = torch.device("cpu")
PIXELS = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 4), dtype=np.uint8)
LABELS = np.arange(50) % 7
INDICES = np.array([3, 49, 7, 11, 30, 31, 12])


@pytest.fixture
def table() -> Table:
    images = Images(np.split(PIXELS, [20, 45]), 4)
    return Table(Path("none"), images, LABELS, tuple("abcdefg"), pa.table({}))


@pytest.mark.parametrize("resident", [True, False])
def test_batches_are_rows_of_the_split(
    table: Table, resident: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_CHUNK_BYTES", 3 * 48)  # loaded in three parts
    made = Feed(table, INDICES, CPU, resident=resident)
    assert len(made) == 7
    for at in ([0], [6, 0, 6, 2], range(7)):
        index = torch.tensor(list(at))
        images, labels = made.pixels(index), made.labels[index]
        assert images.dtype == torch.uint8
        assert np.array_equal(images.numpy(), PIXELS[INDICES[list(at)]])
        assert np.array_equal(labels.numpy(), LABELS[INDICES[list(at)]])


@given(st.integers(1, 300), st.integers(2, 70))
def test_no_batch_has_less_than_half_of_its_images_unless_there_are_no_more(
    n: int, size: int
) -> None:
    order = torch.randperm(n)
    parts = batches(order, size)
    assert torch.equal(torch.cat(parts), order)
    sizes = [*map(len, parts)]
    plain = [*map(len, order.split(size))]
    if len(plain) == 1 or 2 * plain[-1] >= max(size, 4):
        assert sizes == plain
    elif plain[-1] == 1:
        assert sizes == [*plain[:-2], size + 1]
    else:
        assert sizes[:-2] == plain[:-2]
        assert 0 <= sizes[-2] - sizes[-1] <= 1
    assert min(sizes) >= min(n, max(2, size / 2))


@pytest.mark.parametrize("sizes", [[7], [3, 4], [1, 2, 1, 2, 1], []])
def test_what_is_announced_is_read_ahead_and_the_same(table: Table, sizes: list[int]) -> None:
    made = Feed(table, INDICES, CPU, resident=False, streams=True)
    parts = list(torch.randperm(7)[: sum(sizes)].split(sizes)) if sizes else []
    for _ in range(2):  # epochs
        made.announce(parts)
        seen = [made.pixels(part) for part in parts]
        for part, images in zip(parts, seen, strict=True):  # none was overwritten since
            assert np.array_equal(images.numpy(), PIXELS[INDICES[part.numpy()]])


def test_batches_may_come_between_those_announced_and_an_epoch_may_end_early(table: Table) -> None:
    made = Feed(table, INDICES, CPU, resident=False, streams=True)
    parts, other = list(torch.arange(7).split(2)), torch.tensor([5, 5, 0])
    made.announce(parts)
    for part in parts[:2]:
        for index in (part, other, part):
            assert np.array_equal(made.pixels(index).numpy(), PIXELS[INDICES[index.numpy()]])
    made.announce(parts)
    assert np.array_equal(made.pixels(parts[0]).numpy(), PIXELS[INDICES[:2]])


def test_reading_runs_ahead_of_the_use(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next batch is being read while one is in use, and no other: there are two buffers."""
    begun = threading.Semaphore(0)
    read = Images.read

    def noted(self: Images, rows: Any, *, out: Any) -> None:
        begun.release()
        read(self, rows, out=out)

    monkeypatch.setattr(Images, "read", noted)
    made = Feed(table, INDICES, CPU, resident=False, streams=True)
    parts = list(torch.arange(7).split(2))
    made.announce(parts)
    made.pixels(parts[0])
    assert begun.acquire(timeout=60)
    assert begun.acquire(timeout=60)
    assert not begun.acquire(timeout=0.2)


def test_normalised_channels_have_the_models_statistics() -> None:
    images = torch.tensor(PIXELS)
    mean, std = torch.tensor((0.1, 0.5, 0.9)), torch.tensor((0.2, 0.3, 0.4))
    made = normalisation((0.1, 0.5, 0.9), (0.2, 0.3, 0.4), CPU)(images)
    assert torch.allclose(made * std[:, None, None] + mean[:, None, None], images / 255, atol=1e-6)


def test_a_batch_may_be_changed(table: Table) -> None:
    for resident in (True, False):
        made = Feed(table, INDICES, CPU, resident=resident)
        made.pixels(torch.arange(7)).zero_()
        assert np.array_equal(made.pixels(torch.arange(7)).numpy(), PIXELS[INDICES])


def test_a_quarter_of_the_free_memory(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not fits(table, 1, CPU)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4 * 480, 10**9))
    gpu = torch.device("cuda", 0)
    assert fits(table, 10, gpu)
    assert not fits(table, 11, gpu)
