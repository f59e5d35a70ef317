"""`data inspect` as a user meets it: what it prints, where, and how it ends."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from revo_ray.cli.inspection_text import looking
from revo_ray.cli.main import main
from tests.data.layouts import Files, picture, unpacked

FRACTIONS = ("data.train_fraction=0.3", "data.validation_fraction=0.3", "data.test_fraction=0.3")


def class_files(count: int = 12) -> Files:
    return {
        f"{label}/{i:02d}.jpg": picture(tint, i)
        for tint, label in enumerate(("cat", "dog"))
        for i in range(count)
    }


class Inspect:
    """Runs the command on a folder of class folders.

    Attributes:
        options: further words of the command.
        status, out, err: of the last run.
    """

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        self.folder, self._monkeypatch, self._capfd = folder, monkeypatch, capfd
        self.options: tuple[str, ...] = ()
        self.status, self.out, self.err = -1, "", ""

    def __call__(self, files: Files, *settings: str) -> None:
        root = unpacked(files, self.folder / "set")
        sets = [f"storage={self.folder}/runs", "data.source=folder", f"data.root={root}"]
        sets += [*FRACTIONS, *settings]
        self.run(*(word for setting in sets for word in ("--set", setting)))

    def run(self, *words: str) -> None:
        """Run the command with its options and these words."""
        words = ("revo-ray", "data", "inspect", *self.options, *words)
        self._monkeypatch.setattr(sys, "argv", [*words])
        with pytest.raises(SystemExit) as ended:
            main()
        self.status = int(ended.value.code or 0)
        self.out, self.err = self._capfd.readouterr()

    def fact(self, name: str) -> str:
        """The text beside a name."""
        (line,) = [line for line in self.out.splitlines() if line.startswith(f"{name} ")]
        return line.removeprefix(name).strip()


@pytest.fixture
def inspect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Inspect:
    return Inspect(tmp_path, monkeypatch, capfd)


def test_a_good_set_is_shown_in_full(inspect: Inspect) -> None:
    inspect(class_files(20))
    assert (inspect.status, inspect.err) == (0, "")
    lines = inspect.out.splitlines()
    assert lines[0] == f"folder in '{inspect.folder}/set': 40 images in 2 classes"
    table = [line.split() for line in lines[2:6]]
    assert table == [
        ["class", "train", "validation", "test", "unused", "images"],
        ["cat", "6", "6", "6", "2", "20"],
        ["dog", "6", "6", "6", "2", "20"],
        ["all", "12", "12", "12", "4", "40"],
    ]
    assert len({len(line) for line in lines[2:6]}) == 1
    assert inspect.fact("sizes") == "all 40×30"
    assert inspect.fact("formats") == "JPEG RGB (40)"
    assert inspect.fact("unusable") == "none"
    assert inspect.fact("twins") == "no image stands in two splits"
    assert f"{inspect.folder}/runs/.tables" in inspect.fact("table")
    assert not [*inspect.folder.rglob("*.arrow")]


def test_bad_images_are_all_listed_then_one_line_ends_it(inspect: Inspect) -> None:
    bad = {f"cat/bad {i}.png": b"no image" for i in range(25)}
    inspect(class_files() | bad)
    assert inspect.status == 2
    for name in bad:
        assert f"  {name!r}: not an image" in inspect.out
    assert inspect.fact("unusable") == "25 images"
    assert inspect.fact("twins") == "no image stands in two splits"
    (line,) = inspect.err.splitlines()
    assert line.startswith("revo-ray: data.root: 25 images cannot be used")
    assert line.endswith("(from --set)")
    inspect({}, "data.on_bad_image=skip")
    assert (inspect.status, inspect.err) == (0, "")
    first, _, headline, *_ = inspect.out.splitlines()
    assert first.startswith("warning: 25 images cannot be used and are left out: 'cat/bad 0.png'")
    assert headline.endswith("24 of 49 images in 2 classes")


def test_impossible_splits_are_the_first_line_and_the_last(inspect: Inspect) -> None:
    inspect(class_files(), "data.train_fraction=0.01")
    assert inspect.status == 2
    assert inspect.out.splitlines()[4].split() == ["class", "images"]
    assert inspect.fact("sizes") == "all 40×30"
    (line,) = inspect.err.splitlines()
    assert line.startswith("revo-ray: data.train_fraction: 0.01 of 24 images is 0, too few")
    reason = line.removeprefix("revo-ray: ").removesuffix(" (from --set)")
    assert inspect.out.splitlines()[0] == f"a search cannot start: {reason}"


def test_a_source_that_cannot_be_read_is_one_line(inspect: Inspect) -> None:
    inspect(class_files() | {"emu/": b""})
    assert (inspect.status, inspect.out) == (2, "")
    assert inspect.err.count("\n") == 1


def test_near_duplicates_are_shown_with_their_names(inspect: Inspect) -> None:
    parts = ("train", "val", "test")
    files = {
        f"{part}/{label}/{i}.png": picture(tint, 20 * k + i, kind="PNG")
        for k, part in enumerate(parts)
        for tint, label in enumerate(("cat", "dog"))
        for i in range(12)
    }
    copies = {f"test/dog/copy {i}.bmp": picture(1, 20 + i, kind="BMP") for i in range(12)}
    inspect(files | copies, "data.train_fraction=0.2")
    assert inspect.status == 0
    rows = {line[:30].strip(): line[30:].split() for line in inspect.out.splitlines()}
    assert rows["test, also in validation"] == ["12", "0"]
    assert rows["test, also in train"] == rows["validation, also in train"] == ["0", "0"]
    named = [line for line in inspect.out.splitlines() if "copy" in line]
    assert len(named) == 10
    assert "  'val/dog/0.png' (validation), 'test/dog/copy 0.bmp' (test)" in named
    assert "12 of 60 validation and test images have a twin in another split" in inspect.out


def test_no_control_character_reaches_a_pipe(inspect: Inspect) -> None:
    files = {
        "[bold]Füße/a [red].jpg": picture(0, 1),
        "[bold]Füße/b\x1b[2J\n.jpg": b"bad",
        "c\x07\rlass/1.jpg": picture(1, 1),
    }
    inspect(class_files() | files, "data.on_bad_image=skip")
    assert all(c.isprintable() or c == "\n" for c in inspect.out + inspect.err)
    assert "[bold]Füße" in inspect.out
    assert r"'[bold]Füße/b\x1b[2J\n.jpg'" in inspect.out


def test_names_are_whole_in_a_pipe(inspect: Inspect) -> None:
    name = "a class " + "with a long name " * 12
    inspect(class_files() | {f"{name.strip()}/{i}.png": picture(2, i) for i in range(12)})
    (line,) = [line for line in inspect.out.splitlines() if line.startswith("a class")]
    assert line.split("  ")[0] == name.strip()


def test_json_holds_what_the_text_says(inspect: Inspect) -> None:
    inspect.options = ("--json",)
    inspect(class_files() | {"cat/bad.png": b"no image"}, "data.on_bad_image=skip")
    found = json.loads(inspect.out)
    assert (inspect.status, found["can_start"], found["obstacles"]) == (0, True, [])
    assert [problem["name"] for problem in found["problems"]] == ["cat/bad.png"]
    counts = {"images": 12, "train": 4, "validation": 4, "test": 4, "unused": 0}
    assert found["classes"]["cat"] == counts
    inspect({}, "data.train_fraction=0.01")
    found = json.loads(inspect.out)
    assert not found["can_start"]
    (obstacle,) = [each for each in found["obstacles"] if "fraction" in each["key"]]
    assert "too few" in obstacle["text"]


def test_a_path_takes_the_place_of_a_configuration(inspect: Inspect) -> None:
    root = unpacked(class_files(), inspect.folder / "photos #1")
    table = inspect.folder / "list.csv"
    rows = [
        f"{path.relative_to(inspect.folder)},{path.parent.name}" for path in root.rglob("*.jpg")
    ]
    table.write_text("\n".join(["path,label", *rows]))
    archive = shutil.make_archive(str(inspect.folder / "photos"), "zip", root)
    for path in (str(root), str(table), archive, root.as_uri()):
        inspect.options = (path,)
        inspect.run()
        assert inspect.status == 0, inspect.err
        assert "24 images in 2 classes" in inspect.out
    inspect.options = (str(inspect.folder / "nowhere"),)
    inspect.run()
    assert inspect.status == 2
    assert inspect.err.startswith("revo-ray: cannot read the configuration")


def test_a_terminal_sees_a_bar(tmp_path: Path) -> None:
    screen = io.StringIO()
    with looking(Console(file=screen, force_terminal=True, width=100)) as (progress, _):
        for done in range(8):
            progress(done, 7)
    assert "7/7" in screen.getvalue()
    log = io.StringIO()
    with looking(Console(file=log)) as (progress, _):
        progress(7, 7)
    assert log.getvalue().strip() == ""


@pytest.mark.slow
def test_it_starts_without_torch_and_ray() -> None:
    code = (
        "import sys; sys.argv = ['revo-ray', 'data', 'inspect']\n"
        "from revo_ray.cli.main import main\n"
        "try: main()\n"
        "finally: print({'torch', 'ray'} & set(sys.modules), file=sys.stderr)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stderr == "set()\n"
    assert "1,797 images in 10 classes" in done.stdout
