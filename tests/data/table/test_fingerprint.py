"""Digests: unchanged files are not read again, changed ones are."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from revo_ray.data.image_records import Problem, Record
from revo_ray.data.table.fingerprint import digests


@dataclass
class Counted:
    """A picture that counts how often it is read."""

    content: str
    stamp: str | None = "1"
    reads: list[str] = field(default_factory=list)

    def digest(self) -> str:
        self.reads.append(self.content)
        if self.content == "unreadable":
            raise PermissionError(13, "Permission denied")
        return f"digest of {self.content}"

    def open(self) -> Image.Image:
        raise AssertionError("nothing is decoded here")


def records(**pictures: Counted) -> list[Record]:
    return [Record(name, "a", picture) for name, picture in pictures.items()]


def reads(found: list[Record]) -> list[int]:
    return [len(record.picture.reads) for record in found]  # type: ignore[attr-defined]


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "tables" / "index.json"


def test_a_second_start_reads_only_what_has_another_stamp(index: Path) -> None:
    first = records(x=Counted("X"), y=Counted("Y"), array=Counted("A", stamp=None))
    expected = ["digest of X", "digest of Y", "digest of A"]
    assert digests(first, index) == expected
    assert reads(first) == [1, 1, 1]
    second = records(x=Counted("X"), y=Counted("Z", stamp="2"), array=Counted("A", stamp=None))
    assert digests(second, index) == ["digest of X", "digest of Z", "digest of A"]
    assert reads(second) == [0, 1, 1]
    third = records(y=Counted("Z", stamp="2"), x=Counted("X"))
    assert digests(third, index) == ["digest of Z", "digest of X"]
    assert reads(third) == [0, 0]


def test_a_part_of_the_source_forgets_nothing_of_the_rest(index: Path) -> None:
    digests(records(x=Counted("X"), y=Counted("Y")), index)
    digests(records(y=Counted("Y", stamp="2")), index)
    again = records(x=Counted("X"), y=Counted("Y", stamp="2"))
    digests(again, index)
    assert reads(again) == [0, 0]


def test_what_cannot_be_read_is_told_in_its_place_and_tried_again(index: Path) -> None:
    for _ in range(2):
        found = records(x=Counted("X"), y=Counted("unreadable"))
        assert digests(found, index) == ["digest of X", Problem("y", "permission denied")]
        assert reads(found)[1] == 1
    mended = records(y=Counted("Y"))
    assert digests(mended, index) == ["digest of Y"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"3", b'{"x": 1}', b'{"x": [1, 2, 3]}', b"\xff", b"null"]
)
def test_a_damaged_index_is_as_good_as_none(index: Path, content: bytes) -> None:
    index.parent.mkdir()
    index.write_bytes(content)
    found = records(x=Counted("X"))
    assert digests(found, index) == ["digest of X"]
    assert reads(found) == [1]
    assert json.loads(index.read_bytes()) == {"x": ["1", "digest of X"]}


def test_an_index_that_cannot_be_written_is_not_missed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert digests(records(x=Counted("X")), tmp_path / "file" / "index.json") == ["digest of X"]
