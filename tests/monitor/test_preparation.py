"""Progress of the preparation of images, on a terminal and in a log."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from revo_ray.data.files import stored_file
from revo_ray.data.image_records import Finding, Topic
from revo_ray.data.table import image_table as table_module
from revo_ray.monitor.preparation import prepare_and_show, table_progress
from revo_ray.settings.schema import DataConfig
from tests.end_to_end.photos import write_photos

CONFIG = DataConfig(image_size=8, max_images=300)
NO_GROUP = Finding(Topic.GROUPS, "[no] group is known")


def shown(folder: Path, terminal: bool) -> str:
    stream = io.StringIO()
    prepare_and_show(CONFIG, folder, Console(file=stream, force_terminal=terminal, width=100))
    return stream.getvalue()


def test_a_log_gets_a_line_at_the_start_and_one_at_the_end(tmp_path: Path) -> None:
    lines = shown(tmp_path, False).splitlines()
    assert lines[0] == "preparing 300 images"
    assert re.fullmatch(r"prepared 300 images in \d+s", lines[1])
    assert len(lines) == 2


def test_images_that_were_read_before_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_file, "RECENT_NS", 0)
    source = write_photos(tmp_path / "p", {"temple": 6, "flower": 4}, (64, 48))
    config = DataConfig(source="folder", root=str(source), image_size=16, train_fraction="rest")
    (source / "temple" / "IMG_0000.jpg").rename(tmp_path / "later.jpg")
    prepare_and_show(config, tmp_path / "tables", None)
    (tmp_path / "later.jpg").rename(source / "temple" / "IMG_0000.jpg")
    prepare_and_show(config, tmp_path / "tables", Console(file=(stream := io.StringIO())))
    first, second, *_ = stream.getvalue().splitlines()
    assert first == "preparing 10 images, 9 of them known"
    assert second.startswith("prepared 10 images in")


def test_a_terminal_gets_a_bar_that_goes_away(tmp_path: Path) -> None:
    text = shown(tmp_path, True)
    assert "preparing images" in text
    assert "300/300" in text
    assert text.endswith("s\n")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_table_that_is_there_shows_nothing(tmp_path: Path, terminal: bool) -> None:
    shown(tmp_path, False)
    assert shown(tmp_path, terminal) == ""


def test_warnings_are_shown_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = table_module.read_source(CONFIG)
    warned = type(source)(source.classes, source.records, (), (NO_GROUP,))
    monkeypatch.setattr(table_module, "read_source", lambda config: warned)
    for _ in range(2):
        assert "warning: [no] group is known\n" in shown(tmp_path, False)
    assert prepare_and_show(CONFIG, tmp_path, None).warnings == (NO_GROUP,)


def test_an_error_takes_the_bar_off_the_terminal() -> None:
    stream = io.StringIO()

    def fail() -> None:
        with table_progress(Console(file=stream, force_terminal=True, width=100)) as preparation:
            preparation(0, 10)
            preparation(3, 10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert stream.getvalue().endswith("\x1b[2K")  # the line is erased


def test_what_was_said_of_another_table_is_not_repeated(tmp_path: Path) -> None:
    source = write_photos(tmp_path / "p", {"temple": 6, "flower": 4}, (64, 48))
    (source / "temple" / "broken.jpg").write_bytes(b"no image")
    told: set[Finding] = set()
    said = []
    for size in (16, 24):
        config = DataConfig(
            source="folder",
            root=str(source),
            image_size=size,
            on_bad_image="skip",
            train_fraction="rest",
        )
        stream = io.StringIO()
        prepare_and_show(config, tmp_path / "tables", Console(file=stream, width=300), told)
        said.append([line for line in stream.getvalue().splitlines() if "warning" in line])
    assert any("broken.jpg" in line for line in said[0])
    assert said[1] == []
