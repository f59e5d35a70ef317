"""Presets: each is a valid configuration, and an unknown name is an error that lists them."""

from __future__ import annotations

import pytest

from revo_ray.errors import UserError
from revo_ray.methods import make_method
from revo_ray.settings.presets import preset_names
from revo_ray.settings.schema import SearchConfig


@pytest.mark.parametrize("preset", preset_names())
def test_presets_load(preset: str) -> None:
    config = SearchConfig.load(f"preset:{preset}")
    make_method(config.method, config.plugins)


def test_an_unknown_preset() -> None:
    with pytest.raises(UserError, match=r"no preset 'nope' of a search \(there are .*quickstart"):
        SearchConfig.load("preset:nope")
