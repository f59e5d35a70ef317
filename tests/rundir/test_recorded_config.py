"""`config.yaml`: what it must not hold, and what a resumed run may change."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from revo_ray.errors import UserError
from revo_ray.rundir import recorded_config
from revo_ray.rundir.recorded_config import check_config, write_config
from revo_ray.settings.schema import SearchConfig
from revo_ray.storage import Storage

CHECKSUMS: dict[str, str | None] = {"weights": "a", "table": "b"}
RULES = {"units": 1, "proposals": 2}


def test_a_key_that_this_version_added_counts_as_its_default(tmp_path: Path) -> None:
    config = SearchConfig.load()
    write_config(Storage(str(tmp_path)), config, CHECKSUMS, RULES)
    record = yaml.safe_load((tmp_path / "config.yaml").read_text())
    del record["data"]["on_bad_image"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(record))
    check_config(Storage(str(tmp_path)), config, CHECKSUMS, RULES)
    changed = SearchConfig.load(overrides=["data.on_bad_image=skip"])
    with pytest.raises(UserError, match=r"data\.on_bad_image \('stop', now 'skip'\)"):
        check_config(Storage(str(tmp_path)), changed, CHECKSUMS, RULES)
    with pytest.raises(UserError, match="the table of the search"):
        check_config(Storage(str(tmp_path)), config, CHECKSUMS | {"table": "c"}, RULES)


def test_a_resume_under_other_rules_names_both_versions(tmp_path: Path) -> None:
    config = SearchConfig.load()
    write_config(Storage(str(tmp_path)), config, CHECKSUMS, RULES)
    for rules, message in (
        ({"units": 2, "proposals": 2}, "under version 1 of the rules of units, .* has version 2"),
        ({"units": 1, "proposals": 3}, "under version 2 of the rules of proposals, .* version 3"),
    ):
        with pytest.raises(UserError, match=message):
            check_config(Storage(str(tmp_path)), config, CHECKSUMS, rules)


def test_a_configuration_without_rules_is_of_version_1(tmp_path: Path) -> None:
    config = SearchConfig.load()
    write_config(Storage(str(tmp_path)), config, CHECKSUMS, RULES)
    record = yaml.safe_load((tmp_path / "config.yaml").read_text())
    del record["recorded"]["rules"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(record))
    check_config(Storage(str(tmp_path)), config, CHECKSUMS, {"units": 1, "proposals": 1})
    with pytest.raises(UserError, match="version 1 of the rules of proposals"):
        check_config(Storage(str(tmp_path)), config, CHECKSUMS, RULES)


def test_names_stand_in_the_file_as_they_are_written(tmp_path: Path) -> None:
    config = SearchConfig.load(overrides=["data.root=Bilder/Äpfel"])
    write_config(Storage(str(tmp_path)), config, CHECKSUMS, RULES)
    assert "root: Bilder/Äpfel" in (tmp_path / "config.yaml").read_text(encoding="utf-8")


def test_the_revision_is_that_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "package" / "rundir" / "recorded_config.py"
    code.parent.mkdir(parents=True)
    code.write_text("")
    monkeypatch.setattr(recorded_config, "__file__", str(code))
    revision = recorded_config._revision.__wrapped__
    assert revision() is None
    for line in ("init", "add .", "-c user.name=a -c user.email=b commit -m first"):
        subprocess.run(["git", *line.split()], cwd=tmp_path, check=True, capture_output=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert revision() == head.stdout.strip()
    code.write_text("changed = True")
    assert revision() == head.stdout.strip() + "-dirty"
