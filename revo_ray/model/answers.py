"""Predictions as text, csv, parquet or lines of JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from revo_ray.data.table.disk import filling
from revo_ray.errors import UserError, printable
from revo_ray.model.model import Prediction
from revo_ray.model.out_path import local_out
from revo_ray.words import spreadsheet_cell

Format = Literal["text", "csv", "parquet", "json"]

ENDINGS: dict[str, Format] = {
    **{".txt": "text", ".tsv": "text", ".csv": "csv", ".parquet": "parquet"},
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), "json"),
}
"""Formats of files, by their endings."""

_ROWS = 1000
"""Rows that are written to parquet at a time."""

Write = Callable[[Prediction], None]


def text_line(prediction: Prediction, top: int) -> str | None:
    """Path, label and probability, separated by tabs; None for an image that cannot be read.

    Control characters in path and labels are escaped: an image is one line.
    """
    if prediction.error is not None:
        return None
    found = prediction.top(top)
    fields = (field for label, value in found for field in (printable(label), f"{value:.4f}"))
    return "\t".join((printable(prediction.name), *fields))


def json_line(prediction: Prediction, top: int) -> str:
    """A JSON object: path, label, probability and `top`; or path and `error`."""
    values: dict[str, Any] = {"path": prediction.name}
    if prediction.error is not None:
        values["error"] = prediction.error
    else:
        found = [
            {"label": label, "probability": None if math.isnan(value) else value}
            for label, value in prediction.top(top)
        ]
        values |= found[0] | {"top": found}
    line = json.dumps(values, ensure_ascii=False)
    return "".join(c if printable(c) == c else json.dumps(c)[1:-1] for c in line)


def columns(classes: Sequence[str], top: int) -> list[str]:
    """Names of a table's columns: the answer first, then a column of probabilities for each class.

    A class that is named like another column has `(class)` behind its name.
    """
    names = ["path", "label", "probability"]
    names += [f"{name}_{n}" for n in range(2, top + 1) for name in ("label", "probability")]
    names.append("error")
    for name in classes:
        while name in names:
            name += " (class)"
        names.append(name)
    return names


def row(prediction: Prediction, top: int) -> list[Any]:
    """The values of a table's row; None for what is not known."""
    found: list[tuple[str | None, float | None]] = [*prediction.top(top)]
    found += [(None, None)] * (top - len(found))
    answers = [value for pair in found for value in pair]
    chances = prediction.probabilities.tolist()
    if prediction.error is not None:
        chances = [None] * len(chances)
    return [prediction.name, *answers, prediction.error, *chances]


def check_file(path: str, wanted: Format | None) -> tuple[Path, Format]:
    """The file to write predictions to, and its format: the wanted one, or that of its ending.

    Raises:
        UserError: it cannot be written there, or its ending says no format.
    """
    file = local_out(path)
    target = Path(os.path.realpath(file))
    if not file.exists() and not target.parent.is_dir():
        raise UserError(f"--out: no such folder {str(target.parent)!r}")
    if file.is_dir():
        raise UserError(f"--out: {path!r} is a folder; name a file")
    if target.is_symlink():
        raise UserError(f"--out: {path!r} is a link that leads to itself; name a file")
    if file.is_socket():
        raise UserError(f"--out: {path!r} is a socket; name a file")
    found = wanted or ENDINGS.get(file.suffix.lower())
    if found is None:
        raise UserError(f"--out: {path!r} says no format; add --format csv, parquet, json or text")
    if found == "parquet" and file.exists() and not file.is_file():
        raise UserError(f"--out: {path!r} is no regular file, as parquet needs; add --format csv")
    return file, found


@contextmanager
def writing(path: Path, kind: Format, classes: Sequence[str], top: int) -> Iterator[Write]:
    """Write predictions to a file, which appears whole or not at all; to a device row by row.

    Yields:
        A function that writes one.

    Raises:
        OSError: the disk is full, or the file cannot be written.
    """
    with filling(path) as temporary:
        if kind == "parquet":
            with _parquet(temporary, classes, top) as write:
                yield write
        else:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                yield lines(file, kind, classes, top)


def lines(file: io.TextIOBase | Any, kind: Format, classes: Sequence[str], top: int) -> Write:
    """A function that writes predictions to an open text file, one after the other."""
    if kind == "csv":
        file.write(_csv_line(columns(classes, top)))

    def write(prediction: Prediction) -> None:
        if kind == "csv":
            file.write(_csv_line(row(prediction, top)))
            return
        as_text = text_line if kind == "text" else json_line
        if (line := as_text(prediction, top)) is not None:
            print(line, file=file)

    return write


def _csv_line(values: Sequence[Any]) -> str:
    """A row that ends in a line feed; a lone carriage return in a name is quoted too."""
    line = io.StringIO(newline="")
    csv.writer(line).writerow(map(spreadsheet_cell, values))
    return line.getvalue().removesuffix("\r\n") + "\n"


@contextmanager
def _parquet(path: Path, classes: Sequence[str], top: int) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = columns(classes, top)
    texts = {"path", "label", "error", *(f"label_{n}" for n in range(2, top + 1))}
    first = len(names) - len(classes)
    schema = pa.schema(
        [
            (name, pa.string() if place < first and name in texts else pa.float64())
            for place, name in enumerate(names)
        ]
    )
    rows: list[list[Any]] = []
    with pq.ParquetWriter(path, schema) as writer:

        def flush() -> None:
            by_column = zip(names, zip(*rows, strict=True), strict=True)
            if rows:
                arrays = [pa.array(values, schema.field(name).type) for name, values in by_column]
                writer.write_table(pa.table(arrays, schema=schema))
            rows.clear()

        def write(prediction: Prediction) -> None:
            rows.append(row(prediction, top))
            if len(rows) == _ROWS:
                flush()

        yield write
        flush()
