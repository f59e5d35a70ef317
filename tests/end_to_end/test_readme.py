"""Every command of README, docs/ and the pages beside them is run: here on a small network, or by
the test named.

A command that is new in a `console` block belongs into `HERE`, with what makes it small, or into
`ELSEWHERE`.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from revo_ray.cli.main import main
from revo_ray.settings.study import StudyConfig
from tests.end_to_end.cli import ROOT

RESULTS = ROOT / "docs/results.md"
"""Its commands are those of the benchmarks, which `make results` copies from their records."""
CLUSTER = ROOT / "docs/cluster.md"
"""Its commands are parsed by `tests/cluster/test_files.py`, and run by others there."""
PAGES = (
    *sorted(ROOT.glob("*.md")),
    *sorted({*(ROOT / "docs").glob("*.md")} - {RESULTS, CLUSTER}),
)

SEARCH = (
    "model.name=timm/test_efficientnet",
    "model.weights=none",
    *("data.image_size=32", "train.epochs=1", "search.evaluations=4", "search.population=4"),
    "resources.max_concurrent=1",  # a second worker would take longer to load than it saves
)
STUDY = (
    *SEARCH,
    *("study.methods=[revo-continuous, full]", "study.data=[digits]"),
    *("study.models=[]", "study.fractions=[0.05]", "study.seeds=[0]"),
)

PHOTOS = (*SEARCH, "train.batch_size=16")
HERE: dict[str, tuple[str, ...]] = {
    "revo-ray data inspect photos": (),
    "revo-ray search photos": PHOTOS,
    "revo-ray report revo_results/photos": (),
    "revo-ray predict revo_results/photos new/": (),
    "revo-ray export revo_results/photos --to safetensors --out model": (),
    "revo-ray search": SEARCH,
    "revo-ray report revo_results/quickstart": (),
    "revo-ray search config.yaml --resume": SEARCH,
    "revo-ray watch revo_results/digits-resnet": (),
    "revo-ray study preset:quick": STUDY,
    "revo-ray report revo_results/quick": (),
    "revo-ray watch revo_results/quickstart": (),
    "revo-ray train config.yaml --plan revo_results/digits-resnet/best/plan.json "
    "--out trained": SEARCH,
    "revo-ray data inspect config.yaml": (),
    "revo-ray methods": (),
    "revo-ray models resnet18": (),
    "revo-ray --version": (),
}
"""Commands in the order in which they are run, each with the overrides that make it small."""

JOBS = "tests/cluster/test_jobs.py"
EXPORTS = "tests/model/export/test_commands.py"
ANSWERS = "tests/model/test_answers.py"
REFIT = "tests/model/test_refit.py"
INSPECT = "tests/cli/test_inspection_text.py"
SMOKE = "tests/benchmarks/test_smoke.py"
CLIP_ART = "tests/end_to_end/test_data.py::test_debians_clip_art_needs_no_manual_step"
NEWCOMER = "tests/end_to_end/test_newcomer.py::test_the_lines_of_the_readme_in_an_empty_environment"
ELSEWHERE = {
    "revo-ray study preset:compare photos": "tests/end_to_end/test_study.py"
    "::test_own_images_are_compared",
    "revo-ray study preset:compare /usr/share/openclipart/png --set data.max_images=1800 "
    "--set data.min_per_class=300 --set data.train_fraction=0.05 --set data.on_bad_image=skip "
    "--set data.near_duplicates=group": "tests/end_to_end/test_study.py"
    "::test_own_images_are_compared",
    "python3 -m venv .venv && . .venv/bin/activate": NEWCOMER,
    "pip install .[demo]": NEWCOMER,
    "pip wheel --no-deps --wheel-dir dist .": "tests/end_to_end/test_wheel.py"
    "::test_it_holds_every_file_of_the_project_under_two_names",
    "pip install --require-hashes -r locks/cluster.txt && pip install --no-deps .": "tests/cluster"
    "/test_container.py::test_the_installed_package_is_the_wheel",
    "tensorboard --logdir revo_results/quickstart/tensorboard": "tests/monitor/tensorboard"
    "/test_browser.py::test_it_opens_on_the_layout",
    "revo-ray search config.yaml --address auto --resume": "tests/end_to_end/test_nodes.py"
    "::test_the_other_machine_copies_the_table_once",
    "revo-ray search photos/": "tests/end_to_end/test_own_images.py"
    "::test_photographs_of_12_megapixels_take_the_promised_time",
    "revo-ray --install-completion": "tests/cli/test_completion.py"
    "::test_bash_completes_commands_options_presets_and_keys",
    "revo-ray data inspect photos/": f"{INSPECT}::test_a_path_takes_the_place_of_a_configuration",
    "revo-ray data inspect photos.zip": f"{INSPECT}"
    "::test_a_path_takes_the_place_of_a_configuration",
    "revo-ray data inspect labels.csv": "tests/docs/test_writing_a_source.py"
    "::test_the_table_of_the_page_is_read",
    "revo-ray data inspect labels.csv --json": f"{INSPECT}::test_json_holds_what_the_text_says",
    "revo-ray data inspect config.yaml --duplicates twins.csv": "tests/data/near_duplicates/"
    "test_policy.py"
    "::test_all_pairs_are_listed_and_names_are_to_the_letter",
    "revo-ray data inspect train.csv --set data.columns.image=id_code "
    "--set data.columns.label=diagnosis "
    "--set data.image_pattern=train_images/{}.png": "tests/data/test_field_cases.py"
    "::test_a_kaggle_table_needs_three_keys",
    "apt-get download openclipart-png && dpkg -x openclipart-png*.deb clipart": CLIP_ART,
    "revo-ray data inspect clipart/usr/share/openclipart/png": CLIP_ART,
    "revo-ray search clipart/usr/share/openclipart/png --set name=clip-art "
    "--set data.on_bad_image=skip --set data.near_duplicates=drop --set data.min_per_class=100 "
    "--set data.max_images=1000 --set train.epochs=2 --set search.evaluations=4 "
    "--set search.population=4": CLIP_ART,
    **dict.fromkeys(
        ("make test-fast", "make lint", "make format"),
        "tests/end_to_end/test_readme.py::test_make_runs_what_the_page_of_contributing_says",
    ),
    "make docs": "tests/docs/test_site.py::site",
    "make results": "tests/docs/test_results.py::test_page_and_age_need_no_package",
    "make stale": "tests/docs/test_results.py::test_page_and_age_need_no_package",
    "python -m benchmarks.searcher --out benchmarks/results/searcher.json": "tests/benchmarks"
    "/test_smoke.py::test_it_prints_its_line",
    "python -m benchmarks.pretrain build/pretrained": f"{SMOKE}::test_pretrain",
    "python -m benchmarks.cells A --out benchmarks/results/cells/a.json": f"{SMOKE}::test_cells",
    "python -m benchmarks.cells --together benchmarks/results/cells/*.json "
    "--out benchmarks/results/cells.json": f"{SMOKE}::test_cells",
    "python -m benchmarks.takeaway": f"{SMOKE}::test_takeaway",
    "python -m benchmarks.noise revo_results/cells/A-full revo_results/cells/A-revo": "tests"
    "/benchmarks/test_noise.py::test_a_winner_is_trained_again_under_other_seeds",
    "python -m benchmarks.ablations": f"{SMOKE}::test_ablations",
    "revo-ray search --set search.evaluations=20 --set name=short": "tests/end_to_end"
    "/test_search.py::test_the_number_of_workers_changes_nothing",
    "revo-ray search config.yaml --resume --set search.evaluations=200": "tests/end_to_end"
    "/test_search.py::test_a_search_that_grows_is_the_longer_search",
    "revo-ray search config.yaml --resume --set search.stop_after=2h": "tests/end_to_end"
    "/test_search.py::test_without_time_a_longer_search_tests_its_best_again_and_can_go_on",
    "revo-ray search config.yaml --dry-run": "tests/cli/test_dry_run.py"
    "::test_a_search_is_counted_as_it_would_run",
    "revo-ray search config.yaml --dry-run --set resources.gpus_per_trial=0.5": "tests/search"
    "/core/test_dry_run.py::test_memory_is_said_where_evaluations_share_a_gpu",
    "revo-ray search config.yaml --plugin-path .": "tests/end_to_end/test_study.py"
    "::test_a_search_that_cannot_go_on_stops_no_other",
    "revo-ray study study.yaml --resume": "tests/end_to_end/test_study.py"
    "::test_a_killed_study_goes_on_and_repeats_no_row",
    "revo-ray search config.yaml --address auto": "tests/end_to_end/test_nodes.py"
    "::test_the_other_machine_copies_the_table_once",
    "revo-ray submit config.yaml --address http://127.0.0.1:8265": f"{JOBS}"
    "::test_the_searchs_exit_status_is_passed_on",
    "revo-ray watch s3://bucket/searches/run?region=eu-west-1 --once": "tests/monitor/test_watch.py"
    "::test_rows_are_read_once_also_from_an_object_store",
    "revo-ray predict revo_results/run photos/": f"{ANSWERS}"
    "::test_lines_are_the_same_on_the_terminal_and_in_a_file",
    "revo-ray predict revo_results/run photos.zip a.png --top 3 --format json": f"{EXPORTS}"
    "::test_a_zip_archive_of_images_is_read",
    "revo-ray predict revo_results/run photos/ --form ensemble --out answers.parquet": f"{ANSWERS}"
    "::test_a_table_has_a_row_for_each_image_and_a_column_for_each_class",
    "revo-ray export revo_results/run --to safetensors --form ensemble --out model": "tests/model"
    "/test_load.py::test_every_form_answers_the_same_here_and_on_an_object_store",
    "revo-ray export model --to onnx --out model.onnx": "tests/model/test_load.py"
    "::test_every_form_answers_the_same_here_and_on_an_object_store",
    "revo-ray train revo_results/run --with-validation --seeds 3 --out again": f"{REFIT}"
    "::test_several_seeds_are_one_model_that_gives_their_mean",
}
"""Commands with the test that runs them, or that reads what they install."""


def commands() -> list[str]:
    """What a reader is told to type, without comments."""
    found = []
    for page in PAGES:
        blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(), flags=re.S | re.M)
        for block in blocks:
            lines = re.findall(r"^\$ (.*)$", re.sub(r"\\\n\s*", "", block), flags=re.M)
            found += [" ".join(shlex.split(line, comments=True)) for line in lines]
    return found


def first_yaml(page: str) -> str:
    """The first block of YAML on a page."""
    text = (ROOT / page).read_text()
    return re.findall(r"^```yaml\n(.*?)^```", text, flags=re.S | re.M)[0]


def test_each_command_has_a_test() -> None:
    typed = commands()
    assert len(typed) >= 15
    unknown = [command for command in typed if command not in HERE and command not in ELSEWHERE]
    assert not unknown, "put these into HERE or ELSEWHERE of this file"
    gone = [command for command in (*HERE, *ELSEWHERE) if command not in typed]
    assert not gone, "no page has these any more"


SNIPPETS = {
    "README.md": ("tests/model/test_load.py", "tests/end_to_end/test_cmamv_page.py"),
    "docs/cmamv-search.md": ("tests/end_to_end/test_cmamv_page.py",) * 4,
    "docs/library.md": ("tests/end_to_end/test_library.py",) * 3,
    "docs/methods.md": ("tests/end_to_end/test_plugin.py",),
    "docs/own-images.md": ("tests/end_to_end/test_own_images.py",),
    "docs/taking-away.md": ("tests/model/test_load.py",),
    "docs/trackers.md": ("tests/end_to_end/test_trackers.py",),
    "docs/writing-a-method.md": ("tests/docs/test_docs.py",),
    "docs/writing-a-source.md": ("tests/docs/test_writing_a_source.py",) * 2,
    "docs/writing-an-algorithm.md": ("tests/docs/test_docs.py",),
}
"""The file that runs each block of Python of a page, in their order."""


def test_each_block_of_python_is_run_by_a_test() -> None:
    found = {}
    for page in PAGES:
        blocks = re.findall(r"^```python\n", page.read_text(), flags=re.M)
        if blocks:
            found[page.relative_to(ROOT).as_posix()] = len(blocks)
    assert found == {page: len(tests) for page, tests in SNIPPETS.items()}
    for page, tests in SNIPPETS.items():
        for test in tests:
            text = (ROOT / test).read_text()
            assert Path(page).name in text or "README" in text, f"{test} does not read {page}"


@pytest.mark.parametrize("test", sorted(set(ELSEWHERE.values())))
def test_the_test_that_is_named_is_there(test: str) -> None:
    path, _, function = test.partition("::")
    assert f"def {function}(" in (ROOT / path).read_text()


def test_make_runs_what_the_readme_says() -> None:
    """`make demo` is the quick start, which may go on; `make test` every test but the nightly."""
    assert "revo-ray search --resume" in made("demo")
    (test,) = re.findall(r"-m pytest (.*)", made("test"))
    options = ("--numprocesses=", "--dist=", "--no-loadscope-reorder")
    assert all(word.startswith(options) for word in test.split())


def test_make_runs_what_the_page_of_contributing_says() -> None:
    assert '-m "not slow and not nightly"' in made("test-fast")
    programs = [Path(line.split()[0]).name for line in made("lint").splitlines()]
    assert programs[-4:] == ["ruff", "ruff", "mypy", "lint-imports"]
    assert "ruff check --fix" in made("format")


def made(target: str) -> str:
    """The commands that make would run."""
    command = ["make", "--dry-run", "--no-print-directory", target]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_study_of_the_page_is_one(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(first_yaml("docs/studies.md"))
    searches = StudyConfig.load(tmp_path / "study.yaml").searches()
    assert len(searches) == 4 * 2 * 2 * 3  # methods, data sets, fractions, seeds


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, one_ray: None) -> Iterator[Path]:
    """A working folder with the files that the pages name."""
    made = tmp_path_factory.mktemp("readme")
    config = first_yaml("docs/quick-start.md")
    assert yaml.safe_load(config)["data"]["root"] == "./photos"
    (made / "config.yaml").write_text(config)
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (made / "photos" / label).mkdir(parents=True)
        for number in range(60):
            pixels = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(made / "photos" / label / f"{number}.png")
    shutil.copytree(made / "photos", made / "new")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        yield made


@pytest.mark.parametrize("command", HERE)
def test_a_command_does_what_it_says(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *words = shlex.split(command)
    assert program == "revo-ray"
    changes = [word for override in HERE[command] for word in ("--set", override)]
    monkeypatch.setattr(sys, "argv", [program, *words, *changes])
    with pytest.raises(SystemExit) as end:
        main()
    shown = capsys.readouterr()
    assert end.value.code == 0, shown.out + shown.err
    left = {
        "revo-ray report revo_results/photos": "revo_results/photos/report/index.html",
        "revo-ray search": "revo_results/quickstart/result.json",
        "revo-ray search config.yaml --resume": "revo_results/digits-resnet/best/plan.json",
        "revo-ray report revo_results/quick": "revo_results/quick/report/index.html",
        "revo-ray export revo_results/photos --to safetensors --out model": "model/README.md",
    }
    assert (folder / left.get(command, ".")).exists()
