"""Reads the files that W&B writes, by the messages of its own SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEADER, BLOCK, RECORD = 7, 32768, 7
"""Bytes of a file's header, of its blocks, and of a record's header (LevelDB's log format)."""
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(file: Path) -> Iterator[Any]:
    """The messages in a `.wandb` file."""
    from wandb.proto.wandb_internal_pb2 import Record

    content = file.read_bytes()
    assert content[:4] == b":W&B"
    at, parts = HEADER, b""
    while at + RECORD <= len(content):
        left = BLOCK - at % BLOCK
        if left < RECORD:
            at += left
            continue
        length = int.from_bytes(content[at + 4 : at + 6], "little")
        kind = content[at + 6]
        if kind not in (FULL, FIRST, MIDDLE, LAST):
            return
        parts += content[at + RECORD : at + RECORD + length]
        at += RECORD + length
        if kind in (FULL, LAST):
            yield Record.FromString(parts)
            parts = b""


class OfflineRun:
    """The content of one offline run.

    Attributes:
        run: its message, with id, display name, group and so on; None before it is written.
        config, summary: as they are at its end.
        history: the logged points.
        files: paths of files that it uploads.
        exit_code: None if it has not ended.
        artifacts: types of its artifacts, with the paths in them.
    """

    def __init__(self, file: Path) -> None:
        self.run: Any = None
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.artifacts: dict[str, set[str]] = {}
        self.exit_code: int | None = None
        for record in records(file):
            match record.WhichOneof("record_type"):
                case "run":
                    self.run = record.run
                    self.config |= _values(record.run.config.update)
                case "config":
                    self.config |= _values(record.config.update)
                case "history":
                    self.history.append(_values(record.history.item))
                case "summary":
                    self.summary |= _values(record.summary.update)
                case "artifact":
                    paths = {entry.path for entry in record.artifact.manifest.contents}
                    self.artifacts[record.artifact.type] = paths
                case "exit":
                    self.exit_code = record.exit.exit_code


def offline_runs(folder: Path) -> list[OfflineRun]:
    """The offline runs in a folder, in the order in which they were begun."""
    return [OfflineRun(file) for file in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]


def _values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
