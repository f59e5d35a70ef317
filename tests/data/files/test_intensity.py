"""Pixels of more than 8 bits: one range for all of a table's images, whatever their order."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from revo_ray.data.files.decode import square
from revo_ray.data.files.decode_error import DecodeError
from revo_ray.data.files.formats import open_image
from revo_ray.data.files.intensity import (
    IntensityRange,
    intensity_finding,
    shown,
    to_8_bits,
)
from revo_ray.data.image_records import Topic

RNG = np.random.default_rng(0)


def picture(low: float, high: float, kind: type, seed: int = 0, side: int = 48) -> bytes:
    """A smooth picture that fills a range, as a TIFF."""
    coarse = np.random.default_rng(seed).random((6, 6)).astype(np.float32)
    smooth = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BILINEAR))
    grey = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    buffer = io.BytesIO()
    Image.fromarray((low + grey * (high - low)).astype(kind)).save(buffer, "TIFF")
    return buffer.getvalue()


def found(*files: bytes, size: int = 32) -> IntensityRange:
    intensities = IntensityRange()
    for file in files:
        intensities.add(square(open_image(file), size))
    return intensities


@pytest.mark.parametrize(
    ("low", "high", "kind", "expected"),
    [
        pytest.param(0, 65_535, np.uint16, (0, 65_535), id="all of 16 bits"),
        pytest.param(0, 4_095, np.uint16, (0, 4_095), id="12 bits"),
        pytest.param(0, 1_023, np.uint16, (0, 1_023), id="10 bits"),
        pytest.param(0, 255, np.uint16, (0, 255), id="8 bits in 16"),
        pytest.param(900, 3_000, np.uint16, (0, 4_095), id="the middle of 12 bits"),
        pytest.param(21_000, 23_000, np.uint16, (21_000, 23_000), id="a thermal camera"),
        pytest.param(-1000, 3000, np.int32, (-1000, 3000), id="Hounsfield units"),
        pytest.param(-1000, 3000, np.int16, (-1000, 3000), id="16 bits, signed"),
        pytest.param(0, 1, np.float32, (0, 1), id="floats of a unit"),
        pytest.param(0.2, 0.9, np.float32, (0, 1), id="most of a unit"),
        pytest.param(-1, 1, np.float32, (-1, 1), id="floats around 0"),
        pytest.param(0, 255, np.float32, (0, 255), id="8 bits as floats"),
        pytest.param(1e-7, 3e-7, np.float32, (1e-7, 3e-7), id="small floats"),
        pytest.param(-4e9, 4e9, np.float32, (-4e9, 4e9), id="large floats"),
    ],
)
def test_the_range_shows_the_pictures(
    low: float, high: float, kind: type, expected: tuple[float, float]
) -> None:
    files = [picture(low, high, kind, seed) for seed in range(3)]
    taken = found(*files).range()
    assert taken == pytest.approx(expected, abs=0.08 * (high - low))
    if expected in ((0, 1), (0, 255), (0, 1_023), (0, 4_095), (0, 65_535)):
        assert taken == expected
    grey = np.stack([shown(square(open_image(file), 48), taken) for file in files])
    levels = len(np.unique(grey))
    assert levels >= (100 if expected[1] - expected[0] > 1.4 * (high - low) else 200)


@pytest.mark.parametrize("outlier", [65_535, 40_000])
def test_hot_pixels_set_no_range(outlier: int) -> None:
    grey = np.tile(np.arange(4096, dtype=np.uint16)[::16], (256, 1))
    grey[7, 7] = outlier
    deep = square(Image.fromarray(grey), 256)
    intensities = IntensityRange()
    intensities.add(deep)
    assert intensities.range() == (0, 4095)


def test_sharp_edges_do_not_widen_the_range() -> None:
    """The bicubic filter would swing beyond black and white at the edges."""
    grey = (np.indices((90, 90)).sum(0) // 9 % 2 * 4095).astype(np.uint16)
    deep = square(Image.fromarray(grey), 40)
    assert (deep.min(), deep.max()) == (0, 4095)
    assert deep.dtype == np.float32


def test_full_16_bits_are_divided_by_257() -> None:
    grey = RNG.integers(0, 65_536, (64, 64), dtype=np.uint16)
    deep = square(Image.fromarray(grey), 64)
    made = shown(deep, found_in(deep).range())
    assert np.array_equal(made, np.repeat(np.rint(grey / 257)[None], 3, axis=0))


def found_in(*deep: NDArray[np.float32]) -> IntensityRange:
    intensities = IntensityRange()
    for pixels in deep:
        intensities.add(pixels)
    return intensities


VALUES = st.floats(
    width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**99), max_value=2.0**99
)


@given(
    images=st.lists(st.lists(VALUES, min_size=1, max_size=9), min_size=1, max_size=8),
    cut=st.integers(0, 8),
    seed=st.randoms(),
)
def test_neither_order_nor_parts_matter(
    images: list[list[float]], cut: int, seed: np.random.Generator
) -> None:
    deep = [np.array(values, np.float32).reshape(1, 1, -1) for values in images]
    whole = found_in(*deep)
    shuffled = list(deep)
    seed.shuffle(shuffled)
    parts = found_in(*shuffled[:cut])
    parts.merge(found_in(*shuffled[cut:]))
    assert parts.range() == whole.range()
    assert parts.images == whole.images == len(deep)
    low, high = whole.range()
    assert low <= high
    for pixels in deep:
        grey = to_8_bits(pixels, low, high)
        assert (grey.shape, grey.dtype) == ((3, *pixels.shape[1:]), np.uint8)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e4, 1e30])
@pytest.mark.parametrize("draw", ["normal", "lognormal", "uniform"])
def test_quantiles_are_close_to_numpys(draw: str, scale: float) -> None:
    values = getattr(np.random.default_rng(3), draw)(size=(1, 25, 40))
    deep = (scale * values).astype(np.float32)
    intensities = found_in(deep)
    for part in (0.001, 0.25, 0.5, 0.999):
        exact = float(np.quantile(deep, part, method="lower"))
        assert intensities._quantile(part) == pytest.approx(exact, rel=2**-11, abs=1e-37)


def test_pixels_without_a_value_are_white_and_set_no_range() -> None:
    grey = np.tile(np.linspace(-5, 5, 64, dtype=np.float32), (64, 1))
    grey[:20, :20] = np.nan
    grey[40:, 40:] = np.inf
    deep = square(Image.fromarray(grey), 32)
    assert np.isnan(deep[:, :9, :9]).all()
    assert np.isfinite(deep[:, :9, 12:]).all()
    low, high = found_in(deep).range()
    assert (low, high) == pytest.approx((-5, 5), abs=0.2)
    assert (to_8_bits(deep, low, high)[:, :9, :9] == 255).all()
    nothing = square(Image.fromarray(np.full((9, 9), np.nan, np.float32)), 8)
    assert (to_8_bits(nothing, *found_in(nothing).range()) == 255).all()


@pytest.mark.parametrize("value", [0, 7, -3])
def test_an_even_picture_has_a_range(value: int) -> None:
    deep = square(Image.fromarray(np.full((9, 9), value, np.int32)), 8)
    assert (to_8_bits(deep, *found_in(deep).range()) == 0).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_deep_pictures_fit_as_others_do(fit: str) -> None:
    grey = RNG.integers(100, 256, (40, 100), dtype=np.uint8)
    flat = square(Image.fromarray(grey), 32, fit)
    deep = square(Image.fromarray(grey.astype(np.uint16) * 257), 32, fit)
    assert np.abs(to_8_bits(deep, 0, 65_535).astype(int) - flat).mean() < 0.5
    if fit == "pad":
        assert (to_8_bits(deep, -70_000, 70_000)[:, 0] == 0).all()  # the bars are black


def test_the_finding_names_range_and_key() -> None:
    low, high = found(picture(-1000, 3000, np.int32)).range()
    finding = intensity_finding(40, (low, high))
    assert (finding.topic, finding.key) == (Topic.INTENSITY, "data.intensity")
    assert f"{low:.6g} becomes black and {high:.6g} white" in finding.text
    assert "data.intensity: [low, high]" in finding.text


def test_a_model_without_a_range_sees_16_bits_and_nothing_else() -> None:
    grey = RNG.integers(0, 65_536, (8, 8), dtype=np.uint16)
    deep = square(Image.fromarray(grey), 8)
    assert np.array_equal(shown(deep, None), to_8_bits(deep, 0, 65_535))
    for odd in (deep - 70_000, deep * 2, deep / 65_535):
        with pytest.raises(DecodeError, match="the model has seen none"):
            shown(odd.astype(np.float32), None)
