"""The result on a search's page: its forms, its errors by class, and its surest errors."""

from __future__ import annotations

import base64
import csv
import io
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.special import softmax
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from revo_ray.errors import UserError
from revo_ray.report.explained import read_wrong_images
from revo_ray.report.loaded_run import load_run
from revo_ray.report.pages.error_sections import error_sections
from revo_ray.report.pages.page import Page
from revo_ray.report.pages.result_sections import forms_section, result_section
from revo_ray.report.pages.search_page import search_page
from revo_ray.report.pages.site import write_page
from revo_ray.report.study_report import study_report, write_report
from revo_ray.rundir import RunDirectory, StudyDirectory
from tests.browser import Browser, browser
from tests.report.studies import write_search
from tests.report.tested import random_answers, write_digits, write_tested

pytestmark = pytest.mark.slow

VOID = {"meta", "link", "img", "br", "hr"}
EVIL = "<script>alert(1)</script><img src=http://evil/x>\x1b[31m\n| a"
RTL = "\u202eחתול (בר)"
ABC = {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1}
LONG = "a-very-long-name-" * 40


class Balanced(HTMLParser):
    """Checks that each tag is closed, and counts the tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for key, value in attributes if key == "src"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page_of(run: RunDirectory) -> Page:
    """The page with nothing but the sections of the result."""
    loaded = load_run(run)
    sections = [result_section(loaded), forms_section(loaded), *error_sections(loaded)]
    return Page("title", "lead", sections=sections)


def text_of(run: RunDirectory) -> str:
    text = page_of(run).html()
    Balanced(text)
    return text


def pictures_of(text: str) -> list[Image.Image]:
    found = re.findall(r"data:image/(?:png|jpeg);base64,([^\"]+)", text)
    return [Image.open(io.BytesIO(base64.b64decode(content))) for content in found]


def table(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


@pytest.mark.parametrize("classes", [2, 10, 200])
def test_errors_are_those_of_the_stored_logits(tmp_path: Path, classes: int) -> None:
    logits, labels = random_answers(classes, 400)
    names = [f"class {number:03d}" for number in range(classes)]
    run = write_tested(tmp_path, "run", logits, labels, names)
    page = page_of(run)
    charts = {chart.name: chart.rows for section in page.shown for chart in section.drawn}
    text = page.html()
    Balanced(text)
    predicted = logits.argmax(1)
    wrong = int((predicted != labels).sum())
    assert f"labels {wrong} of 400 test images wrongly" in text
    assert ("confusion" in charts) == (classes <= 20)
    matrix = confusion_matrix(labels, predicted, labels=range(classes))
    if classes <= 20:
        assert [row["images"] for row in charts["confusion"]] == matrix.ravel().tolist()
    else:
        np.fill_diagonal(matrix, 0)
        true, guess = np.unravel_index(matrix.argmax(), matrix.shape)
        row = rf"<td[^>]*>class {true:03d}</td>\s*<td[^>]*>class {guess:03d}</td>\s*"
        assert re.search(row + rf"<td[^>]*>{matrix.max()}</td>", text)
    assert len(text) < 600_000
    pictures = pictures_of(text)
    assert len(pictures) == 12
    sure = np.sort(softmax(logits[predicted != labels].astype(float), axis=1).max(1))[::-1]
    shown = re.findall(r"probability <bdi>([\d.]+) %", text)
    assert [float(percent) for percent in shown] == pytest.approx(100 * sure[:12], abs=0.051)
    assert sum(row["count"] for row in charts["reliability"]) == 400


def test_each_picture_is_the_image_that_is_named(tmp_path: Path) -> None:
    logits, labels = random_answers(3, 60)
    pixels = np.arange(60, dtype=np.uint8)[:, None, None, None] + np.zeros((60, 8, 8, 3), np.uint8)
    names = [f"{number}.png" for number in range(60)]
    text = text_of(write_tested(tmp_path, "run", logits, labels, "abc", names=names, pixels=pixels))
    shown = re.findall(r"<span><bdi>(\d+)\.png</bdi></span>", text)
    assert [picture.getpixel((0, 0)) for picture in pictures_of(text)] == [
        (int(number),) * 3 for number in shown
    ]
    assert text.count('class="tiny"') == len(shown)
    for number, true, label in zip(
        shown,
        re.findall(r"true class <bdi>(\w)", text),
        re.findall(r"labelled <bdi>(\w)", text),
        strict=True,
    ):
        assert (true, label) == ("abc"[labels[int(number)]], "abc"[logits[int(number)].argmax()])


def test_large_pictures_do_not_make_a_large_page(tmp_path: Path) -> None:
    logits, labels = random_answers(2, 40, sure=0.0)
    pixels = np.random.default_rng(0).integers(0, 255, (40, 240, 240, 3)).astype(np.uint8)
    text = text_of(write_tested(tmp_path, "run", logits, labels, "ab", pixels=pixels))
    assert {max(picture.size) for picture in pictures_of(text)} == {160}
    assert len(text) < 1_000_000
    assert 'class="tiny"' not in text


def test_names_from_files_are_text(tmp_path: Path) -> None:
    logits, labels = random_answers(4, 90)
    classes = [EVIL, RTL, LONG, "$x_1$ `b` **c** &amp;"]
    names = [f"{classes[number % 4]}/{number}.png" for number in range(90)]
    text = text_of(write_tested(tmp_path, "run", logits, labels, classes, names=names))
    page = Balanced(text)
    assert "script" not in page.tags
    assert all(source.startswith("data:image/") for source in page.sources)
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
    assert "&amp;amp;" in text
    assert max(map(len, re.findall(r"<bdi>(.*?)</bdi>", text.replace("&lt;", "<")))) <= 80
    assert "<bdi>\\u202eחתול (בר)</bdi>" in text


@pytest.mark.parametrize("names", [["כלב", "חתול"], ["犬", "猫"], ["x" * 30 + "a", "x" * 30 + "b"]])
def test_names_that_the_matrix_cannot_tell_apart_are_numbers(
    tmp_path: Path, names: Sequence[str]
) -> None:
    logits, labels = random_answers(2, 30)
    text = text_of(write_tested(tmp_path, "run", logits, labels, names))
    assert "The numbers beside it are those of the table of classes" in text
    for number, name in enumerate(names, 1):
        assert re.search(rf"<td[^>]*>{number}</td>\s*<td[^>]*>{name}</td>", text)


def test_classes_without_images_and_without_errors(tmp_path: Path) -> None:
    labels = np.array([0, 0, 0, 1, 1, 1], np.int64)
    logits = np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 1, 0]] * 4
    text = text_of(write_tested(tmp_path, "run", logits, labels, ["fine", "some", "none"]))
    rows = re.findall(r"<tr>\s*(<td.*?)</tr>", text, re.S)
    cells = {row[1]: row[2:] for row in (re.findall(r"<td[^>]*>(.*?)</td>", r) for r in rows)}
    assert cells["fine"] == ["0.7500", "1.0000", "0.8571", "3"]
    assert cells["none"] == ["–", "–", "–", "0"]


def test_a_perfect_result_shows_no_errors(tmp_path: Path) -> None:
    labels = np.arange(40) % 4
    text = text_of(write_tested(tmp_path, "run", np.eye(4, dtype=np.float32)[labels] * 9, labels,
                                "abcd"))  # fmt: skip
    assert "The ensemble labels all 40 test images correctly." in text
    assert pictures_of(text) == []


@pytest.mark.parametrize("form", ["best", "ensemble"])
def test_the_forms_stand_beside_each_other(tmp_path: Path, form: Any) -> None:
    logits, labels = random_answers(3, 60)
    run = write_tested(tmp_path, "run", logits, labels, "abc", form=form)
    text = text_of(run)
    title = {"best": "best model"}.get(form, form)
    assert f"<strong>{title} (the result)</strong>" in text
    assert text.count("(the result)") == 2
    assert "the best of 4 evaluations of the sweep; the other forms were chosen from all 12" in text
    outcome = run.outcome()
    assert outcome is not None
    low, high = outcome.forms[form].intervals["accuracy"]
    percent = f"{100 * (logits.argmax(1) == labels).mean():.1f} %"
    interval = f"95 %: {100 * low:.1f}–{100 * high:.1f} %"
    assert f"<span>test accuracy</span><b>{percent}</b><span>{interval}</span>" in text
    assert "40 train, 60 validation, 60 test" in text
    assert "for 60 test images" in text


def spoilt(run: RunDirectory, **changes: Any) -> str:
    """The page after a change of the form that is the result."""
    outcome = run.outcome()
    assert outcome is not None
    forms = {"ensemble": replace(outcome.forms["ensemble"], **changes)}
    run.write_outcome(replace(outcome, forms=outcome.forms | forms))
    return text_of(run)


def test_the_result_is_compared_with_plain_fine_tuning(tmp_path: Path) -> None:
    logits, labels = random_answers(3, 60)
    run = write_tested(tmp_path, "run", logits, labels, "abc")
    outcome = run.outcome()
    assert outcome is not None
    plain = outcome.forms["plain"]
    theirs = 100 * (plain.test["accuracy"] or 0.0)
    better = {"test": plain.test | {"accuracy": theirs / 100 + 0.04}}
    told = f"is {theirs + 4:.1f} % against {theirs:.1f} % of plain fine-tuning, 4.0 points more"
    assert f"{told}; the 95 % intervals overlap: not decided" in spoilt(run, **better)
    apart = {"intervals": {"accuracy": (0.999, 1.0)}}
    assert f"{told}; the 95 % intervals do not overlap." in spoilt(run, **apart)
    text = spoilt(run, intervals={})
    assert f"{told}." in text
    assert "A range below a score" not in text
    assert text.count("<span>no interval</span>") == 3
    same = "The result is plain fine-tuning: no plan with rates of its own for each layer was"
    assert same not in text
    text = spoilt(run, members=plain.members)
    assert same in text
    assert "of plain fine-tuning" not in text


def test_a_plan_of_one_rate_is_a_sentence(tmp_path: Path) -> None:
    rows = {"one": [0.02] * 3, "frozen": [0.02, 0.0, 0.02], "two": [0.02, 0.02, 0.01]}
    for name, unit_lrs in rows.items():
        write_search(tmp_path, name, losses=(0.9, 0.4, 0.5), unit_lrs=unit_lrs)
        page = search_page(load_run(RunDirectory(str(tmp_path / name))))
        (section,) = (section for section in page.shown if section.name == "plan")
        said = "Evaluation 1 trains all 3 units at one learning rate, 0.02."
        assert (section.text == said) == (name == "one")
        assert ("best-plan" in {chart.name for chart in section.drawn}) == (name != "one")
        for chart in section.drawn:
            assert ("Open circles" in chart.caption) == (name == "frozen")


def test_the_training_images_are_counted(tmp_path: Path) -> None:
    answers = random_answers(3, 60)
    for setting, told in (("rest", "40 training images."), ("0.25", "25 % of the images for")):
        settings = [f"data.train_fraction={setting}"]
        run = write_tested(tmp_path, f"run-{setting}", *answers, "abc", settings=settings)
        assert told in search_page(load_run(run)).lead


def test_a_search_without_these_files_has_no_such_sections(tmp_path: Path) -> None:
    write_search(tmp_path, "old")
    text = text_of(RunDirectory(str(tmp_path / "old")))
    assert re.findall(r'<section id="(\w+)"', text) == ["result"]
    assert "measured once" in text


@pytest.mark.parametrize("left", ["nothing", "half of a file", "another image's place"])
def test_without_the_stored_predictions_the_rest_is_shown(tmp_path: Path, left: str) -> None:
    logits, labels = random_answers(3, 60)
    run = write_tested(tmp_path, "run", logits, labels, "abc")
    path = tmp_path / "run/predictions/test-ensemble.npz"
    content = path.read_bytes()
    path.unlink()
    if left == "half of a file":
        path.write_bytes(content[: len(content) // 2])
    elif left != "nothing":
        with np.load(io.BytesIO(content)) as arrays:
            np.savez(path, **{**arrays, "worst": arrays["worst"] + 60})
    text = text_of(run)
    assert pictures_of(text) == []
    assert ("The pictures are missing" in text) == (left != "nothing")
    assert re.findall(r'<section id="(\w+)"', text) == [
        *("result", "forms", "errors", "classes", "calibration", "learning")
    ]


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A search of three classes and 60 test images, to spoil a copy of."""
    return write_tested(tmp_path_factory.mktemp("tested"), "run", *random_answers(3, 60), "abc")


WORST = np.arange(2)
PIXELS = np.zeros((2, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    "changes",
    [
        {"worst": np.array([0, 60])},
        {"worst": np.array([-1, 0])},
        {"worst": np.array([0.0, 1.0])},
        {"worst": np.array(["a", "b"])},
        {"worst": np.array([[0, 1]])},
        {"worst": np.array(0)},
        {"worst": np.arange(3)},
        {"thumbnails": PIXELS[0]},
        {"thumbnails": PIXELS[..., :2]},
        {"thumbnails": PIXELS[:, :4]},
        {"thumbnails": PIXELS[:, :0, :0]},
        {"thumbnails": PIXELS.astype(float)},
        {"thumbnails": PIXELS[:1]},
        {"logits": np.zeros((60, 2), np.float32)},
        {"logits": np.zeros((60, 4), np.float32)},
        {"logits": np.zeros((59, 3), np.float32)},
        {"logits": np.zeros((1, 60, 3), np.float32)},
        {"logits": np.array(0)},
        {"logits": np.array("a")},
        {"looks": np.array([1, 2])},
        {"members": np.arange(9)},
    ],
)
def test_stored_predictions_of_wrong_types_are_named(
    tested: RunDirectory, tmp_path: Path, changes: dict[str, Any]
) -> None:
    shutil.copytree(str(tested.uri), tmp_path / "run")
    path = tmp_path / "run/predictions/test-ensemble.npz"
    with np.load(path) as arrays:
        np.savez(path, **{**arrays, "worst": WORST, "thumbnails": PIXELS, **changes})
    with pytest.raises(UserError, match="/run/predictions"):
        read_wrong_images(load_run(RunDirectory(str(tmp_path / "run"))).outcome)


@pytest.mark.parametrize(
    "changes",
    [
        {"label": pa.array([7] * 120)},
        {"label": pa.array([-1] * 120)},
        {"label": pa.array(["a"] * 120)},
        {"label": pa.array([None] * 120, pa.int64())},
        {"name": pa.array([1] * 120)},
        {"name": pa.array([None] * 120, pa.string())},
        {"split": pa.array([3] * 120)},
    ],
)
def test_stored_images_of_wrong_types_are_named(
    tested: RunDirectory, tmp_path: Path, changes: dict[str, Any]
) -> None:
    shutil.copytree(str(tested.uri), tmp_path / "run")
    path = tmp_path / "run/predictions/images.parquet"
    table = pq.read_table(path)
    for name, values in changes.items():
        table = table.set_column(table.column_names.index(name), name, values)
    pq.write_table(table, path)
    with pytest.raises(UserError, match="/run/predictions"):
        read_wrong_images(load_run(RunDirectory(str(tmp_path / "run"))).outcome)


def test_torn_bytes_anywhere_in_stored_predictions_spoil_no_page(tmp_path: Path) -> None:
    logits, labels = random_answers(3, 60)
    run = write_tested(tmp_path, "run", logits, labels, "abc")
    path = tmp_path / "run/predictions/test-ensemble.npz"
    content, outcome = path.read_bytes(), load_run(run).outcome
    count = len(read_wrong_images(outcome))
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 150).tolist():
        path.write_bytes(content[:place] + rng.bytes(5) + content[place + 5 :])
        with suppress(UserError):
            assert len(read_wrong_images(outcome)) == count > 0


def test_infinite_logits_have_no_calibration(tmp_path: Path) -> None:
    logits, labels = random_answers(3, 60)
    logits[5, 1] = -np.inf
    text = text_of(write_tested(tmp_path, "run", logits, labels, "abc", form="best"))
    assert 'id="calibration"' not in text


@pytest.mark.parametrize(
    "explained",
    [
        {"confusions": [[0, 9, 1]], "classes": {}},
        {"confusions": [[0, 0]], "classes": {}},
        {"classes": {}},
        {"confusions": [], "classes": {"a": {"f1": 1}}},
        {"confusions": [["a", "b", 1]], "classes": {}},
        {"confusions": [[-1, 0, 1]], "classes": {"a": ABC}},
        {"confusions": [[0, 0, -1]], "classes": {"a": ABC}},
        {"confusions": [[0, 0, 2**70]], "classes": {"a": ABC}},
    ],
)
def test_a_damaged_result_is_named(tmp_path: Path, explained: dict[str, Any]) -> None:
    logits, labels = random_answers(3, 30)
    run = write_tested(tmp_path, "run", logits, labels, "abc")
    outcome = run.outcome()
    assert outcome is not None
    run.write_outcome(replace(outcome, explained=explained))
    with pytest.raises(UserError, match="run: its result is damaged; restore it"):
        text_of(run)


def scores_of(logits: NDArray[Any], labels: NDArray[Any], classes: int) -> NDArray[np.float64]:
    made = precision_recall_fscore_support(
        labels, logits.argmax(1), labels=range(classes), zero_division=np.nan
    )
    return np.stack(made, 1)


def test_tables_are_written_unrounded_and_go_when_they_no_longer_hold(tmp_path: Path) -> None:
    logits, labels = random_answers(5, 100)
    run = write_tested(tmp_path, "run", logits, labels, "abcde")
    write_report(study_report(run))
    folder = tmp_path / "run/report"
    classes = table((folder / "per_class.csv").read_bytes())
    columns = ("precision", "recall", "f1", "support")
    found = [[float(row[column]) for column in columns] for row in classes]
    assert np.array(found) == pytest.approx(scores_of(logits, labels, 5))
    forms = table((folder / "forms.csv").read_bytes())
    assert [row["form"] for row in forms[::5]] == ["best", "ensemble", "soup", "plain"]
    (row,) = (r for r in forms if (r["form"], r["metric"]) == ("ensemble", "accuracy"))
    assert float(row["test"]) == (logits.argmax(1) == labels).mean()
    assert float(row["test_low"]) < float(row["test"]) < float(row["test_high"])
    assert (row["result"], row["members"]) == ("1", "3:0.2 7:0.5 11:0.3")
    text = (folder / "tables.md").read_text()
    assert "forms of the result, accuracy" in text
    assert "forms of the result, accuracy" in (folder / "tables.tex").read_text()
    outcome = run.outcome()
    assert outcome is not None
    run.write_outcome(replace(outcome, explained=None, forms={}))
    write_report(study_report(run))
    assert not (folder / "per_class.csv").exists()
    assert not (folder / "forms.csv").exists()


def test_a_study_shows_the_forms_of_each_method(tmp_path: Path) -> None:
    logits, labels = random_answers(3, 60)
    for seed in (0, 1):
        settings = [f"search.seed={seed}"]
        write_tested(tmp_path, f"evolved-{seed}", logits, labels, "abc", settings=settings)
        write_search(tmp_path, f"full-{seed}", ["method.name=full", *settings])
    (tmp_path / "study.yaml").write_text("name: study\n")
    (tables,) = study_report(StudyDirectory(str(tmp_path))).tables
    (grid,) = tables.forms
    names = [column.name for column in grid.columns]
    assert names == [
        *("method", "searches"),
        *("best model", "ensemble", "soup", "plain fine-tuning"),
    ]
    percent = f"{100 * (logits.argmax(1) == labels).mean():.1f} ± 0.0 %"
    assert [[cell.text for cell in row] for row in grid.rows] == [
        ["full", "0", *["–"] * 4],
        ["revo-continuous", "2", *[percent] * 4],
    ]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


def test_a_browser_shows_each_figure_and_picture(tmp_path: Path, chromium: Browser) -> None:
    run = write_digits(tmp_path)
    page = Path(write_page(study_report(run)).page)
    figures = len(list(page.parent.glob("figures/*.svg")))
    widths = "return Array.from(document.images, i => [i.naturalWidth, i.width])"
    for width, dark in ((1280, False), (1280, True), (390, False), (390, True)):
        chromium.open(page, width, dark=dark)
        sizes = chromium.script(widths)
        assert len(sizes) == figures + 12
        scales = [shown / own for own, shown in sizes if own > 100]
        assert min(scales) > 0.7  # the text in a figure stays two thirds of the page's
        assert chromium.script("return document.documentElement.scrollWidth") <= width
        assert chromium.complaints() == []
        assert chromium.requests() == [page.as_uri()]
        boxes = chromium.script(
            "return Array.from(document.querySelectorAll('.pictures img'), i => [i.width, i.height,"
            " getComputedStyle(i).imageRendering])"
        )
        assert boxes == [[128, 128, "pixelated"]] * 12
