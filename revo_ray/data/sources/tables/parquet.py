"""Parquet files with a row for each image, as the Hugging Face Hub has them."""

from __future__ import annotations

import math
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import pyarrow as pa

from revo_ray.data.files.decode import explain
from revo_ray.data.files.image_files import File, ImageFiles, root_error, without_password
from revo_ray.data.files.uri import parent
from revo_ray.data.image_records import Source
from revo_ray.data.sources.class_and_split_names import named_splits
from revo_ray.data.sources.root import needed_root, quoted
from revo_ray.data.sources.tables.columns import Columns, find_columns, unread_columns
from revo_ray.data.sources.tables.embedded_images import (
    EmbeddedColumn,
    EmbeddedImage,
    Shard,
    batch_bytes,
    open_parquet,
)
from revo_ray.data.sources.tables.hub_features import class_label_names, columns_of_type
from revo_ray.data.sources.tables.image_pattern import check_pattern, guess_pattern
from revo_ray.data.sources.tables.manifest import Found, find_table, lookup_in
from revo_ray.data.sources.tables.rows import Row, Rows, records_of
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig
from revo_ray.uris import divided

ENDINGS = (".parquet", ".parq", ".pq")
NEEDED = "a parquet file, a folder of parquet files, or a pattern such as data/*.parquet"


def read(config: DataConfig) -> Source:
    """Read the images that parquet files hold, or name by path or URI; no image is decoded.

    Raises:
        UserError: a file cannot be read, lacks a column, or there is no image or one class.
    """
    uri = needed_root(config, NEEDED)
    check_pattern(config)
    folder, files = _find_files(uri)
    shards = [_open(file, uri) for file in files]
    schema = shards[0].schema
    there = schema.names
    images = [name for name in there if _holds_images(schema.field(name).type)]
    hub = columns_of_type(schema, "Image")
    labels = columns_of_type(schema, "ClassLabel")
    columns = find_columns(there, config, hub if len(hub) == 1 else images, labels)
    for shard in shards[1:]:
        if lost := [name for name in columns if name and name not in shard.schema.names]:
            raise root_error(
                f"{shard.file.path!r} has no column {quoted(lost)}, and {files[0].path!r} has"
            )
    splits = _splits(shards, columns, config)
    rows: list[Row] = []
    places: list[tuple[int, int, bool]] = []  # file, row in it, and whether it holds the image
    for number, shard in enumerate(shards):
        for row, (cells, inside) in enumerate(_rows(shard, columns)):
            rows.append(cells if columns.split else cells._replace(split=splits[number]))
            places.append((number, row, inside))
    if not rows:
        raise root_error(f"{uri!r} lists no image")
    held = EmbeddedColumn(shards, _bytes_column(schema, columns.image))
    lookup = lookup_in(folder, config.image_pattern)
    lost_cells: list[str] = []

    def find(number: int, row: Row) -> Found | str:
        shard, position, inside = places[number]
        if inside:
            name = f"{shards[shard].file.path} {row.image}"
            return Found(name, (shard, position), row.image, EmbeddedImage(held, shard, position))
        found = lookup.find(config.image_pattern.replace("{}", row.image))
        if found == "no such file":
            lost_cells.append(row.image)
        return found

    def hint() -> str:
        few = 2 * len(lost_cells) <= len(rows)
        return "" if few else guess_pattern(lost_cells, lookup.beside())

    place = f"the column {columns.split!r}" if columns.split else "the names of the files"
    names = class_label_names(schema, columns.label)
    source = records_of(Rows(rows, columns, place, names), config, find, hint)
    findings = unread_columns(there, columns, config)
    return replace(source, warnings=(*source.warnings, *findings))


def _find_files(uri: str) -> tuple[str, list[File]]:
    """Find the parquet files at a path, a URI or a pattern, and the folder that they lie in."""
    place, options = divided(uri)
    if "*" in place and not os.path.exists(os.path.expanduser(place)):
        folder = place[: place.index("*")].rpartition("/")[0]
        pattern = place[len(folder) :].lstrip("/")
        folder = (folder or ("/" if place.startswith("/") else ".")) + options
        found = [
            file
            for file in ImageFiles.open(folder).all
            if fnmatchcase(file.path, pattern)
            and ("**" in pattern or file.path.count("/") == pattern.count("/"))
        ]
    elif (file := find_table(uri, "a parquet file")) is not None:
        return parent(uri), [file]
    else:
        folder = uri
        found = [f for f in ImageFiles.open(uri).all if f.path.lower().endswith(ENDINGS)]
    if not found:
        raise root_error(f"no parquet file at {uri!r}; give {NEEDED}")
    return folder, found


def _open(file: File, uri: str) -> Shard:
    try:
        return Shard.of(file)
    except (OSError, pa.ArrowException) as error:
        where = without_password(uri)
        reason = (
            explain(error) if isinstance(error, OSError) and error.errno else "damaged, or none"
        )
        raise root_error(
            f"cannot read {file.path!r} at {where!r} as a parquet file: {reason} (the sources csv "
            "and folder read tables of text and folders)"
        ) from None


def _splits(shards: Sequence[Shard], columns: Columns, config: DataConfig) -> list[str]:
    """Name the split of each file: `train` in `train-00000-of-00002.parquet` or `train/0.parquet`.

    Empty texts, if a column says the splits or no file's name does.
    """
    nothing = [""] * len(shards)
    if columns.split or config.splits == "drawn":
        return nothing
    names = [list(_parts(shard.file.path)) for shard in shards]
    every = list(dict.fromkeys(part for parts in names for part in parts))
    if isinstance(config.splits, str):
        known = set(named_splits(every, "given"))
    else:
        values = (value for text in config.splits.values() for value in (text, *text.split(",")))
        known = {value.strip() for value in values} | set(named_splits(every, "given"))
    chosen = [next((part for part in parts if part in known), "") for parts in names]
    if not any(chosen):
        return nothing
    return [part or parts[0] for part, parts in zip(chosen, names, strict=True)]


def _parts(path: str) -> Iterator[str]:
    """Yield the parts of a path that may name a split, the nearest first."""
    *folders, name = path.split("/")
    stem = posixpath.splitext(name)[0]
    yield re.sub(r"([-_.]?\d+)?([-_]of[-_]\d+)?([-_][0-9a-f]{16})?$", "", stem) or stem
    yield from reversed(folders)


def _rows(shard: Shard, columns: Columns) -> Iterator[tuple[Row, bool]]:
    """Yield the rows of a file, and whether the file holds the row's image."""
    field = shard.schema.field(columns.image)
    names = class_label_names(shard.schema, columns.label)
    with open_parquet(shard.file) as parquet:
        small = [name for name in (columns.label, columns.split, columns.group) if name]
        has_path = _path_column(field)
        table = parquet.read([*small, *([has_path] if has_path else [])])
        cells = {name: table[name].to_pylist() for name in set(small)}
        paths: list[Any] = [None] * len(table)
        if has_path:
            paths = table[columns.image].to_pylist()
            if pa.types.is_struct(field.type):
                paths = [value and value["path"] for value in paths]
        inside = _inside(parquet, shard, field)
    for number, (path, there) in enumerate(zip(paths, inside, strict=True)):
        label, fault = _label(cells[columns.label][number], names)
        image = f"row {number}" + (f" ({path})" if path else "") if there else path or ""
        yield (
            Row(
                f"row {number} of {shard.file.path}",
                image,
                label,
                _text(cells[columns.split][number]) if columns.split else "",
                _text(cells[columns.group][number]) if columns.group else "",
                fault,
            ),
            there,
        )


def _inside(parquet: Any, shard: Shard, field: pa.Field) -> list[bool]:
    """Whether the file itself holds the image, for each row."""
    column = _bytes_column(shard.schema, field.name)
    if not _holds_images(field.type) or (
        pa.types.is_struct(field.type) and field.type.get_field_index("bytes") < 0
    ):
        return [False] * shard.starts[-1]
    place = [parquet.schema.column(i).path for i in range(len(parquet.schema))].index(column)
    inside: list[bool] = []
    for group in range(parquet.num_row_groups):
        count = shard.starts[group + 1] - shard.starts[group]
        facts = parquet.metadata.row_group(group).column(place).statistics
        if facts is not None and facts.has_null_count and facts.null_count in (0, count):
            inside += [facts.null_count == 0] * count
            continue
        for batch in parquet.iter_batches(64, [group], [column], use_threads=False):
            inside += batch_bytes(batch).is_valid().to_pylist()
    return inside


def _holds_images(kind: pa.DataType) -> bool:
    """Whether values of a type are images, or structs of their bytes or path."""
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 or kind.get_field_index("path") >= 0
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _bytes_column(schema: pa.Schema, image: str) -> str:
    return f"{image}.bytes" if pa.types.is_struct(schema.field(image).type) else image


def _path_column(field: pa.Field) -> str | None:
    """Dotted name of the column of the paths.

    Raises:
        UserError: the column can hold neither images nor paths.
    """
    kind = field.type
    if pa.types.is_struct(kind) and _holds_images(kind):
        return f"{field.name}.path" if kind.get_field_index("path") >= 0 else None
    if _holds_images(kind):
        return None
    text = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_string(text) or pa.types.is_large_string(text):
        name: str = field.name
        return name
    raise UserError(
        f"the column {field.name!r} holds {kind}, and neither images nor their paths; name the "
        "column of the image with data.columns: {image: NAME}",
        key="data.columns",
    )


def _label(value: Any, names: Sequence[str]) -> tuple[str, str | None]:
    """Return the text of a label, and its fault if it cannot be used."""
    if isinstance(value, list | dict):
        return "", "several labels; an image needs one"
    if names and isinstance(value, int):
        if 0 <= value < len(names):
            return names[value], None
        return "", None if value == -1 else f"the label {value}, and there are {len(names)} classes"
    return _text(value), None


def _text(value: Any) -> str:
    """Write a value as text; a missing one is empty, and a whole number has no fraction."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value).strip()
