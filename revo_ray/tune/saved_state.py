"""SavedState: the file that a `CMAMVSearch` saves and is restored from.

Each line is one JSON value: first the header, then the evaluations as they ended, and after these
a snapshot of all that changes. A later save may append lines; the last snapshot counts, and what
stands behind it is of a save that was cut off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, TypeAdapter, ValidationError

from revo_ray.evolve.proposals import Outcome
from revo_ray.evolve.space import Sample

Coded = list[Any]
"""A sample's values in the order of the space, with the indices of its choices."""


@dataclass(frozen=True)
class Growing:
    """The part of a state that only grows.

    Attributes:
        given: samples of the user by evaluation, in the order in which they were given.
        told: samples and outcomes of the evaluations that have ended, in the order of the ends.
        encode: makes a sample plain JSON values.
    """

    given: Mapping[int, Sample]
    told: Mapping[int, tuple[Sample, Outcome]]
    encode: Callable[[Sample], Coded]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Header(_Line):
    """The part of a state that stays."""

    format: Literal[4] = 4
    space: Any
    """The search space, or None if it holds objects or functions."""
    names: list[str] | None
    """The variables, in order; None if they are not known."""
    settings: dict[str, Any]
    """Settings of the optimiser, `lookahead` and `repeats`."""


class _Given(_Line):
    """An evaluation whose sample the user gave."""

    given: NonNegativeInt
    sample: Coded


class _Told(_Line):
    """An evaluation that has ended; the value of a failure is None."""

    told: NonNegativeInt
    sample: Coded
    value: float | None


class Open(_Line):
    """A trial that runs, or one that has ended while others of its evaluation run."""

    evaluation: NonNegativeInt
    index: NonNegativeInt
    sample: Coded
    reported: bool
    """Whether it has reported a value."""
    value: float | None
    """The last value that it reported."""


class Snapshot(_Line):
    """The part of a state that changes."""

    metric: str | None
    mode: Literal["min", "max"] | None
    live: dict[str, Open]
    ended: list[Open]


class Format3(_Line):
    """The whole state, as it was saved before it had lines."""

    format: Literal[3]
    space: Any
    metric: str | None
    mode: Literal["min", "max"] | None
    settings: dict[str, Any]
    told: dict[NonNegativeInt, tuple[dict[str, Any], float | None]]
    live: dict[str, tuple[NonNegativeInt, dict[str, Any]]]


_LINE: TypeAdapter[_Told | _Given | Snapshot] = TypeAdapter(
    Annotated[_Told | _Given | Snapshot, Field(union_mode="left_to_right")]
)


@dataclass(frozen=True)
class SavedState:
    """State of a searcher as it was read.

    Attributes:
        header: the part that stays.
        snapshot: the part that changes.
        given: coded sample of each evaluation whose sample the user gave.
        told: coded sample and value of each evaluation that has ended.
    """

    header: Header
    snapshot: Snapshot
    given: dict[int, Coded]
    told: dict[int, tuple[Coded, float | None]]

    @classmethod
    def read(cls, path: str) -> SavedState:
        """Read a file, also one of format 3. Nothing in it is run.

        Raises:
            ValueError: it is damaged, or of another version.
            OSError: it cannot be read.
        """
        try:
            header, *lines = Path(path).read_text().splitlines()
            first = json.loads(header)
            if isinstance(first, dict) and first.get("format") == 3 and not lines:
                return _of_format_3(Format3.model_validate(first))
            return _read(Header.model_validate(first), lines)
        except (ValueError, LookupError, RecursionError) as error:
            raise ValueError(f"{path} is of another version, or damaged: {_cause(error)}") from None


def _read(header: Header, lines: list[str]) -> SavedState:
    given: dict[int, Coded] = {}
    told: dict[int, tuple[Coded, float | None]] = {}
    news: list[_Given | _Told] = []
    state = None
    for number, line in enumerate(lines, 1):
        try:
            read = _LINE.validate_python(json.loads(line))
        except json.JSONDecodeError:
            if number == len(lines) and state is not None:
                break  # the save was cut off
            raise
        if not isinstance(read, Snapshot):
            news.append(read)
            continue
        state = read
        for line_read in news:
            if isinstance(line_read, _Given):
                given[line_read.given] = line_read.sample
            else:
                told[line_read.told] = line_read.sample, line_read.value
        news.clear()
    if state is None:
        raise ValueError
    return SavedState(header, state, given, told)


def _of_format_3(old: Format3) -> SavedState:
    samples = [sample for sample, _ in old.told.values()] + [each for _, each in old.live.values()]
    names = list(samples[0]) if samples else None

    def coded(sample: dict[str, Any]) -> Coded:
        return [sample[name] for name in names or ()]

    live = {
        trial: Open(evaluation=n, index=0, sample=coded(sample), reported=False, value=None)
        for trial, (n, sample) in old.live.items()
    }
    return SavedState(
        Header(space=old.space, names=names, settings=old.settings | {"repeats": 1}),
        Snapshot(metric=old.metric, mode=old.mode, live=live, ended=[]),
        {},
        {n: (coded(sample), value) for n, (sample, value) in old.told.items()},
    )


def _cause(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return "it is cut off, or no JSON"
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


_SMALL = 2**16
"""Bytes by which a file may grow beyond twice its length."""


class StateWriter:
    """Writes the states of one searcher; `append` writes only what came since its last call."""

    def __init__(self) -> None:
        self._path: str | None = None
        self._header = ""
        self._length = 0  # of the file, in bytes
        self._whole = 0  # its length when it was last written whole
        self._given = self._told = 0  # evaluations in it

    def write(self, path: str, header: Header, snapshot: Snapshot, growing: Growing) -> int:
        """Write the file whole, and return its length in bytes."""
        temporary = f"{path}.tmp"
        content = "".join([_text(header), *_news(growing, 0, 0), _text(snapshot)]).encode()
        Path(temporary).write_bytes(content)
        os.replace(temporary, path)
        return len(content)

    def append(self, path: str, header: Header, snapshot: Snapshot, growing: Growing) -> None:
        """Bring a file up to date, if it is as this writer left it; else write it whole.

        It is also written whole, without old snapshots, once it has doubled.
        """
        text = _text(header)
        known = (path, text) == (self._path, self._header) and _length(path) == self._length
        if known and self._length < 2 * self._whole + _SMALL:
            news = _news(growing, self._given, self._told)
            content = "".join([*news, _text(snapshot)]).encode()
            with open(path, "ab") as file:
                file.write(content)
            self._length += len(content)
        else:
            self._length = self._whole = self.write(path, header, snapshot, growing)
        self._path, self._header = path, text
        self._given, self._told = len(growing.given), len(growing.told)


def _news(growing: Growing, given: int, told: int) -> Iterator[str]:
    """Lines for what came after the first `given` and `told` evaluations."""
    for number, sample in islice(growing.given.items(), given, None):
        yield _text({"given": number, "sample": growing.encode(sample)})
    for number, (sample, outcome) in islice(growing.told.items(), told, None):
        coded = growing.encode(sample)
        yield _text({"told": number, "sample": coded, "value": outcome.finite})


def _text(line: BaseModel | dict[str, Any]) -> str:
    value = line.model_dump() if isinstance(line, BaseModel) else line
    return json.dumps(value, allow_nan=False) + "\n"


def _length(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return -1
