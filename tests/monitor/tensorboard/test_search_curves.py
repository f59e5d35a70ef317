"""The search as a whole in TensorBoard, as TensorBoard's own reader finds it in the files."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from revo_ray.evolve.space import Space
from revo_ray.monitor.tensorboard import event_files, write_tensorboard
from revo_ray.monitor.tensorboard.search_curves import HISTOGRAMS, has_histograms
from revo_ray.objective import METRICS, MetricName
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.storage import Storage
from tests.monitor.synthetic import EPOCHS, FAILS, UNITS, open_state, run, scores_of
from tests.object_store import object_store
from tests.properties import examples

ALL = {"scalars": 0, "histograms": 0, "tensors": 0}

Made = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def small_files() -> Iterator[None]:
    """Lets a short search fill several files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_files, "FILE_BYTES", 2**14)
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Run directories of searches with one worker, by their settings."""
    made: dict[tuple[str, ...], Path] = {}

    def search(*overrides: str) -> Path:
        if overrides not in made:
            made[overrides] = tmp_path_factory.mktemp("run")
            run(open_state(Storage(str(made[overrides])), *overrides))
        return made[overrides]

    return search


def read(folder: Path, name: str = "") -> EventAccumulator:
    return EventAccumulator(str(folder / "tensorboard" / name), size_guidance=ALL).Reload()


def contents(folder: Path) -> dict[str, bytes]:
    """Everything that TensorBoard would open."""
    found = sorted((folder / "tensorboard").rglob("*"))
    return {str(f.relative_to(folder)): f.read_bytes() for f in found if f.is_file()}


def test_every_series_has_a_point_for_each_evaluation(undisturbed: Made) -> None:
    folder = undisturbed()
    rows = list(RunDirectory(str(folder)).ledger())
    assert {row.status for row in rows} == {"ok", "diverged"}
    whole = read(folder)
    best, spent = math.inf, Counter({"evaluations": 0, "epochs": 0, "device_seconds": 0.0})
    expected: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        spent += Counter(evaluations=1, epochs=row.epochs, device_seconds=row.seconds)
        best = min(best, row.val_loss or math.inf)
        failures = sum(number <= row.evaluation for number in FAILS)
        frozen = row.unit_lrs.count(0) / len(UNITS)
        for tag, step, value in [
            *(
                (f"best/{metric}_by_{cost}", math.ceil(s), value)
                for cost, s in spent.items()
                for metric, value in asdict(scores_of(best)).items()
            ),
            ("evaluations/failures_so_far", row.evaluation + 1, failures),
            ("evaluations/frozen_fraction", row.evaluation + 1, frozen),
        ]:
            expected.setdefault(tag, []).append((step, pytest.approx(value)))
    for tag, points in expected.items():
        assert [(point.step, point.value) for point in whole.Scalars(tag)] == points
    for name, metric in METRICS.items():
        shown = {point.step - 1: point.value for point in whole.Scalars(f"evaluations/{name}")}
        values = {r.evaluation: metric.value(r.scores) for r in rows if r.status == "ok"}
        assert shown == pytest.approx(values)


@pytest.mark.parametrize("sweep", [True, False])
def test_generations_have_their_distribution_and_their_rates(
    undisturbed: Made, sweep: bool
) -> None:
    """A sweep has its rates, and was drawn from no distribution."""
    options = () if sweep else ("method.sweep=false",)
    folder = undisturbed(*options)
    whole = read(folder)
    state = open_state(Storage(str(folder)), *options)
    drawn = range(int(sweep), 3)
    distributions = [state.proposals.distributions[generation] for generation in drawn]
    sigmas = [point["sigma"] for point in distributions]
    assert len(set(sigmas)) > 1
    shown = [(point.step, point.value) for point in whole.Scalars("distribution/sigma")]
    assert shown == [(g, pytest.approx(s)) for g, s in zip(drawn, sigmas, strict=True)]
    for point, found in zip(whole.Scalars("distribution/mean"), distributions, strict=True):
        # The bits of 20 units that may freeze, and the place of the shared rate.
        assert len(found["positions"]) == 21
        assert point.value == pytest.approx(sum(found["positions"].values()) / 21)
    assert [event.step for event in whole.Histograms("distribution/means")] == [*drawn]
    content = whole.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    titles = [category.title for category in layout_pb2.Layout.FromString(content).category]
    assert ("The search distribution, by generation, after the sweep (0)" in titles) == sweep

    rows = list(state.ledger)
    for generation, event in enumerate(whole.Histograms("rates/log10_all_units")):
        rates = [r for row in rows if row.generation == generation for r in row.unit_lrs if r]
        found = event.histogram_value
        assert (event.step, found.num, sum(found.bucket)) == (generation, len(rates), len(rates))
        assert found.sum == pytest.approx(sum(map(math.log10, rates)))
    for index, unit in enumerate(UNITS):
        events = whole.Histograms(f"rates_log10_by_unit/{index:02}_{unit.name}")
        trained = [[row.unit_lrs[index] for row in rows if row.generation == g] for g in range(3)]
        assert [e.histogram_value.num for e in events] == [len(t) - t.count(0) for t in trained]


def test_methods_without_a_distribution_have_none(undisturbed: Made) -> None:
    whole = read(undisturbed("method.name=random", "search.evaluations=25"))
    assert not [tag for tag in whole.Tags()["scalars"] if tag.startswith("distribution")]
    assert len(whole.Scalars("best/loss_by_evaluations")) == 25
    assert [event.step for event in whole.Histograms("rates/log10_all_units")] == [0, 1, 2]


def test_the_table_has_a_line_for_each_evaluation(undisturbed: Made) -> None:
    folder = undisturbed()
    content = read(folder).summary_metadata["_hparams_/experiment"].plugin_data.content
    experiment = plugin_data_pb2.HParamsPluginData.FromString(content).experiment
    columns = {column.name for column in experiment.hparam_infos}
    assert columns == {
        "ended", "generation", "weight decay", "frozen units", "head rate", "mean log10 rate",
        "global_lr",
    }  # fmt: skip
    for row in RunDirectory(str(folder)).ledger():
        run_of_it = read(folder, f"{row.evaluation:06d}")
        content = run_of_it.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        session = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
        assert set(session.hparams) <= columns
        assert session.hparams["ended"].string_value == row.status
        assert session.hparams["frozen units"].number_value == row.unit_lrs.count(0)
        assert session.hparams["head rate"].number_value == row.unit_lrs[-1]
        assert "_hparams_/session_end_info" in run_of_it.summary_metadata
        if row.status == "ok":
            for metric in experiment.metric_infos:
                (point,) = run_of_it.Scalars(metric.name.tag)
                assert point.step == EPOCHS


@pytest.mark.parametrize(("lookahead", "sweep"), [(0, True), (4, True), (4, False), (10, False)])
def test_neither_order_nor_interruptions_leave_a_trace(
    undisturbed: Made, tmp_path: Path, lookahead: int, sweep: bool
) -> None:
    overrides = f"search.lookahead={lookahead}", f"method.sweep={sweep}"
    for rows in (1, 5, 12, 3):
        run(open_state(Storage(str(tmp_path)), *overrides), workers=4, rows=rows)
    run(open_state(Storage(str(tmp_path)), *overrides), workers=7)
    assert contents(tmp_path) == contents(undisturbed(*overrides))


@given(cut=st.integers(0, 2**17), other=st.binary(max_size=8))
@examples(25)
def test_what_was_cut_short_or_damaged_is_mended(undisturbed: Made, cut: int, other: bytes) -> None:
    folder = undisturbed()
    whole = contents(folder)
    names = [name for name in whole if event_files.PREFIX in name]
    assert len(names) > 2
    joined = b"".join(whole[name] for name in names)[:cut]
    for name in names:
        part, joined = joined[: len(whole[name])], joined[len(whole[name]) :]
        (folder / name).write_bytes(part + other)
    (folder / "tensorboard" / f"{event_files.PREFIX}000007").write_bytes(other)
    open_state(Storage(str(folder)))
    assert contents(folder) == whole


def test_a_file_that_is_read_only_ever_grows(tmp_path: Path) -> None:
    state = open_state(Storage(str(tmp_path)))
    run(state, rows=2)
    first = tmp_path / "tensorboard" / f"{event_files.PREFIX}000000"
    with first.open("rb") as reader:
        before = reader.read()
        run(state, rows=2)
        assert os.fstat(reader.fileno()).st_ino == first.stat().st_ino
        assert before + reader.read() == first.read_bytes()
        assert len(first.read_bytes()) > len(before)
    first.unlink()  # somebody tidied up
    run(state, rows=1)
    assert len(read(tmp_path).Scalars("best/loss_by_evaluations")) == 5


@pytest.mark.slow
def test_an_object_store_holds_the_same_bytes(undisturbed: Made, tmp_path: Path) -> None:
    with object_store() as uri:
        for rows in (4, 3, 23):
            run(open_state(Storage(uri("run"))), workers=3, rows=rows)
        storage = Storage(uri("run"))
        expected = contents(undisturbed())
        for name, content in expected.items():
            assert storage.read(name) == content


SCORES = (
    {"val_loss": 0.5, "val_balanced_accuracy": 0.6, "val_auc": 0.7},
    {"val_loss": 0.9, "val_balanced_accuracy": 0.8},
    {"val_loss": 0.4, "val_balanced_accuracy": 0.7, "val_auc": 0.9},
    {"val_loss": 0.8, "val_balanced_accuracy": 0.8},
)
"""Scores of four evaluations; the best is another one by the loss, by balanced accuracy, by AUC."""


@pytest.mark.parametrize(
    ("objective", "best", "failures", "chart"),
    [
        ("loss", [0, 0, 2, 2], 0, "Loss of each, and the best"),
        ("balanced_accuracy", [0, 1, 1, 3], 0, "Balanced accuracy of each, and the best"),
        ("auc", [0, 0, 2, 2], 2, "AUC of each, and the best"),
    ],
)
def test_the_best_so_far_is_the_best_by_the_objective(
    tmp_path: Path, objective: MetricName, best: list[int], failures: int, chart: str
) -> None:
    run_directory = RunDirectory(str(tmp_path))
    ledger = run_directory.ledger(METRICS[objective])
    for number, scores in enumerate(SCORES):
        ledger.append(Evaluation(evaluation=number, sample={}, status="ok", epochs=1, **scores))
    write_tensorboard(
        run_directory, ledger, UNITS, Space({}), population=2, evaluations=4, distributions=[]
    )
    whole = read(tmp_path)
    for name, metric in METRICS.items():
        expected = []
        for step, number in enumerate(best, 1):
            value = metric.value(ledger[number].scores)
            expected += [] if value is None else [(step, pytest.approx(value))]
        tag = f"best/{name}_by_epochs"
        points = whole.Scalars(tag) if tag in whole.Tags()["scalars"] else []
        assert [(point.step, point.value) for point in points] == expected
    assert whole.Scalars("evaluations/failures_so_far")[-1].value == failures
    content = whole.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    categories = layout_pb2.Layout.FromString(content).category
    assert categories[1].chart[0].title == chart
    assert list(categories[1].chart[0].multiline.tag) == [
        f"^evaluations/{objective}$", f"^best/{objective}_by_evaluations$",
    ]  # fmt: skip
    assert f"Validation {METRICS[objective].title} by" in categories[0].chart[0].title


def test_long_searches_have_few_histograms() -> None:
    due = [generation for generation in range(100_000) if has_histograms(generation)]
    assert due[: HISTOGRAMS + 3] == [*range(HISTOGRAMS + 1), HISTOGRAMS + 2, HISTOGRAMS + 4]
    assert len(due) < HISTOGRAMS * (1 + math.log2(100_000 / HISTOGRAMS) / 2) + 1


def test_a_row_that_was_taken_back_leaves_no_curves(tmp_path: Path) -> None:
    """It may come again with other ones, written by a driver that dies before it shows them."""
    storage = Storage(str(tmp_path))
    run(open_state(storage), rows=3)
    curves = tmp_path / "tensorboard" / "000002"
    assert list(curves.iterdir())
    (tmp_path / "ledger" / "000002.json").unlink()
    open_state(storage)
    assert not list(curves.iterdir())
