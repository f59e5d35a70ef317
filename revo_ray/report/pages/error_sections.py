"""Sections of a search's page about the test images: confusions, classes, surest errors."""

from __future__ import annotations

import io

from PIL import Image

from revo_ray.errors import UserError, printable
from revo_ray.report.explained import (
    Explained,
    WrongImage,
    read_explained,
    read_wrong_images,
    worst_first,
)
from revo_ray.report.figures.confusion import confusion_chart
from revo_ray.report.figures.learning_curve import learning_chart
from revo_ray.report.figures.reliability import reliability_chart
from revo_ray.report.form_scores import TITLES
from revo_ray.report.grid import Cell, Column, Grid, table_markdown
from revo_ray.report.loaded_run import Run
from revo_ray.report.pages.page import Picture, Section
from revo_ray.report.text_sections import code
from revo_ray.words import counted, cut, number_text

MOST_ROWS = 30
"""Most classes in a table."""
MOST_PAIRS = 12
"""Most pairs of classes in a table."""
NAME = 60
"""Most characters of a name."""
SIDE = 160
"""Most pixels of a picture's side."""


def error_sections(run: Run) -> list[Section]:
    """Errors, classes and calibration of the result, and the best model's learning curve.

    Raises:
        UserError: the result is damaged.
        OSError: the storage is unreachable.
    """
    explained = read_explained(run.outcome)
    learning = Section("learning", "Learning curve", charts=[learning_chart(run)])
    if explained is None or not explained.images:
        return [learning]
    chart = reliability_chart(explained)
    return [
        _errors(run, explained),
        Section("classes", "Classes", _class_text(explained)),
        Section("calibration", "Calibration", charts=[chart]),
        learning,
    ]


def _errors(run: Run, explained: Explained) -> Section:
    chart, wrong = confusion_chart(explained), explained.wrong
    form = run.outcome.result.form
    title = TITLES.get(form, form)
    text = (
        f"The {title} labels {wrong:,} of {counted(explained.images, 'test image')} wrongly."
        if wrong
        else f"The {title} labels all {explained.images:,} test images correctly."
    )
    if chart is None and wrong:
        text += "\n\n" + _confusion_table(explained)
    try:
        pictures = [_picture(image) for image in read_wrong_images(run.outcome)]
    except UserError as error:
        pictures, text = [], f"{text}\n\nThe pictures are missing: {code(str(error))}"
    if pictures:
        text += (
            f" {'Below are' if chart is None else 'Below the matrix are'} those with the highest "
            "confidence, as the network saw them: look here first for wrong labels in the data."
        )
    return Section("errors", "Errors", text, charts=[chart], pictures=pictures)


def _confusion_table(explained: Explained) -> str:
    errors = explained.errors
    columns = [Column("true", numbers=False), Column("predicted", numbers=False)]
    rows = [
        [Cell(name_text(true)), Cell(name_text(predicted)), Cell(f"{count:,}"),
         Cell(f"{explained.classes[true].support:,}")]
        for true, predicted, count in errors[:MOST_PAIRS]
    ]  # fmt: skip
    caption = "Test images of one class that were labelled as another, the most frequent first."
    if len(errors) > MOST_PAIRS:
        caption += f" {len(errors) - MOST_PAIRS:,} more pairs are in result.json."
    columns += [Column("images"), Column("of")]
    return table_markdown(Grid("", caption, columns, rows))


def _class_text(explained: Explained) -> str:
    places = {name: number for number, name in enumerate(explained.names, 1)}
    many = len(places) > MOST_ROWS
    shown = worst_first(explained)[:MOST_ROWS] if many else explained.classes.items()
    columns = [Column("#"), Column("class", numbers=False)]
    columns += [Column(name) for name in ("precision", "recall", "F1", "test images")]
    rows = [
        [
            Cell(f"{places[name]}"),
            Cell(name_text(name)),
            *(Cell(number_text(value)) for value in (own.precision, own.recall, own.f1)),
            Cell(f"{own.support:,}"),
        ]
        for name, own in shown
    ]
    caption = (
        "Precision: the share of the images labelled so that are of this class. Recall: the share "
        "of the class's images that are labelled so. F1: their harmonic mean. A dash: not defined, "
        "for there are no such images."
    )
    if many:
        caption = (
            f"The {MOST_ROWS} classes with the lowest F1 of {len(places):,}; per_class.csv has "
            f"all. {caption}"
        )
    return table_markdown(Grid("", caption, columns, rows))


def _picture(image: WrongImage) -> Picture:
    side = len(image.pixels)
    made = Image.fromarray(image.pixels)
    kind = "png"
    if side > SIDE:
        made, kind, side = made.resize((SIDE, SIDE)), "jpeg", SIDE
    stream = io.BytesIO()
    made.save(stream, kind, quality=85)
    predicted, true = name_text(image.predicted), name_text(image.true)
    name = printable(image.name)
    lines = [
        ("labelled ", predicted),
        ("probability ", f"{100 * image.confidence:.1f} %"),
        ("true class ", true),
        ("", name if len(name) <= NAME else f"…{name[1 - NAME :]}"),
    ]
    alt = f"{name}: {true}, labelled {predicted}"
    return Picture(stream.getvalue(), kind, alt, lines, side)


def name_text(name: str) -> str:
    """A class as a table shows it."""
    return cut(printable(name), NAME)
