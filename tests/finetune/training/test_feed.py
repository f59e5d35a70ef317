"""Feed: the same batches, from the device or from the map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from revo_ray.data.table.image_table import Table
from revo_ray.data.table.images import Images
from revo_ray.finetune.training import feed
from revo_ray.finetune.training.feed import Feed, fits, normalisation

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
