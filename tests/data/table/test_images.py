"""Images: one array over many batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from revo_ray.data.table.images import Images

WHOLE = np.random.default_rng(0).integers(0, 256, (23, 3, 4, 4), dtype=np.uint8)


@pytest.fixture
def images() -> Images:
    return Images(np.split(WHOLE.copy(), [5, 6, 6, 20]), 4)


@pytest.mark.parametrize(
    "index",
    [
        0,
        -1,
        np.int64(22),
        slice(None),
        slice(4, 21, 3),
        slice(0, 0),
        [22, 0, 5, 5, -3],
        np.array([], np.int64),
        np.arange(23) % 3 == 0,
        np.random.default_rng(1).permutation(23),
    ],
)
def test_indexed_as_numpy_indexes(images: Images, index: Any) -> None:
    found = images[index]
    assert found.dtype == np.uint8
    assert found.shape == WHOLE[index].shape
    assert np.array_equal(found, WHOLE[index])


def test_the_rest_of_an_array(images: Images) -> None:
    assert (images.shape, images.nbytes, len(images)) == (WHOLE.shape, WHOLE.nbytes, 23)
    as_array: NDArray[Any] = np.asarray(images)
    assert np.array_equal(as_array, WHOLE)
    assert np.asarray(images, np.float32).dtype == np.float32
    with pytest.raises(IndexError):
        images[23]
    with pytest.raises(IndexError):
        images[[0, -24]]
    assert Images([], 4)[:].shape == (0, 3, 4, 4)


def test_what_is_read_is_a_copy(images: Images) -> None:
    images[3][:] = 0
    images[[3, 4]][:] = 0
    images[:][:] = 0
    assert np.array_equal(images[3], WHOLE[3])
