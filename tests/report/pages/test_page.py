"""The page of a report is self-contained, and its figures show the ledger's numbers."""

from __future__ import annotations

import csv
import io
import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from pyarrow import fs

from revo_ray.report.loaded_run import load_run
from revo_ray.report.outcomes import load_outcomes
from revo_ray.report.pages.search_page import _random_beside
from revo_ray.report.pages.site import write_page
from revo_ray.report.study_report import study_report
from revo_ray.rundir import Evaluation, Ledger, RunDirectory, open_directory
from revo_ray.storage import Storage
from tests.browser import Browser, browser
from tests.report.evolved import CAUSE, unit_names, write_evolved, write_study
from tests.report.studies import write_search

pytestmark = pytest.mark.slow

FAILING = (3, 4, 12, 21)
PAGES = ("search", "study", "interrupted", "nothing")


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each kind of run directory, and its page."""
    root = tmp_path_factory.mktemp("reported")
    write_evolved(root, "search", units=14, failing=FAILING, method="revo-binary")
    write_study(root / "study", units=10, evaluations=6)
    write_evolved(root, "interrupted", rows=13, failing=[2], lookahead=2)
    write_evolved(root, "nothing", evaluations=8, failing=range(8))
    for name in PAGES:
        page_of(root / name)
    return root


def page_of(folder: Path) -> str:
    return Path(write_page(study_report(open_directory(str(folder)))).page).read_text()


def ledger_of(folder: Path) -> Ledger:
    return RunDirectory(str(folder)).ledger()


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


class Links(HTMLParser):
    """What a page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.found: list[tuple[str, str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [(tag, key, value or "") for key, value in attributes]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_nobody_for_anything(reported: Path, name: str) -> None:
    report = reported / name / "report"
    text = (report / "index.html").read_text()
    links = Links(text)
    assert not {"script", "iframe", "object", "embed", "base", "form"} & set(links.tags)
    for tag, key, value in links.found:
        if key in ("src", "srcset", "data", "poster", "action"):
            assert value.startswith("data:image/svg+xml;base64,"), (tag, key)
        if key == "href" and tag == "a":
            assert value.startswith("#") or (report / value).is_file(), value
        elif key == "href":
            assert value == "data:,", tag
        assert not key.startswith("on")
    assert "@import" not in text
    assert "url(" not in text
    for picture in report.glob("figures/*.svg"):
        references = re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', picture.read_text())
        assert all((a or b).startswith(("#", "data:image/png")) for a, b in references)


@pytest.mark.parametrize("name", PAGES)
def test_each_figure_is_there_as_svg_png_and_csv(reported: Path, name: str) -> None:
    report = reported / name / "report"
    names = {path.stem for path in report.glob("figures/*")}
    assert names or name == "nothing"
    for stem in names:
        files = [report / "figures" / f"{stem}.{kind}" for kind in ("svg", "png", "csv")]
        assert [path.read_bytes()[:5] for path in files[:2]] == [b"<?xml", b"\x89PNG\r"]
        assert len(table(files[2])) > 0
    assert set(re.findall(r'<figure id="([\w-]+)"', (report / "index.html").read_text())) == names


def test_what_a_search_has_is_on_its_page(reported: Path) -> None:
    text = (reported / "search/report/index.html").read_text()
    found = {path.stem for path in (reported / "search/report/figures").glob("*.svg")}
    assert found == {
        *("best-so-far", "best-plan", "rates-by-depth"),
        *("parallel", "validation-test"),
    }
    ledger = ledger_of(reported / "search")
    assert ledger.best is not None
    assert f"<b>{ledger.best.val_loss:.4f}</b>" in text
    for words in ("4 of 40 evaluations failed", CAUSE, "the loss was not finite", "1" * 64):
        assert words in text
    assert "revo-ray search config.yaml --set name=search-again" in text
    assert "not finished" not in text


def test_what_a_study_has_is_on_its_page(reported: Path) -> None:
    text = (reported / "study/report/index.html").read_text()
    found = {path.stem for path in (reported / "study/report/figures").glob("*.svg")}
    model = "timm-tf-efficientnet-lite0"
    for method in ("revo-binary", "revo-continuous"):
        for kind in ("rates-by-data", "rates-by-fraction", "importance", "parallel"):
            assert f"{kind}-{method}-{model}" in found
    shared = ("radar", "best-so-far", "critical-difference", "validation-test")
    assert {*shared, f"best-plans-{model}"} <= found
    for words in ("mean ± sample standard deviation", "paired t test", "what a search cost"):
        assert words in text
    assert "revo-ray study study.yaml --set name=study-again" in text


def test_an_interrupted_search_says_so(reported: Path) -> None:
    text = (reported / "interrupted/report/index.html").read_text()
    assert "This search is not finished: 13/40" in text
    assert "measured once" not in text


def test_a_search_that_ran_out_of_time_says_so(tmp_path: Path) -> None:
    ledger = write_search(tmp_path, "late", losses=(0.9, 0.4))
    run = RunDirectory(str(tmp_path / "late"))
    result = run.outcome()
    assert result is not None
    run.write_outcome(replace(result, stopped_by="time", test_looks=2))
    text = page_of(tmp_path / "late")
    assert f"This search is not finished: {len(ledger)}/4." in text
    assert "the test images have been seen 2 times, when it ended before" in text
    assert "It was stopped by search.stop_after at 2/4." in text
    assert "measured 2 times" in text


def test_a_search_without_success_says_why(reported: Path) -> None:
    text = (reported / "nothing/report/index.html").read_text()
    assert "No evaluation succeeded, of 8" in text
    assert "8 of 8 evaluations failed" in text


def test_the_curve_is_the_ledgers(reported: Path) -> None:
    rows = list(ledger_of(reported / "search"))
    drawn = table(reported / "search/report/figures/best-so-far.csv")
    assert [int(row["evaluation"]) for row in drawn] == [row.evaluation for row in rows]
    for number, row in enumerate(drawn):
        before = [r.val_loss for r in rows[: number + 1] if r.val_loss is not None]
        assert float(row["best_val_loss"]) == min(before)
        assert int(row["images"]) == sum(r.images for r in rows[: number + 1])
        assert float(row["device_seconds"]) == sum(r.seconds for r in rows[: number + 1])
    assert float(drawn[9]["uninformed_median"]) == float(drawn[9]["best_val_loss"])
    assert drawn[10]["uninformed_median"] == ""  # ten draws, no forecast


def test_what_lookahead_sampled_is_uninformed_too(reported: Path) -> None:
    drawn = table(reported / "interrupted/report/figures/best-so-far.csv")
    assert [row["uninformed_median"] != "" for row in drawn] == [True] * 12 + [False]


def test_the_plan_is_the_best_rows(reported: Path) -> None:
    best = ledger_of(reported / "search").best
    assert best is not None
    drawn = table(reported / "search/report/figures/best-plan.csv")
    assert [row["unit"] for row in drawn] == unit_names(14)
    assert [float(row["learning_rate"]) for row in drawn] == best.unit_lrs


def test_rates_by_data_set_are_those_of_the_best_plans(reported: Path) -> None:
    path = "study/report/figures/rates-by-data-revo-binary-timm-tf-efficientnet-lite0.csv"
    for row in table(reported / path):
        rates = []
        for folder in (reported / "study").glob(f"{row['data']}-*-revo-binary-s*"):
            best = ledger_of(folder).best
            assert best is not None
            rates.append(best.unit_lrs[int(row["position"])])
        assert int(row["n"]) == len(rates) == 4
        assert float(row["share_frozen"]) == rates.count(0) / 4
        trained = [np.log10(rate) for rate in rates if rate > 0]
        if trained:
            assert float(row["log10_rate_median"]) == pytest.approx(np.median(trained))
        else:
            assert row["log10_rate_median"] == ""


def test_the_radar_shows_the_mean_test_aucs(reported: Path) -> None:
    outcomes = load_outcomes(open_directory(str(reported / "study")))
    rows = table(reported / "study/report/figures/radar.csv")
    assert len(rows) == 4 * 3 * 2  # methods, data sets, fractions
    for row in rows:
        (percent,) = re.findall(r"^([\d.]+) %", row["panel"])
        values = [
            o.test.auc
            for o in outcomes
            if o.test is not None
            and o.test.auc is not None
            and (o.identity.method, o.identity.data) == (row["method"], row["axis"])
            and o.identity.fraction == pytest.approx(float(percent) / 100)
        ]
        assert float(row["test_auc"]) == pytest.approx(statistics.fmean(values))


def test_a_random_search_of_the_study_is_what_a_search_is_compared_with(reported: Path) -> None:
    study = reported / "study"
    text = page_of(study / "busi-0.05-revo-continuous-s1")
    assert "draws of busi-0.05-random-s1, median and 10–90 %" in text
    draws = ledger_of(study / "busi-0.05-random-s1")
    drawn = table(study / "busi-0.05-revo-continuous-s1/report/figures/best-so-far.csv")
    assert float(drawn[-1]["uninformed_median"]) == min(
        row.val_loss for row in draws if row.val_loss is not None
    )
    text = page_of(study / "busi-0.05-revo-binary-s1")  # random drew the other genome
    assert "proposals from before it had learnt, median" in text


OPTIONS = {
    "continuous": ("scale=relative", "low=-4", "high=0", "spread=2", "weight_decay=null"),
    "binary": ("low=-4", "high=0", "recipe=null", "global_lr=searched", "head=trained"),
    "mixed": ("low=-4", "high=0", "spread=2", "weight_decay=[1e-6, 0.1]", "recipe=null"),
}
"""Options that random search and a method have in common, as run directories record them."""
OTHERS = ("scale=linear", "low=-5", "high=-1", "spread=1", "weight_decay=[1e-5, 0.1]")
OTHERS += ("recipe=[momentum]", "global_lr=0.1", "head=searched")


@pytest.mark.parametrize("encoding", OPTIONS)
def test_a_random_search_over_another_space_is_none_to_compare_with(
    tmp_path: Path, encoding: str
) -> None:
    def written(name: str, method: str, *options: str) -> None:
        settings = [f"method.{option}" for option in options]
        write_search(tmp_path, name, [f"method.name={method}", *settings])

    def beside() -> str | None:
        found = _random_beside(load_run(RunDirectory(str(tmp_path / "own"))))
        return found and found.config.name

    (tmp_path / "study.yaml").write_text("study: {}")
    options = OPTIONS[encoding]
    written("own", f"revo-{encoding}", *options, "algorithm=sop", "sigma=0.2")
    keys = [option.partition("=")[0] for option in options]
    for other in OTHERS:
        key = other.partition("=")[0]
        if key in keys:
            written(f"random-{key}", "random", f"encoding={encoding}", *options, other)
            assert beside() is None, key
    written("random", "random", f"encoding={encoding}", *options)
    assert beside() == "random"


def test_the_same_ledger_gives_the_same_bytes(reported: Path) -> None:
    target = reported / "search/report"

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}

    first = files()
    (target / "figures/of-an-earlier-report.svg").write_text("")
    page_of(reported / "search")
    assert files() == first


def test_what_labels_hold_is_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script><img src=http://evil/x> ![a](http://evil/y) $\\frac$ | `b"
    write_search(
        tmp_path,
        "run",
        losses=(0.9, 0.5, 0.7),
        sample={evil: 1.0, "b": 2.0},
        unit_lrs=[0.1, 0.2],
        device=evil,
        error=evil,
        attempts=3,
    )
    row = {"evaluation": 3, "status": "error", "error": f"{evil}\n{evil * 3}", "sample": {}}
    ledger = ledger_of(tmp_path / "run")
    ledger.append(Evaluation.model_validate(row))
    text = page_of(tmp_path / "run")
    links = Links(text)
    assert "script" not in links.tags
    assert not [value for _, key, value in links.found if key == "src" and "evil" in value]
    assert not [value for _, key, value in links.found if key == "href" and "evil" in value]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_a_page_is_written_to_any_file_system(reported: Path) -> None:
    storage = Storage("mock:///run")
    memory = storage._fs
    for part in ("ledger", "report/figures", "best"):
        memory.create_dir(f"run/{part}")  # object stores make them by themselves
    source = reported / "interrupted"
    for part in ("ledger", "best"):
        fs.copy_files(str(source / part), f"run/{part}", fs.LocalFileSystem(), memory)
    storage.write("config.yaml", (source / "config.yaml").read_bytes())
    written = write_page(study_report(open_directory(storage)))
    assert written.page == "mock:///run/report/index.html"
    assert storage.read("report/index.html") == (source / "report/index.html").read_bytes()


def test_a_search_before_its_first_row_has_a_page(tmp_path: Path) -> None:
    write_evolved(tmp_path, "empty", rows=0)
    text = page_of(tmp_path / "empty")
    assert "This search is not finished: 0/40" in text
    assert "Nothing was evaluated yet." in text


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.mark.parametrize("name", PAGES)
def test_a_browser_opens_it_without_a_complaint(
    reported: Path, chromium: Browser, name: str
) -> None:
    path = reported / name / "report/index.html"
    for width in (1280, 390):
        chromium.open(path, width)
        pictures = chromium.script("return Array.from(document.images, i => i.naturalWidth)")
        assert all(pictures)
        assert len(pictures) == len(list(path.parent.glob("figures/*.svg")))
        assert chromium.script("return document.documentElement.scrollWidth") <= width
        assert chromium.complaints() == []
        assert chromium.requests() == [path.as_uri()]


@pytest.mark.parametrize("width", [1280, 390])
def test_pictures_and_tables_that_scroll_say_so_on_a_telephone(
    reported: Path, chromium: Browser, width: int
) -> None:
    """A hint stands above each that is clearly wider than the screen, and above no other."""
    code = """
        return Array.from(document.querySelectorAll('.picture, .scroll'), box => {
            const hint = box.previousElementSibling;
            const shown = hint && hint.className === 'swipe' && hint.offsetHeight > 0;
            return [box.scrollWidth / box.clientWidth, Boolean(shown)];
        })"""
    for name in ("search", "study"):
        chromium.open(reported / name / "report/index.html", width)
        boxes = chromium.script(code)
        assert boxes
        if width == 1280:
            assert not any(shown for _, shown in boxes)
            continue
        assert all(shown for ratio, shown in boxes if ratio > 1.1)
        assert not any(shown for ratio, shown in boxes if ratio < 0.9)
        assert any(ratio > 1.1 for ratio, _ in boxes)


def test_it_is_dark_where_the_reader_wants_that(reported: Path, chromium: Browser) -> None:
    def lightness(of: str, what: str) -> float:
        code = f"return getComputedStyle(document.querySelector('{of}')).{what}"
        return sum(map(int, re.findall(r"\d+", chromium.script(code))[:3])) / 765

    path = reported / "search/report/index.html"
    check: list[tuple[bool, Callable[[float, float], bool]]] = [
        (False, lambda paper, ink: paper > 0.9 and ink < 0.2),
        (True, lambda paper, ink: paper < 0.2 and ink > 0.8),
    ]
    for dark, right in check:
        chromium.open(path, 1280, dark=dark)
        assert right(lightness("body", "backgroundColor"), lightness("body", "color"))
        assert (lightness(".picture", "backgroundColor") < 0.2) == dark
        code = "return getComputedStyle(document.querySelector('.picture img')).filter"
        assert ("invert" in chromium.script(code)) == dark  # figures are drawn on white
