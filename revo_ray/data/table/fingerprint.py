"""Name the table of a source's images by a hash of all that its bytes depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from revo_ray.data.files.decode import explain
from revo_ray.data.image_records import Problem, Record, Source
from revo_ray.data.table.disk import replacing
from revo_ray.data.table.threads import in_order
from revo_ray.settings.schema import DataConfig

FORMAT = 2
"""Version of the table's format: raise it when the same source would give other bytes."""

StampedDigest = tuple[str, str]
"""Stamp of a picture, and its digest at that stamp."""


def table_path(
    config: DataConfig, source: Source, records: Sequence[Record], folder: Path
) -> tuple[Path, list[str | Problem]]:
    """Path of the table of these records, which may not exist yet, and their digests."""
    contents = digests(records, index_path(config, folder))
    settings: list[Any] = [FORMAT, config.source, config.image_size, config.on_bad_image]
    defaults = DataConfig.model_fields
    for key in ("fit", "intensity", "max_pixels"):  # a new key renames no table without it
        if (value := getattr(config, key)) != defaults[key].default:
            settings.append([key, value])
    rows = (
        [record.name, record.label, record.group, record.split, content]
        for record, content in zip(records, contents, strict=True)
    )
    key = _hash(settings, source.classes, source.problems, *rows)
    return folder / f"{key}.arrow", contents


def index_path(config: DataConfig, folder: Path) -> Path:
    """Path of the file that remembers the digests of a source's files."""
    return folder / f"{_hash(config.source, config.root)}.json"


def digests(records: Sequence[Record], index: Path) -> list[str | Problem]:
    """Hash the content of each record on all cores; return a problem if it cannot be read.

    Args:
        records: image records.
        index: path of the file that remembers digests by stamp. It is ignored if it is damaged,
            and left out if it cannot be written.
    """
    before = _read(index)

    def digest(record: Record) -> tuple[str | None, str | Problem]:
        try:
            stamp = record.picture.stamp
            if stamp is not None and (entry := before.get(record.name)) and entry[0] == stamp:
                return stamp, entry[1]
            return stamp, record.picture.digest()
        except Exception as error:
            return None, Problem(record.name, explain(error))

    with closing(in_order(digest, records)) as results:
        found = list(results)
    fresh = {
        record.name: (stamp, result)
        for record, (stamp, result) in zip(records, found, strict=True)
        if stamp is not None and isinstance(result, str)
    }
    if any(before.get(name) != entry for name, entry in fresh.items()):
        _write(index, before | fresh)
    return [result for _, result in found]


def _read(index: Path) -> dict[str, StampedDigest]:
    try:
        entries = json.loads(index.read_bytes())
        return {name: (str(stamp), str(digest)) for name, (stamp, digest) in entries.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(index: Path, entries: Mapping[str, StampedDigest]) -> None:
    with suppress(OSError):
        index.parent.mkdir(parents=True, exist_ok=True)
        with replacing(index) as temporary:
            temporary.write_text(json.dumps(entries))


def _hash(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(json.dumps(part).encode() + b"\n")
    return digest.hexdigest()[:24]
