"""Which table holds a source's images: its name is a hash of all that decides its bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from revo_ray.data.files.decode import explain
from revo_ray.data.records import Problem, Record, Source
from revo_ray.data.splits.split import subset
from revo_ray.data.table.disk import replacing
from revo_ray.data.table.threads import in_order
from revo_ray.settings.schema import DataConfig

FORMAT = 2
"""Part of every table's name: raise it when the same source would give other bytes."""

Entry = tuple[str, str]
"""A picture's stamp and its digest then."""


def choose(records: Sequence[Record], config: DataConfig) -> Sequence[Record]:
    """All records, or the subset of `max_images`.

    Raises:
        UserError: `max_images` is too small for an image of each class.
    """
    if config.max_images is None or config.max_images >= len(records):
        return records
    chosen = subset(
        [record.label for record in records],
        config.max_images,
        config.seed,
        groups=[record.group for record in records],
        given=[record.split for record in records] if config.splits == "given" else None,
    )
    return [records[i] for i in chosen]


def table_path(
    config: DataConfig, source: Source, records: Sequence[Record], folder: Path
) -> tuple[Path, list[str | Problem]]:
    """Where the table of a source's chosen records is, or will be, and their digests."""
    contents = digests(records, index_path(config, folder))
    settings = [FORMAT, config.source, config.image_size, config.on_bad_image]
    rows = (
        [record.name, record.label, record.group, record.split, content]
        for record, content in zip(records, contents, strict=True)
    )
    key = _hash(settings, source.classes, source.problems, *rows)
    return folder / f"{key}.arrow", contents


def index_path(config: DataConfig, folder: Path) -> Path:
    """Where the digests of a source's files are remembered."""
    return folder / f"{_hash(config.source, config.root)}.json"


def digests(records: Sequence[Record], index: Path) -> list[str | Problem]:
    """The hash of each record's content, or why it cannot be read; read on all cores.

    Args:
        index: remembers the digests of files by their stamps from one start to the next. A
            damaged one is as good as none, and one that cannot be written is not missed.
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


def _read(index: Path) -> dict[str, Entry]:
    try:
        entries = json.loads(index.read_bytes())
        return {name: (str(stamp), str(digest)) for name, (stamp, digest) in entries.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(index: Path, entries: Mapping[str, Entry]) -> None:
    try:
        index.parent.mkdir(parents=True, exist_ok=True)
        with replacing(index) as temporary:
            temporary.write_text(json.dumps(entries))
    except OSError:
        pass


def _hash(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(json.dumps(part).encode() + b"\n")
    return digest.hexdigest()[:24]
