"""Sources: what a record holds, and the errors of a wrong configuration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from revo_ray.config import DataConfig
from revo_ray.data.sources import read_source
from revo_ray.errors import UserError


def test_digits_are_scikit_learns_at_256_levels() -> None:
    source = read_source(DataConfig(source="digits"))
    digits = load_digits()
    assert len(source.records) == 1797
    assert source.classes == tuple("0123456789")
    assert [int(record.label) for record in source.records] == digits.target.tolist()
    assert len({record.name for record in source.records}) == 1797
    for i in (0, 7, 1796):
        image = source.records[i].load()
        assert image.size == (8, 8)
        assert np.abs(np.asarray(image) - digits.images[i] * 255 / 16).max() <= 0.5
    assert np.asarray(source.records[0].load()).max() <= 255
    assert source.fingerprint == read_source(DataConfig(source="digits")).fingerprint


def test_unknown_source_names_the_nearest() -> None:
    with pytest.raises(UserError, match="'digts'; did you mean digits") as error:
        read_source(DataConfig(source="digts"))
    assert error.value.key == "data.source"


def test_a_root_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in ("imgs", str(tmp_path / "file")):
        with pytest.raises(UserError, match="no such folder") as error:
            read_source(DataConfig(root=root))
        assert error.value.key == "data.root"
    with pytest.raises(UserError) as error:
        read_source(DataConfig(root="imgs"))
    assert str(error.value) == "data.root: no such folder 'imgs'"
