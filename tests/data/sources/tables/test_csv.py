"""Manifests: spelt in many ways, with files in many places and with rows that are wrong."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image
from pyarrow import fs

from revo_ray.data.files import stored_file
from revo_ray.data.image_records import Source
from revo_ray.data.sources import read_source
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig
from tests.data.layouts import Files, csv_files, picture, table_bytes, unpacked
from tests.object_store import object_store

PICTURES: Files = {f"{i}.png": picture(0, i, kind="PNG") for i in range(6)}
Rows = list[list[str]]


def read(root: object, **keys: str) -> Source:
    return read_source(DataConfig.model_validate({"source": "csv", "root": str(root), **keys}))


def table(folder: Path, rows: Rows | bytes | str, name: str = "list.csv") -> Path:
    """Six images and a table beside them."""
    content = table_bytes(rows) if isinstance(rows, list) else rows
    content = content.encode() if isinstance(content, str) else content
    return unpacked(PICTURES | {name: content}, folder) / name


def refusal(root: object, key: str = "data.root") -> str:
    with pytest.raises(UserError) as error:
        read(root)
    assert error.value.key == key
    return str(error.value)


def labels(source: Source) -> dict[str, str]:
    return {record.name: record.label for record in source.records}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_each_way_to_write_a_table_gives_what_pandas_reads(
    delimiter: str, newline: str, mark: str, tmp_path: Path
) -> None:
    counts = {'a "b", c': 2, "d;e": 3, "tab\tin": 1, "été": 2}
    files = csv_files(counts, "my list.tsv", delimiter, newline, groups=2, splits=["train", "test"])
    files["my list.tsv"] = mark.encode() + files["my list.tsv"]
    path = unpacked(files, tmp_path) / "my list.tsv"
    source = read(path)
    frame = pandas.read_csv(path, sep=delimiter, encoding="utf-8-sig")
    assert [record.name for record in source.records] == frame["path"].tolist()
    assert [record.label for record in source.records] == frame["label"].tolist()
    assert [record.group for record in source.records] == frame["group"].tolist()
    assert [record.split for record in source.records] == frame["split"].tolist()
    assert source.classes == tuple(sorted(counts))
    for record in source.records:
        expected = np.asarray(Image.open(tmp_path / record.name))
        assert np.array_equal(np.asarray(record.picture.open()), expected)
    assert not source.problems
    assert not source.warnings


def test_columns_in_any_order_case_and_company(tmp_path: Path) -> None:
    text = (
        " Split ,age, LABEL,Path\nTRAIN,3,cat,0.png\n\nVal,, dog ,1.png\n   \nTesting,4,cat,2.png"
    )
    source = read(table(tmp_path, text))
    assert [(r.name, r.label, r.group, r.split) for r in source.records] == [
        ("0.png", "cat", None, "train"),
        ("1.png", "dog", None, "validation"),
        ("2.png", "cat", None, "test"),
    ]


def test_labels_that_are_numbers_stay_text_and_stand_by_number(tmp_path: Path) -> None:
    rows = [["path", "label"], ["0.png", "10"], ["1.png", "9"], ["2.png", "0"]]
    assert read(table(tmp_path, rows)).classes == ("0", "9", "10")
    rows += [["3.png", "08"], ["4.png", "8.5"]]
    assert read(table(tmp_path, rows)).classes == ("0", "08", "10", "8.5", "9")


def test_groups_may_be_left_empty(tmp_path: Path) -> None:
    rows = [
        ["path", "label", "group"],
        ["0.png", "a", "p 1"],
        ["1.png", "b", ""],
        ["2.png", "b", " "],
    ]
    assert [record.group for record in read(table(tmp_path, rows)).records] == ["p 1", None, None]


def test_paths_may_be_absolute_lead_elsewhere_or_be_links(tmp_path: Path) -> None:
    unpacked(PICTURES, tmp_path / "elsewhere" / "été (1)")
    inner = tmp_path / "lists" / "mine"
    rows = [
        ["path", "label"],
        [str(tmp_path / "elsewhere" / "été (1)" / "0.png"), "a"],
        ["../../elsewhere/été (1)/1.png", "b"],
        ["./x/../2.png", "a"],
        ["link.png", "b"],
        ["folder\\3.png", "b"],
    ]
    path = table(inner, rows)
    (inner / "link.png").symlink_to(inner / "4.png")
    unpacked({"folder/3.png": PICTURES["3.png"]}, inner)
    source = read(path)
    assert not source.problems
    found = [np.asarray(record.picture.open()).tolist() for record in source.records]
    files = (tmp_path / "elsewhere" / "été (1)" / f"{i}.png" for i in range(5))
    assert sorted(found) == sorted(np.asarray(Image.open(file)).tolist() for file in files)


def test_the_order_of_the_rows_changes_nothing(tmp_path: Path) -> None:
    rows = [[f"{i}.png", "ab"[i % 2]] for i in range(5)]
    names = [
        [
            record.name
            for record in read(table(tmp_path / str(n), [["path", "label"], *order])).records
        ]
        for n, order in enumerate((rows, rows[::-1], rows[2:] + rows[:2]))
    ]
    assert names[0] == names[1] == names[2]


def test_a_table_is_found_from_the_working_folder_home_and_by_uri(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(tmp_path, [["path", "label"], ["0.png", "a"], ["../x/1.png", "b"]])
    unpacked(PICTURES, tmp_path.parent / "x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for root in ("list.csv", "./list.csv", "~/list.csv", f"file://{path}"):
        source = read(root)
        assert labels(source) == {"0.png": "a", "../x/1.png": "b"}
        monkeypatch.chdir("/")
        assert source.records[1].picture.open().size == (40, 30)
        monkeypatch.chdir(tmp_path)


def test_names_in_the_other_form_of_unicode_are_found(tmp_path: Path) -> None:
    unpacked({"e\u0301.png": PICTURES["0.png"], "\u00e4.png": PICTURES["1.png"]}, tmp_path)
    rows = [["path", "label"], ["\u00e9.png", "e\u0301"], ["a\u0308.png", "b"]]
    source = read(table(tmp_path, rows))
    assert not source.problems
    assert source.classes == ("b", "\u00e9")


def test_only_what_is_listed_is_looked_at(tmp_path: Path) -> None:
    path = table(tmp_path, [["path", "label"], ["0.png", "a"], ["1.png", "b"]])
    (tmp_path / "other.zip").write_bytes(b"damaged")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    source = read(path)
    assert len(source.records) == 2
    assert not source.problems
    assert not source.warnings


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (["none.png", "a"], "no such file"),
        (["/none/0.png", "a"], "no such file"),
        (["0.png/x", "a"], "no such file"),
        (["folder", "a"], "a folder"),
        (["pipe.png", "a"], "no regular file"),
        (["0.png", ""], "no label"),
        (["0.png", " "], "no label"),
        (["0.png"], "no label"),
        (["", "a"], "no path"),
        (["0.png", "a", "", "train", "b.png"], "1 more cells"),
        (["\0.png", "a", "", "train"], "null"),
        (["x" * 300 + ".png", "a", "", "train"], "too long"),
    ],
)
def test_a_row_that_is_wrong_is_a_problem_with_its_line(
    row: list[str], says: str, tmp_path: Path
) -> None:
    header = ["path", "label", "group", "split"][: max(2, len(row))]
    good = [[f"{i}.png", "ab"[i % 2], "", "train"][: len(header)] for i in (1, 2, 3)]
    text = table_bytes([header, good[0], row]) + b"\r\n\n" + table_bytes(good[1:])
    path = table(tmp_path, text)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    source = read(path)
    assert labels(source) == {"1.png": "b", "2.png": "a", "3.png": "b"}
    ((name, cause),) = source.problems
    assert name == (row[0] or "no path")
    assert says in cause
    assert "(line 3)" in cause


def test_line_numbers_count_the_lines_within_quotes(tmp_path: Path) -> None:
    text = 'path,label\n0.png,"two\nlines"\n1.png,b\nnone.png,b\n'
    ((_, cause),) = read(table(tmp_path, text)).problems
    assert "(line 5)" in cause


def test_splits_do_not_count_where_they_are_drawn(tmp_path: Path) -> None:
    rows = [["path", "label", "split"]]
    rows += [["0.png", "a", "train"], ["1.png", "b", "holdout"], ["2.png", "b", ""]]
    source = read(table(tmp_path, rows), splits="drawn")
    assert len(source.records) == 3
    assert not source.problems


def test_a_split_may_be_left_empty(tmp_path: Path) -> None:
    rows = [["path", "label", "split"], ["0.png", "a", ""], ["1.png", "b", "test"]]
    source = read(table(tmp_path, rows))
    assert [record.split for record in source.records] == [None, "test"]
    assert not source.problems


@pytest.mark.parametrize("column", ["label", "group", "split"])
def test_one_image_in_two_ways_is_a_problem(column: str, tmp_path: Path) -> None:
    header = ["path", "label", "group", "split"]
    rows = [["0.png", "a", "p", "train"], ["1.png", "b", "q", "test"], ["2.png", "b", "q", "test"]]
    other = ["./0.png", "a", "p", "train"]
    other[header.index(column)] = {"label": "b", "group": "q", "split": "test"}[column]
    source = read(table(tmp_path, [header, *rows, other, rows[0]]))
    assert set(labels(source)) == {"1.png", "2.png"}
    assert source.classes == ("a", "b")
    ((name, cause),) = source.problems
    assert name == "0.png"
    assert "lines 2 and 5" in cause


def test_one_image_twice_in_one_way_is_a_warning(tmp_path: Path) -> None:
    rows = [["path", "label"], ["0.png", "a"], ["1.png", "b"], ["0.png", "a"], ["./0.png", "a"]]
    source = read(table(tmp_path, rows))
    assert [record.name for record in source.records] == ["0.png", "1.png"]
    (warning,) = map(str, source.warnings)
    assert warning.startswith("2 rows repeat")
    assert not source.problems


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\n \n", "is empty"),
        (b"path,label\n", "lists no image"),
        (b"path,label,Label\n0.png,a,b\n", "'label' twice"),
        (b"path,label\nb\xe4r.png,b\n", "UTF-8 text (line 2)"),
        ("path,label\n0.png,a\n".encode("utf-16"), "UTF-8"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "UTF-8"),
        (b'path,label\n0.png,a\n"1.png,b\n', "line 3"),
        (b'path,label\n"0".png,a\n', "line 2"),
        (b"path,label\n0.png," + b"x" * 200_000 + b"\n", "line 2"),
        (b"path,label\n0.png,a\n1.png,a\n", "one class only, 'a'"),
        (b"path,label\nx.png,a\ny.png,b\n", "none of the 2 rows"),
    ],
)
def test_a_table_that_cannot_be_used(content: bytes, says: str, tmp_path: Path) -> None:
    path = table(tmp_path, content)
    line = refusal(path)
    assert says in line
    assert "list.csv" in line or "one class" in line
    assert len(line) < 400


def test_a_root_that_is_no_table(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "list.csv")
    assert "no regular file" in refusal(tmp_path / "list.csv")
    line = refusal("gopher://host/list.csv")
    assert "gopher" in line
    assert "damaged" not in line


def test_a_changed_file_has_another_stamp_and_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_file, "RECENT_NS", 0)
    path = table(tmp_path, [["path", "label"], ["0.png", "a"], ["1.png", "b"]])
    one, two = (read(path).records for _ in range(2))
    assert [r.picture.stamp for r in one] == [r.picture.stamp for r in two]
    before = one[0].picture.digest()
    (tmp_path / "0.png").write_bytes(PICTURES["5.png"])
    changed = read(path).records
    assert changed[0].picture.stamp != one[0].picture.stamp
    assert changed[0].picture.digest() != before
    assert changed[1].picture.stamp == one[1].picture.stamp


def test_a_file_that_may_still_change_never_keeps_its_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_file, "RECENT_NS", 10**12)
    path = table(tmp_path, [["path", "label"], ["0.png", "a"], ["1.png", "b"]])
    one, two = (read(path).records[0].picture for _ in range(2))
    assert one.stamp != two.stamp
    assert one.digest() == two.digest()


@pytest.mark.slow
def test_a_table_in_an_object_store() -> None:
    rows = [["path", "label"], ["a b/é (0).png", "a"], ["1.png", "b"], ["gone.png", "a"]]
    rows += [["../other/0.png", "a"], ["/bucket/set/1.png", "b"]]
    files = {"list.csv": table_bytes(rows), "1.png": PICTURES["1.png"]}
    files |= {"a b/é (0).png": PICTURES["0.png"], "../other/0.png": PICTURES["0.png"]}
    with object_store() as uri:
        store, _ = fs.FileSystem.from_uri(uri(""))
        for name, content in files.items():
            with store.open_output_stream(os.path.normpath(f"bucket/set/{name}")) as stream:
                stream.write(content)
        source = read(uri("set/list.csv"))
        assert labels(source) == {"a b/é (0).png": "a", "1.png": "b"}
        assert [record.picture.open().size for record in source.records] == [(40, 30)] * 2
        causes = [(name, cause.split(" (")[0]) for name, cause in source.problems]
        assert [name for name, _ in causes] == ["gone.png", "../other/0.png", "/bucket/set/1.png"]
        assert causes[0][1] == "no such file"
        assert Counter("leads out" in cause for _, cause in causes) == {True: 2, False: 1}
        line = refusal(uri("set/none.csv"))
        assert "no such file or folder" in line
        assert "testing" not in line


def test_a_column_that_is_not_read_is_named(tmp_path: Path) -> None:
    files = csv_files()
    (name,) = (name for name in files if name.endswith(".csv"))
    lines = files[name].decode().splitlines()
    lines = [lines[0] + ",patient", *(line + ",p1" for line in lines[1:])]
    root = unpacked(files | {name: "\n".join(lines).encode()}, tmp_path) / name
    source = read_source(DataConfig(source="csv", root=str(root)))
    said = "\n".join(map(str, source.warnings))
    assert "'patient'" in said
    assert "{group: patient}" in said
