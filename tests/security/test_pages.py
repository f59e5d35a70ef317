"""Reports, archives and exports of hostile files: pages stay text, and nothing leaks."""

from __future__ import annotations

import io
import json
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.security.commands import SMALL, revo, sets

pytestmark = pytest.mark.slow

EVIL = "<script>alert(1)</script><img src=https://evil.example/x onerror=alert(2)>"
TEX = r"\input{/etc/passwd}\write18{id}$x$"
SECRET = "hunter2hunter2"


class Tags(HTMLParser):
    """Collects scripts, addresses and handlers of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag that runs something or fetches something."""
        if tag in ("script", "iframe", "object", "embed", "base", "form"):
            self.found.append(tag)
        for name, value in attrs:
            fetched = name in ("src", "href") and not (value or "").startswith(("data:", "#"))
            if name.startswith("on") or (fetched and "evil" in (value or "")):
                self.found.append(f"{tag} {name}={value}")


@pytest.fixture
def spoilt(run: Path) -> Path:
    """A run whose method, classes, units and errors are HTML and TeX."""
    config = (run / "config.yaml").read_text()
    name = json.dumps(f"{EVIL} {TEX}")
    config = config.replace("name: revo-continuous", f"name: {name}")
    (run / "config.yaml").write_text(config)
    for path in run.glob("*/config.json"):
        card = json.loads(path.read_text())
        card["classes"] = [f"{EVIL} {name}" for name in card["classes"]]
        card["units"] = [f"{EVIL} {name}" for name in card["units"]]
        path.write_text(json.dumps(card))
    return run


def test_a_report_is_text_in_html_and_in_latex(spoilt: Path) -> None:
    done = revo("report", spoilt, folder=spoilt.parent)
    assert done.returncode == 0, done.stderr
    page = (spoilt / "report" / "index.html").read_text()
    assert "alert(1)" in page
    assert Tags(page).found == []
    table = (spoilt / "report" / "tables.tex").read_text()
    assert "etc/passwd" in table
    assert r"\input" not in table
    assert r"\write" not in table
    assert r"\$x\$" in table


def test_an_archive_writes_no_file(run: Path) -> None:
    """Its members have names that lead out of it, and one is a link."""
    picture = io.BytesIO()
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(picture, "png")
    place = run.parent / "a" / "b"
    place.mkdir(parents=True)
    link = zipfile.ZipInfo("link.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(place / "x.zip", "w") as file:
        for name in ("../../out.png", f"{run.parent}/absolute.png", "in.png"):
            file.writestr(name, picture.getvalue())
        file.writestr(link, "/etc/hostname")
    before = sorted(run.parent.rglob("*"))
    done = revo("predict", run, "x.zip", folder=place)
    assert "in.png" in done.stdout
    assert sorted(run.parent.rglob("*")) == before


@pytest.mark.nightly
def test_pictures_of_a_report_hold_no_metadata(run: Path) -> None:
    """A search of photographs with a place and a name in them, and all that is made of it."""
    photos, random = run.parent / "photos", np.random.default_rng(0)
    for label in ("a", "b"):
        (photos / label).mkdir(parents=True)
        for number in range(12):
            exif = Image.Exif()
            exif[0x010E] = SECRET  # a description
            exif[0x013B] = SECRET  # the artist
            picture = Image.fromarray(random.integers(0, 255, (40, 40, 3), np.uint8))
            picture.save(photos / label / f"{number}.jpg", exif=exif, comment=SECRET.encode())
    place = run.parent / "results"
    more = ("data.source=folder", f"data.root={photos}", "data.train_fraction=0.5")
    small = [each for each in SMALL if "evaluations" not in each and "population" not in each]
    one = ("search.evaluations=4", "search.population=4", f"storage={place}", "name=photos")
    done = revo("search", *sets(*small, *more, *one), folder=run.parent)
    assert done.returncode == 0, done.stderr
    assert revo("report", place / "photos", folder=run.parent).returncode == 0
    out = ("export", place / "photos", "--to", "safetensors", "--out", place / "made")
    assert revo(*out, folder=run.parent).returncode == 0
    files = [path for path in place.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    page = (place / "photos" / "report" / "index.html").read_text()
    assert "Exif" not in page


@pytest.mark.parametrize("key", ["storage", "data.root"])
def test_a_password_in_a_uri_is_refused_and_not_repeated(key: str, run: Path) -> None:
    uri = f"s3://somebody:{SECRET}@bucket/place"
    source = ("data.source=folder",) if key == "data.root" else ()
    place = run.parent / "results"
    settings = sets(*SMALL, f"storage={place}", *source, f"{key}={uri}")
    done = revo("search", *settings, folder=run.parent)
    assert done.returncode == 2
    assert key in done.stderr
    assert SECRET not in done.stdout + done.stderr
    written = [path for path in run.parent.rglob("*") if path.is_file()]
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]
