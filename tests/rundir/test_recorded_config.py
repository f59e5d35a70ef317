"""`config.yaml`: what it must not hold, and what a resumed run may change."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from revo_ray.errors import UserError
from revo_ray.rundir.recorded_config import check_record, write_record
from revo_ray.settings.schema import SearchConfig
from revo_ray.storage import Storage

CHECKSUMS: dict[str, str | None] = {"weights": "a", "table": "b"}


def test_a_key_that_this_version_added_counts_as_its_default(tmp_path: Path) -> None:
    config = SearchConfig.load()
    write_record(Storage(str(tmp_path)), config, CHECKSUMS)
    record = yaml.safe_load((tmp_path / "config.yaml").read_text())
    del record["data"]["on_bad_image"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(record))
    check_record(Storage(str(tmp_path)), config, CHECKSUMS)
    changed = SearchConfig.load(overrides=["data.on_bad_image=skip"])
    with pytest.raises(UserError, match=r"data\.on_bad_image \('stop', now 'skip'\)"):
        check_record(Storage(str(tmp_path)), changed, CHECKSUMS)
    with pytest.raises(UserError, match="the table of the search"):
        check_record(Storage(str(tmp_path)), config, CHECKSUMS | {"table": "c"})
