"""Units are grouped into blocks and stages."""

from __future__ import annotations

from revo_ray.report.figures.network import groups


def test_units_are_grouped_by_their_names() -> None:
    units = ["conv_stem", "blocks.0.0.conv", "blocks.0.1.conv", "blocks.1.0.conv", "classifier"]
    found = [("conv_stem", 0, 1), ("blocks.0", 1, 3), ("blocks.1", 3, 4), ("classifier", 4, 5)]
    assert groups(units) == found
    resnet = ["conv1", "layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1", "fc"]
    assert [name for name, *_ in groups(resnet)] == ["conv1", "layer1.0", "layer1.1", "fc"]
