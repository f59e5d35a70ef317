"""Predictions as the command writes them: text, csv, parquet and JSON, whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import revo_ray
from revo_ray.model.answers import columns, json_line, writing
from revo_ray.model.model import Prediction
from tests.model.run_directories import make_run
from tests.typed import Typed


@pytest.fixture
def typed(typed: Typed) -> Typed:
    """Type `revo-ray predict`; gives exit status, output and errors."""
    return partial(typed, "predict")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run directory `run` and a folder `images`, of which one is bad."""
    folder = tmp_path_factory.mktemp("answers")
    make_run(folder, "run", "search.result=ensemble")
    (folder / "images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), np.uint8)
    Image.fromarray(pixels[0]).save(folder / "images" / "a,b.png")
    (folder / "images" / "bad.png").write_bytes(b"no image")
    Image.fromarray(pixels[1]).save(folder / "images" / "z :smile: [red].png")
    return folder


BAD = "not an image of a format that is read"
CLASSES = [str(digit) for digit in range(10)]


def rows_of(kind: str, content: bytes) -> list[dict[str, Any]]:
    """The rows of a table; numbers as numbers, empty cells as None."""
    if kind == "parquet":
        return list(pq.read_table(io.BytesIO(content)).to_pylist())
    numbers = {"probability", "probability_2", *CLASSES}
    return [
        {k: (float(v) if k in numbers else v) if v else None for k, v in row.items()}
        for row in csv.DictReader(io.StringIO(content.decode()))
    ]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_has_a_row_for_each_image_and_a_column_for_each_class(
    typed: Typed, place: Path, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / f"answers.{kind}"
    status, said, err = typed(place / "run", place / "images", "--top", 2, "--out", out)
    assert (status, said) == (3, "")
    assert err.splitlines() == [
        f"revo-ray: {place}/images/bad.png: {BAD}",
        "revo-ray: 1 of 3 images cannot be predicted",
    ]
    rows = rows_of(kind, out.read_bytes())
    wanted = revo_ray.load(place / "run").predict(place / "images")
    assert [row["path"] for row in rows] == [answer.name for answer in wanted]
    names = ["path", "label", "probability", "label_2", "probability_2", "error", *CLASSES]
    for row, answer in zip(rows, wanted, strict=True):
        assert list(row) == names
        assert row["error"] == answer.error
        if answer.error is None:
            assert [row[name] for name in CLASSES] == answer.probabilities.tolist()
            found = [(row["label"], row["probability"]), (row["label_2"], row["probability_2"])]
            assert found == answer.top(2)
        else:
            assert not [row[name] for name in names[1:5] + CLASSES if row[name] is not None]
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_lines_are_the_same_on_the_terminal_and_in_a_file(
    typed: Typed, place: Path, tmp_path: Path
) -> None:
    for name, words in {"a.json": ("--json",), "b.csv": ("--format", "csv"), "c.txt": ()}.items():
        status, said, _ = typed(place / "run", place / "images", *words)
        assert status == 3
        status, nothing, _ = typed(place / "run", place / "images", "--out", tmp_path / name)
        assert (status, nothing) == (3, "")
        assert (tmp_path / name).read_text() == said
    lines = [json.loads(line) for line in (tmp_path / "a.json").read_text().splitlines()]
    assert [line.get("error") for line in lines] == [None, BAD, None]
    text = (tmp_path / "c.txt").read_text().splitlines()
    assert [line.count("\t") for line in text] == [2, 2]
    assert (tmp_path / "b.csv").read_text().splitlines()[1].startswith(f'"{place}/images/a,b.png",')


def test_a_form_may_be_named(typed: Typed, place: Path) -> None:
    answers = {}
    for form in ("best", "ensemble", "soup", "plain"):
        status, answers[form], _ = typed(place / "run", place / "images", "--form", form)
        assert status == 3
    assert len(set(answers.values())) > 1
    assert typed(place / "run", place / "images")[1] == answers["ensemble"]
    assert typed(place / "run", place / "images", "--form", "mean")[0] == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--format", "parquet"), "--format parquet: name a file with --out"),
        (("--json", "--format", "csv"), "--json: --format is csv"),
        (("--out", "answers"), "says no format"),
        (("--out", "no/answers.csv"), "no such folder"),
        (("--out", "images.csv"), "is a folder"),
        (("--out", "s3://bucket/answers.csv"), "is no local path"),
        (("--out", "new.csv", "none.png"), "no such file or folder"),
    ],
)
def test_what_cannot_be_written_is_one_line(
    typed: Typed,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images.csv").mkdir()
    status, said, err = typed(place / "run", place / "images", *words)
    assert (status, said, err.count("\n")) == (2, "", 1)
    assert says in err
    assert [path.name for path in tmp_path.iterdir()] == ["images.csv"]


def test_no_cell_of_a_csv_file_is_computed(tmp_path: Path) -> None:
    """Texts are text in a spreadsheet, and numbers are numbers; other formats keep names."""
    texts = ["=1+1", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "＝1", "-1", "+1.5e-3", "a=b"]
    chances = np.full(len(texts), 0.1)
    answers = [Prediction(text, tuple(texts), chances) for text in texts]
    answers.append(Prediction("-x", tuple(texts), chances, error="=bad"))
    for kind in ("csv", "json"):
        with writing(tmp_path / kind, kind, texts, 1) as write:  # type: ignore[arg-type]
            for answer in answers:
                write(answer)
    with (tmp_path / "csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    safe = [f"'{text}" for text in texts[:7]] + texts[7:]
    assert header[4:] == safe
    assert [row[0] for row in rows] == [*safe, "'-x"]
    assert rows[-1][3] == "'=bad"
    assert rows[0][4] == "0.1"
    lines = (tmp_path / "json").read_text().splitlines()
    assert [json.loads(line)["path"] for line in lines] == [*texts, "-x"]


def test_lines_of_json_hold_no_command_of_a_terminal() -> None:
    name = "\x1b[2J\x9b1A\u202e\x7f é"
    line = json_line(Prediction(name, ("a",), np.ones(1)), 1)
    assert line.isprintable()
    assert "é" in line
    assert json.loads(line)["path"] == name


@pytest.mark.parametrize("kind", ["csv", "parquet", "json", "text"])
def test_a_link_stays_and_the_file_that_it_leads_to_is_written(
    typed: Typed, place: Path, tmp_path: Path, kind: str
) -> None:
    words = (place / "run", place / "images" / "a,b.png", "--format", kind, "--out")
    assert typed(*words, tmp_path / "plain")[0] == 0
    wanted = (tmp_path / "plain").read_bytes()
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "old").write_text("before")
    for link, target in {"old": "far/old", "new": "far/new", "two": "new"}.items():
        (tmp_path / link).symlink_to(target)
    for link in ("old", "new", "two"):
        assert typed(*words, tmp_path / link)[0] == 0
        assert (tmp_path / link).is_symlink()
        assert (tmp_path / link).read_bytes() == wanted
    assert sorted(path.name for path in (tmp_path / "far").iterdir()) == ["new", "old"]
    assert not [*(tmp_path / "far").glob("*.tmp"), *tmp_path.glob(".*")]


@pytest.mark.parametrize("kind", ["csv", "json", "text"])
def test_a_fifo_gets_the_lines_and_stays(
    typed: Typed, place: Path, tmp_path: Path, kind: str
) -> None:
    words = (place / "run", place / "images", "--format", kind)
    _, wanted, _ = typed(*words)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    for name in ("fifo", "link"):
        with ThreadPoolExecutor() as pool:
            got = pool.submit((tmp_path / "fifo").read_text)
            status, said, _ = typed(*words, "--out", tmp_path / name)
            assert (status, said, got.result()) == (3, "", wanted)
    assert (tmp_path / "fifo").is_fifo()
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("fifo", "parquet", "is no regular file, as parquet needs"),
        ("to fifo", "parquet", "is no regular file, as parquet needs"),
        ("socket", "csv", "is a socket"),
        ("to folder", "csv", "is a folder"),
        ("nowhere", "csv", "no such folder"),
        ("round", "csv", "is a link that leads to itself"),
    ],
)
def test_what_is_no_file_is_refused_and_stays(
    typed: Typed, place: Path, tmp_path: Path, name: str, kind: str, says: str
) -> None:
    os.mkfifo(tmp_path / "fifo")
    targets = {"to fifo": "fifo", "to folder": ".", "nowhere": "gone/o.csv", "round": "round"}
    for link, target in targets.items():
        (tmp_path / link).symlink_to(target)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(tmp_path / "socket"))  # a long path is refused
        before = {path.name: path.lstat().st_ino for path in tmp_path.iterdir()}
        status, said, err = typed(
            place / "run", place / "images", "--format", kind, "--out", tmp_path / name
        )
    assert (status, said, err.count("\n")) == (2, "", 1)
    assert says in err
    assert {path.name: path.lstat().st_ino for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("kind", ["csv", "parquet", "json", "text"])
def test_names_that_are_not_utf_8_are_escaped_wherever_they_are_named(
    typed: Typed, place: Path, tmp_path: Path, kind: str
) -> None:
    folder, image = os.fsencode(tmp_path) + b"/f\xff", b"bad\xfe.png"
    os.mkdir(folder)
    shutil.copy(place / "images" / "a,b.png", os.fsdecode(folder + b"/" + image))
    shutil.make_archive(os.fsdecode(folder) + "/all", "zip", place / "images", "a,b.png")
    found = {}
    for named in (folder, folder + b"/" + image, folder + b"/all.zip"):
        out = tmp_path / "answers"
        words = ("--format", kind, "--out", out)
        assert typed(place / "run", os.fsdecode(named), *words)[0] == 0
        content = out.read_bytes()
        found[named] = (
            [content.decode().partition("\t")[0]]
            if kind == "text"
            else [json.loads(content)["path"]]
            if kind == "json"
            else [row["path"] for row in rows_of(kind, content)]
        )
    wanted = [f"{tmp_path}/f\\xff/bad\\xfe.png"]
    assert [*found.values()] == [wanted, wanted, [f"{tmp_path}/f\\xff/all.zip/a,b.png"]]


NASTY = ["a\nb", "tab\there", "\x1b[31mred", "back\rwards", "\u202eleft\x00", "plain é"]


def test_an_image_is_one_line_of_text_and_other_formats_keep_names(tmp_path: Path) -> None:
    classes = tuple(f"class {name}" for name in NASTY)
    chances = np.arange(1, len(NASTY) + 1) / 21
    answers = [Prediction(f"{name}.png", classes, chances) for name in NASTY]
    for kind in ("text", "json", "csv", "parquet"):
        with writing(tmp_path / kind, kind, classes, len(classes)) as write:  # type: ignore[arg-type]
            for answer in answers:
                write(answer)
    text = (tmp_path / "text").read_text().split("\n")[:-1]
    assert len(text) == len(NASTY)
    assert all(line.replace("\t", "").isprintable() for line in text)
    assert {line.count("\t") for line in text} == {2 * len(NASTY)}
    assert text[-1].startswith("plain é.png\tclass plain é\t")
    names = [answer.name for answer in answers]
    lines = (tmp_path / "json").read_text().split("\n")[:-1]
    assert [json.loads(line)["path"] for line in lines] == names
    assert {json.loads(line)["top"][5]["label"] for line in lines} == {classes[0]}
    with (tmp_path / "csv").open(newline="", encoding="utf-8") as file:
        assert [row["path"] for row in csv.DictReader(file)] == names
    assert pq.read_table(tmp_path / "parquet")["path"].to_pylist() == names


@pytest.mark.parametrize("kind", ["csv", "parquet", "json", "text"])
def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path, kind: Any) -> None:
    file = tmp_path / "answers"
    file.write_text("before")
    answer = Prediction("a.png", ("a", "b"), np.array([0.25, 0.75]))

    def write_and(end: Callable[[], None]) -> None:
        with writing(file, kind, ("a", "b"), 1) as write:
            for _ in range(2500):
                write(answer)
            end()

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and(interrupted)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("answers", "before")]
    write_and(lambda: None)
    if kind == "parquet":
        assert pq.read_table(file).num_rows == 2500
    else:
        assert len(file.read_text().splitlines()) == 2500 + (kind == "csv")


def test_a_class_may_have_the_name_of_a_column(tmp_path: Path) -> None:
    classes = ("label", "error", "label_2", "error (class)", "x")
    names = columns(classes, 2)
    assert len(set(names)) == len(names)
    assert names[-5:-1] == [
        "label (class)",
        "error (class)",
        "label_2 (class)",
        "error (class) (class)",
    ]
    answer = Prediction("a.png", classes, np.array([0.1, 0.2, 0.3, 0.15, 0.25]))
    with writing(tmp_path / "t.parquet", "parquet", classes, 2) as write:
        write(answer)
    (row,) = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert (row["label"], row["label (class)"], row["error"]) == ("label_2", 0.1, None)
