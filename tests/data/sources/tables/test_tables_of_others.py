"""Tables that were made for another tool: their columns, cells, labels, splits and groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from revo_ray.data.image_records import Source, Topic
from revo_ray.data.sources import read_source
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig, SearchConfig
from tests.data.layouts import Files, picture, unpacked

PICTURES: Files = {f"{i}.png": picture(0, i, kind="PNG") for i in range(6)}


def read(root: object, **keys: object) -> Source:
    return read_source(DataConfig.model_validate({"source": "csv", "root": str(root), **keys}))


def table(folder: Path, text: str | bytes, files: Files = PICTURES) -> Path:
    """A table beside six pictures."""
    content = text.encode() if isinstance(text, str) else text
    return unpacked(files | {"list.csv": content}, folder) / "list.csv"


def rows(source: Source) -> list[tuple[str, str]]:
    return [(record.name, record.label) for record in source.records]


def refusal(root: object, **keys: object) -> tuple[str | None, str]:
    with pytest.raises(UserError) as error:
        read(root, **keys)
    return error.value.key, str(error.value)


def said(source: Source, topic: Topic) -> str:
    """The one finding of a topic; "" if there is none."""
    found = [finding.text for finding in source.warnings if finding.topic == topic]
    assert len(found) <= 1
    return found[0] if found else ""


AB = [("0.png", "a"), ("1.png", "b")]


@pytest.mark.parametrize(
    ("text", "keys", "found"),
    [
        ("path,label\n0.png,a\n1.png,b\n", {}, AB),
        ("image;class\n0.png;a\n1.png;b\n", {}, AB),
        ("\ufeffFile Name\tClass-Name\tage\n0.png\ta\t3\n1.png\tb\t4\n", {}, AB),
        ("file_name,Category\r\n0.png,a\r\n1.png,b\r\n", {}, AB),
        ("image,path,label\nx,0.png,a\ny,1.png,b\n", {}, AB),
        ("label,class,path\na,x,0.png\nb,y,1.png\n", {}, AB),
        ('image,label\n"./0.png","a"\n"x/../1.png","b"\n', {}, AB),
        ("image,label\n.\\0.png,a\nsub\\..\\1.png,b\n", {}, AB),
        (
            'ID_Code,what\n0,"a, b"\n1,b\n',
            {"columns": {"image": "id_code", "label": "What"}, "image_pattern": "{}.png"},
            [("0.png", "a, b"), ("1.png", "b")],
        ),
        (
            "image,label,other\n0.png,x,a\n1.png,y,b\n",
            {"columns": {"label": "other"}},
            AB,
        ),
        ("image,label\n0.png,1.0\n1.png,2.0\n", {}, [("0.png", "1.0"), ("1.png", "2.0")]),
        ("image,label\n0.png,True\n1.png,False\n", {}, [("0.png", "True"), ("1.png", "False")]),
        ("image,label\n0.png,a \n1.png, b\n", {}, AB),
    ],
)
def test_a_table_is_read_as_it_is(
    text: str, keys: dict[str, object], found: list[tuple[str, str]], tmp_path: Path
) -> None:
    source = read(table(tmp_path, text), **keys)
    assert rows(source) == found
    assert not source.problems


@pytest.mark.parametrize(
    ("text", "columns", "says"),
    [
        ("a,b\n0.png,x\n", {}, "'a', 'b'; say which with data.columns: {image: NAME, label: NAME}"),
        (
            "image,b\n0.png,x\n",
            {},
            "columns are 'image', 'b'; say which with data.columns: {label:",
        ),
        ("0.png,a\n1.png,b\n", {}, "columns are '0.png', 'a'"),
        ("image,file,label\n0.png,1.png,x\n", {}, "'image', 'file' may each be the image"),
        ("path,label\n0.png,x\n", {"label": "diagnosis"}, "there is no column 'diagnosis'"),
        ("path,label\n0.png,x\n", {"group": "patient"}, "there is no column 'patient'"),
        ("path,label\n0.png,x\n", {"split": "fold"}, "{split: NAME}"),
    ],
)
def test_a_column_that_is_not_known_is_an_error_that_names_those_there(
    text: str, columns: dict[str, str], says: str, tmp_path: Path
) -> None:
    key, line = refusal(table(tmp_path, text), columns=columns)
    assert key == "data.columns"
    assert says in line
    assert "list.csv" in line


def kaggle(folder: Path, where: str = "train_images/{}.png", cell: str = "{}") -> Path:
    names = [f"{i:03d}" for i in range(6)]
    files = {where.format(n): picture(0, i, kind="PNG") for i, n in enumerate(names)}
    text = "id_code,diagnosis\n" + "".join(
        f"{cell.format(name)},{i % 2}\n" for i, name in enumerate(names)
    )
    return unpacked(files | {"train.csv": text.encode()}, folder) / "train.csv"


def test_a_table_of_names_without_endings_is_set_up_by_three_keys(tmp_path: Path) -> None:
    root = kaggle(tmp_path)
    sets = ["data.columns.image=id_code", "data.columns.label=diagnosis"]
    sets += ["data.image_pattern=train_images/{}.png", f"data.root={root}", "data.source=csv"]
    source = read_source(SearchConfig.load(None, sets).data)
    assert rows(source)[0] == ("train_images/000.png", "0")
    assert source.classes == ("0", "1")
    assert len(source.records) == 6
    assert not source.problems
    assert not source.warnings


@pytest.mark.parametrize(
    ("where", "cell", "pattern"),
    [
        ("train_images/{}.png", "{}", "train_images/{}.png"),
        ("a/b c/{}.png", "{}", "a/b c/{}.png"),
        ("{}.png", "{}", "{}.png"),
        ("jpg/{}.png", "{}.png", "jpg/{}"),
        ("pictures/x/{}.png", "x/{}", "pictures/{}.png"),
    ],
)
def test_the_error_says_which_pattern_finds_the_images(
    where: str, cell: str, pattern: str, tmp_path: Path
) -> None:
    root = kaggle(tmp_path, where, cell)
    columns = {"image": "id_code", "label": "diagnosis"}
    key, line = refusal(root, columns=columns)
    assert key == "data.image_pattern"
    assert f"data.image_pattern: {pattern!r} finds 6 of 6" in line
    source = read(root, columns=columns, image_pattern=pattern)
    assert len(source.records) == 6
    assert not source.problems


def test_no_pattern_is_guessed_where_none_fits(tmp_path: Path) -> None:
    root = kaggle(tmp_path, "other-{}.png")
    columns = {"image": "id_code", "label": "diagnosis"}
    key, line = refusal(root, columns=columns)
    assert key == "data.root"
    assert "image_pattern" not in line
    key, line = refusal(root, columns=columns, image_pattern="images/")
    assert key == "data.image_pattern"
    assert "has no {}" in line


def test_a_pattern_may_be_absolute_or_a_uri(tmp_path: Path) -> None:
    root = kaggle(tmp_path / "tables", "../pictures #1/{}.png")
    columns = {"image": "id_code", "label": "diagnosis"}
    place = tmp_path / "pictures #1"
    for start in (str(place), f"file://{place}", f"file://{str(place).replace(' #', '%20%23')}"):
        source = read(root, columns=columns, image_pattern=start + "/{}.png")
        assert len(source.records) == 6
        assert source.records[0].picture.open().size == (40, 30)


def test_one_file_under_many_names_is_one_file(tmp_path: Path) -> None:
    path = table(tmp_path, "")
    os.link(tmp_path / "0.png", tmp_path / "hard.png")
    (tmp_path / "soft.png").symlink_to("0.png")
    (tmp_path / "sub").mkdir()
    (tmp_path / "linked").symlink_to(".")
    names = ["0.png", "./0.png", "sub/../0.png", str(tmp_path / "0.png"), "hard.png", "soft.png"]
    names += ["linked/0.png", f"file://{tmp_path}/0.png", ".\\0.png"]
    path.write_text("path,label\n" + "".join(f"{name},a\n" for name in names) + "1.png,b\n")
    source = read(path)
    assert rows(source) == AB
    finding = said(source, Topic.OTHER)
    assert finding.startswith("8 rows repeat an earlier one and are left out; files named in two")
    assert "'hard.png' is '0.png'" in finding
    path.write_text("path,label\n0.png,a\n1.png,b\n2.png,a\nsoft.png,b\n")
    source = read(path)
    assert [record.name for record in source.records] == ["1.png", "2.png"]
    ((name, cause),) = source.problems
    assert name == "0.png"
    assert "lines 2 and 5" in cause


@pytest.mark.parametrize("word", ["NaN", "nan", "NA", "N/A", "n/a", "null", "NULL", "<NA>", " "])
def test_a_word_for_nothing_is_no_class(word: str, tmp_path: Path) -> None:
    text = f"path,label\n0.png,a\n1.png,b\n2.png,{word}\n3.png,{word}\n"
    source = read(table(tmp_path, text))
    assert source.classes == ("a", "b")
    assert [problem.name for problem in source.problems] == ["2.png", "3.png"]
    assert all(problem.cause.startswith("no label") for problem in source.problems)
    if word.strip():
        assert f"{word!r} (2 rows)" in said(source, Topic.LABELS)


@pytest.mark.parametrize("word", ["None", "none", "unknown", "-"])
def test_a_word_that_may_be_a_class_stays_one_and_is_named(word: str, tmp_path: Path) -> None:
    source = read(table(tmp_path, f"path,label\n0.png,a\n1.png,{word}\n"))
    assert set(source.classes) == {"a", word}
    assert repr(word) in said(source, Topic.LABELS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Cat", "cat"),
        ("1", "01"),
        ("1", "1.0"),
        ("False", "FALSE"),
        ("dark red", "dark_red"),
        ("dark-red", "Dark  red"),
        ("ﬁsh", "fish"),
        ("Straße", "STRASSE"),
    ],
)
def test_labels_that_differ_little_are_named_once(one: str, other: str, tmp_path: Path) -> None:
    source = read(table(tmp_path, f"path,label\n0.png,{one}\n1.png,{other}\n2.png,x\n"))
    assert set(source.classes) == {one, other, "x"}
    finding = said(source, Topic.LABELS)
    assert repr(one) in finding
    assert repr(other) in finding
    assert "'x'" not in finding


@pytest.mark.parametrize("names", [("a", "b"), ("cat", "cats"), ("C", "C++"), ("1.5", "15")])
def test_labels_that_differ_are_not_named(names: tuple[str, str], tmp_path: Path) -> None:
    source = read(table(tmp_path, f"path,label\n0.png,{names[0]}\n1.png,{names[1]}\n"))
    assert not source.warnings


def test_class_folders_that_differ_little_are_named(tmp_path: Path) -> None:
    for name in ("Cat", "cat", "dog"):
        unpacked({f"{name}/0.png": PICTURES["0.png"]}, tmp_path)
    source = read(tmp_path, source="folder")
    assert "'Cat' and 'cat'" in said(source, Topic.LABELS)


def test_all_about_labels_is_one_line(tmp_path: Path) -> None:
    words = ["Cat", "cat", "1", "01", "None", "NaN"]
    text = "path,label\n" + "".join(f"{i}.png,{word}\n" for i, word in enumerate(words))
    finding = said(read(table(tmp_path, text)), Topic.LABELS)
    assert all(repr(word) in finding for word in words)


def test_measurements_are_no_labels(tmp_path: Path) -> None:
    files = {f"{i}.png": PICTURES["0.png"] for i in range(60)}
    head = "path,label\n"
    text = head + "".join(f"{i}.png,{0.37 * i:.2f}\n" for i in range(60))
    assert "measurement" in said(read(table(tmp_path, text, files)), Topic.LABELS)
    text = head + "".join(f"{i}.png,{i}\n" for i in range(60))
    assert "measurement" in said(read(table(tmp_path, text, files)), Topic.LABELS)
    text = head + "".join(f"{i}.png,{i % 20}\n" for i in range(60))
    assert not read(table(tmp_path, text, files)).warnings


FOLDS = "path,label,fold\n" + "".join(f"{i}.png,{'ab'[i % 2]},{i % 3}\n" for i in range(6))


@pytest.mark.parametrize(
    ("splits", "found"),
    [
        ({"train": "0", "validation": "1", "test": "2"}, ["train", "validation", "test"] * 2),
        ({"train": 0, "validation": "1", "test": "2.0"}, ["train", "validation", "test"] * 2),
        ({"train": "0, 2", "test": "1"}, ["train", "test", "train"] * 2),
        ("drawn", [None] * 6),
    ],
)
def test_values_of_a_column_are_splits(
    splits: object, found: list[str | None], tmp_path: Path
) -> None:
    source = read(table(tmp_path, FOLDS), columns={"split": "fold"}, splits=splits)
    assert [record.split for record in source.records] == found
    assert not source.problems


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        ("given", "'0', '1', '2' in the column 'fold' are no splits"),
        ({"train": "0", "test": "1"}, "'2' in the column 'fold' is no split"),
        ({"train": "0", "test": "9"}, "'9'"),
    ],
)
def test_a_value_that_is_no_split_is_an_error(splits: object, says: str, tmp_path: Path) -> None:
    path = table(tmp_path, FOLDS)
    key, line = refusal(path, columns={"split": "fold"}, splits=splits)
    assert key == "data.splits"
    assert says in line


GROUPED = "path,label,patient\n" + "".join(f"{i}.png,{'ab'[i % 2]},p{i // 2}\n" for i in range(6))


def test_a_column_says_which_images_belong_together(tmp_path: Path) -> None:
    path = table(tmp_path, GROUPED)
    source = read(path)
    assert {record.group for record in source.records} == {None}
    assert "data.columns: {group: patient}" in said(source, Topic.GROUPS)
    for keys in ({"columns": {"group": "patient"}}, {"group_by": "patient"}):
        source = read(path, **keys)
        assert [record.group for record in source.records] == [f"p{i // 2}" for i in range(6)]
        assert not source.warnings


def test_paths_of_a_table_say_which_images_belong_together(tmp_path: Path) -> None:
    files = {f"x/p{i // 2}/{i}.png": PICTURES["0.png"] for i in range(6)}
    text = "path,label\n" + "".join(f"{name},{'ab'[i % 2]}\n" for i, name in enumerate(files))
    path = table(tmp_path, text, files)
    for group_by in (r"/(p\d+)/", r"p\d", -1, 2):
        names = [record.group for record in read(path, group_by=group_by).records]
        assert [names.index(name) // 2 for name in names] == [0, 0, 1, 1, 2, 2]
    for group_by in (r"q\d", 7):
        assert refusal(path, group_by=group_by)[0] == "data.group_by"
    key, line = refusal(path, group_by="(p")
    assert key == "data.group_by"
    assert "no regular expression" in line


def test_a_parquet_file_that_is_read_as_text(tmp_path: Path) -> None:
    _, line = refusal(table(tmp_path, b"PAR1\0\0\0PAR1"))
    assert "data.source: parquet" in line
