"""A glance at images: the time that all cores take to decode one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from revo_ray.data import glance as module
from revo_ray.data.glance import glance
from revo_ray.settings.schema import DataConfig
from tests.end_to_end.photos import write_photos


@pytest.mark.parametrize("cores", [1, 8])
def test_the_cores_share_the_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    photos = write_photos(tmp_path / "p", {"temple": 5, "flower": 5}, (64, 48))
    monkeypatch.setattr(module, "facts_and_square", lambda *_: time.sleep(0.04))
    monkeypatch.setattr(module, "usable_cores", lambda: cores)
    found = glance(DataConfig(source="folder", root=str(photos), train_fraction="rest"))
    assert 0.04 / cores <= found.seconds < 0.15 / cores
