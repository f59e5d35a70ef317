"""Every program runs with its smallest setting, and prints its line.

They run in this process, which has imported torch and Ray. A search that a program would start as a
process of its own is driven by hand (`by_hand`). `test_whole_programs.py` has the rest.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from queue import Queue
from statistics import stdev
from threading import Event, Semaphore
from typing import Any

import pytest
import ray
import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from PIL.JpegImagePlugin import JpegImageFile
from psutil import Process
from safetensors.torch import load_file
from scipy.stats import t

from benchmarks import (
    ablations,
    baselines,
    batch_norm,
    cells,
    cluster_scale,
    gpu,
    gpu_parts,
    overhead,
    preparation,
    recipe,
    scale,
    soak,
    study,
    takeaway,
    variants,
    versions,
    warm_start,
)
from benchmarks.page import tables
from benchmarks.runs import ROOT, Clocked, revo_ray, rows_of
from revo_ray.finetune.network.backbone import load_backbone
from revo_ray.settings.schema import SearchConfig
from revo_ray.settings.study import StudyConfig
from tests.data.layouts import fashion_mnist_files, unpacked
from tests.model.export.runs import run_by_hand, search

NETWORK = ("model.name=timm/test_byobnet", "model.weights=none", "data.image_size=16")
SMALL_PREPARATION = (
    *("--images", "36", "--parts", "1", "--size", "16"),
    *("--hashes", "200", "--small", "30"),
)
SETTINGS = "metric, mode and search space"
TINY = (*NETWORK, "data.max_images=400", "train.epochs=1")
ARGUMENTS = {
    "conformance": ("--searchers", "CMAMVSearch", "OptunaSearch", "--groups", SETTINGS),
    "head": ("--model", "timm/test_byobnet", "--epochs", "2", "--turns", "1"),
    "ledger": ("--evaluations", "20"),
    "models": ("--families", "torchvision/squeezenet"),
    "memory": ("--model", "timm/test_byobnet", "--evaluations", "11", "--epochs", "1"),
    "optimisers": ("--skip", "tune", "tpe", "--proposals-seeds", "1", "--evaluations", "20"),
    "searcher": ("--evaluations", "30", "--compared", "30", "--genes", "4", "--sizes", "8"),
    "set_encoding": ("--seeds", "1", "--evaluations", "20"),
    "step": ("--model", "timm/test_byobnet", "--turns", "1", "--batch", "2"),
    "throughput": ("--evaluations", "10", "--concurrent", "2", "--repeats", "1"),
    "utilisation": ("--workers", "2", "--generations", "2", "--repeats", "1"),
}

Printed = Callable[..., str]


def by_hand(command: Sequence[str], **environment: str) -> Clocked:
    """Run the search, or the searches of the study, of a `revo-ray` command line; without Ray."""
    began = time.time()
    verb, *words = command[3:]
    for config in searches_of(verb, words):
        run_by_hand(config)
    return Clocked(began, time.time() - began, 1.0, "")


def searches_of(verb: str, words: list[str]) -> list[SearchConfig]:
    settings = [each for flag, each in pairwise(words) if flag == "--set"]
    preset = None if words[0] == "--set" else words[0]
    if verb == "search":
        return [SearchConfig.load(preset, settings)]
    return StudyConfig.load(preset, settings).searches()


def last_line(output: str) -> Any:
    return json.loads(output.strip().splitlines()[-1])


def test_every_program_has_a_smoke_test() -> None:
    programs = {
        path.stem
        for path in Path(overhead.__file__).parent.glob("*.py")
        if "\ndef main()" in path.read_text()
    } - {"page", "stale"}  # they measure nothing: tests/docs/test_results.py
    own = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert programs <= own | ARGUMENTS.keys() | {"noise"}  # in test_noise.py


@pytest.mark.parametrize(
    "program", sorted(ARGUMENTS.keys() - {"conformance", "head", "throughput"})
)
def test_it_prints_its_line(printed: Printed, program: str) -> None:
    line = last_line(printed(program, *ARGUMENTS[program]))
    assert line["benchmark"] == program
    assert len(line) > 3


def test_conformance(printed: Printed) -> None:
    """Each failure has its reason, and the page a table of both."""
    line = last_line(printed("conformance", *ARGUMENTS["conformance"]))
    rows = line["checks"]
    assert {row["subject"] for row in rows} == {SETTINGS}
    failed = [row["check"] for row in rows if row["OptunaSearch"] != "passes"]
    assert [row["check"] for row in line["why"] if row["searcher"] == "OptunaSearch"] == failed
    assert "an unknown mode is refused" in failed
    for searcher, counts in line["searchers"].items():
        assert sum(counts.values()) == len(rows), searcher
        assert counts["unexplained"] == 0
    assert sum("| an unknown mode is refused |" in table for table in tables(line)) == 2


def test_head(printed: Printed) -> None:
    """Both ways are the same training of a linear model, which does not multiply rounding."""
    line = last_line(printed("head", *ARGUMENTS["head"]))
    assert line["losses"][0] == pytest.approx(line["losses"][1], rel=1e-3)


@pytest.mark.nightly
def test_throughput(printed: Printed) -> None:
    line = last_line(printed("throughput", *ARGUMENTS["throughput"], "--programs", "search"))
    figures = line["concurrent_2"]["search"]
    # The rate is that of 8 of the 10, and all of them are in the whole.
    assert 8 / figures["per_second"] < figures["seconds"]
    assert figures["driver_ms"] > 0.3  # nobody hands work to a process for less


def test_batch_norm(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(batch_norm.DATA, "digits", list(TINY))
    line = last_line(printed("batch_norm", "--data", "digits", "--seeds", "1", "--rates", "0.003"))
    assert line["digits at 0.003"].keys() == {"running", "precise"}
    assert line["precise_is_better"] in ("0 of 1", "1 of 1")


@pytest.mark.nightly
def test_last_batch(printed: Printed) -> None:
    """As a batch of their own two images hurt a training by SGD; they do not if they share."""
    words = ("--cells", "A", "--left", "2", "--seeds", "2", "--weights", "none")
    found = last_line(printed("last_batch", *words))["images"]["digits"]
    assert found.keys() == {"adamw, 2 left", "sgd, 2 left"}
    for own in found.values():
        assert own["gain"]["mean"] == pytest.approx(own["shared"] - own["cut"], abs=0.006)
    assert found["sgd, 2 left"]["cut"] < 45 < found["sgd, 2 left"]["shared"]


@pytest.mark.parametrize("part", sorted(set(gpu.LIMITS) - {"processes"}))
def test_gpu(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part, in this process."""
    tiny = replace(gpu_parts.sizes("cpu"), networks=("timm/test_resnet",), images=8)
    line: dict[str, Any] = {}
    for figure in gpu_parts.PARTS[part](tiny, "cpu"):
        gpu.merge(line, figure)
    numbers = [value for value in values(line) if not isinstance(value, str)]
    assert numbers
    assert all(numbers)
    skipped = [value for value in values(line) if isinstance(value, str)]
    assert set(skipped) <= {"skipped: needs a CUDA device"}


def values(line: dict[str, Any]) -> Iterator[Any]:
    for value in line.values():
        yield from values(value) if isinstance(value, dict) else [value]


def test_gpu_a_worker_beside_others() -> None:
    """The work of such a process is done in this one."""
    ready, go, ended = Semaphore(0), Event(), Queue[float]()
    go.set()
    began = time.perf_counter()
    gpu_parts.worker(replace(gpu_parts.sizes("cpu"), images=8), "cpu", ready, go, ended, repeats=1)
    assert ready.acquire(blocking=False)
    assert ended.get_nowait() > began


def test_gpu_a_part_that_fails_or_hangs_is_a_line_and_leaves_nothing() -> None:
    script = """
import json, os, subprocess, sys, types

def fails(*_):
    yield {"a": {"b": 1}}
    yield {"a": {"c": 2}}
    raise ValueError("no\\nmore")

def hangs(*_):
    sleeper = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
    yield {"started": sleeper.pid}
    sleeper.wait()

def dies(*_):
    os._exit(7)
    yield

torch = types.SimpleNamespace(set_num_threads=int)
parts = {part.__name__: part for part in (fails, hangs, dies)}
own = types.SimpleNamespace(PARTS=parts, sizes=str, torch=torch)
sys.modules["benchmarks.gpu_parts"] = own
from benchmarks import gpu

for part, limit in (("fails", 60), ("hangs", 3), ("dies", 60)):
    print(json.dumps(gpu.run(part, "cpu", limit)))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    failed, hung, died = map(json.loads, done.stdout.splitlines())
    assert failed["a"] == {"b": 1, "c": 2}
    assert failed["error"] == "ValueError: no more"
    assert hung["error"] == "stopped after its 3 s"
    state = Path(f"/proc/{hung['started']}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"
    assert died["error"] == "the process ended with 7"


def test_gpu_names_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "NEEDS", ("torch", "nothing_of_this_name", "nor_this"))
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu"])
    with pytest.raises(SystemExit, match="needs nothing_of_this_name, nor_this, not installed"):
        gpu.main()


@pytest.mark.nightly
def test_gpu_needs_no_package_beside_those_it_names() -> None:
    """A machine that is lent for an hour has torch and little else."""
    script = """
import sys
others = "ray scipy sklearn imagehash cmaes typer rich tensorboardX psutil hyperopt optuna"
sys.modules |= dict.fromkeys(others.split())  # as if they were not installed
import benchmarks.gpu, benchmarks.gpu_parts
size = benchmarks.gpu_parts.sizes("cpu")
tuner = benchmarks.gpu_parts.make_tuner(size, "cpu")
assert benchmarks.gpu_parts.evaluate(tuner, "cpu") > 0
print(len(tuner.units))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 3


@pytest.mark.nightly
def test_gpu_without_a_gpu_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu"],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.nightly
def test_preparation(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "alone", lambda function, *arguments: function(*arguments))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    monkeypatch.setattr(JpegImageFile, "draft", JpegImageFile.draft)  # which `prepare` replaces
    line = last_line(printed("preparation", *SMALL_PREPARATION))
    assert line["seconds"].keys() == {"loop", "loop_reduced", "table", "table_unreduced"}
    assert 30 < line["kilobytes"] < 300
    assert line["batch_over_step"] > 0
    assert (line["reads_a_file"], line["resumed_reads"]) == (1, 0.5)
    assert line["near_duplicates_pairs"][1] >= 10 * line["near_duplicates_pairs"][0]
    assert line["small_peak_ratio"] >= 1


def test_pretrain(printed: Printed, tmp_path: Path) -> None:
    """Its weights are always the same, and `model.weights` takes them."""
    root = unpacked(fashion_mnist_files(train=300, test=40), tmp_path / "fashion")
    arguments = ("--epochs", "1", "--root", str(root))
    line = last_line(printed("pretrain", str(tmp_path), *arguments))
    assert line["test_images"] == 40
    backbone = load_backbone("timm/test_byobnet", line["weights"], 10, seed=0, image_size=16)
    ours = backbone.model.state_dict()
    trained = load_file(line["weights"])
    same = {name for name in ours if torch.equal(ours[name], trained[name])}
    assert set(ours) - same == {"head.fc.weight", "head.fc.bias"}  # the head is new
    again = last_line(printed("pretrain", str(tmp_path / "again"), *arguments))
    assert all(torch.equal(trained[k], v) for k, v in load_file(again["weights"]).items())


@pytest.mark.nightly
def test_cluster_scale(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    """More workers than the driver can serve are idle, and a far store serves fewer of them."""
    monkeypatch.setattr(cluster_scale, "record_times", lambda *arguments: [0.5, 1.0, 1.5])
    words = ("--workers", "2", "12", "--means", "0.2", "--least", "20", "--each", "4")
    line = last_line(printed("cluster_scale", *words, "--ray-ms", "50", "--slow-ms", "200"))
    few, many = line["rows"]["mean_0.2_s"].values()
    assert few["busy"] > many["busy"] > line["slow_rows"]["mean_0.2_s"]["12"]["busy"]
    assert many["rows_per_second"] < 20  # 50 ms each
    assert 0 < many["own_share"] < many["driver_share"] <= 1
    settings = line["settings_at_most_workers"].values()
    assert all(0 < choice["busy"] <= 1 for choice in settings)


@pytest.mark.nightly
def test_soak(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of a search's tenths; its processes are this one."""

    def search(folder: Path, evaluations: int, workers: int, settings: Sequence[str]) -> Any:
        looks = [soak.look(Process())]
        by_hand(
            revo_ray(
                "search", "name=soak", f"storage={folder}", f"search.evaluations={evaluations}"
            )
            + [word for each in TINY for word in ("--set", each)]
        )
        return [*looks, soak.look(Process())]

    monkeypatch.setattr(soak, "search", search)
    line = last_line(printed("soak", "--evaluations", "10"))
    assert line["tenths"].keys() == {str(number) for number in range(1, 11)}
    assert all(tenth["driver_mb"] > 10 for tenth in line["tenths"].values())
    assert sum(line["statuses"].values()) == 10
    assert line["last_over_first"] > 0


@pytest.mark.nightly
def test_a_real_search_grows_by_little(printed: Printed) -> None:
    """Without what is freed when a trial ends, the driver takes some 50 KB for each."""
    line = last_line(printed("soak", "--evaluations", "600"))
    assert line["driver_mb_grew"] < 15
    assert line["driver_files_grew"] <= 2


@pytest.mark.nightly
def test_study(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "clocked", by_hand)
    tiny = (*TINY, "search.population=4", "resources.max_concurrent=1")
    line = last_line(printed("study", "--evaluations", "2", "--workers", "1", "--set", *tiny))
    assert line["searches"] == 4
    assert 0 < line["busy"]["steady"] <= line["busy"]["held"] <= 1


@pytest.mark.nightly
def test_ablations(printed: Printed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A choice is compared with the defaults; what does not run there is compared with `revo`."""
    monkeypatch.setattr(cells, "clocked", by_hand)
    chosen, ways = ablations.CHOICES["paper"]
    few = {way: ways[way] for way in ("full", "paper-continuous")}
    monkeypatch.setitem(ablations.CHOICES, "paper", (chosen, few))
    words = ("--only", "defaults", "paper", "--weights", "none", "--seeds", "3", "4")
    tiny = ("--runs", str(tmp_path), "--set", "search.evaluations=2", *TINY)
    line = last_line(printed("ablations", *words, *tiny))
    assert line["choices"].keys() == {"defaults", "paper"}
    usual, paper = (line["choices"][choice] for choice in ("defaults", "paper"))
    assert line["differences"].keys() == {"paper"}
    for way, beside in (("full", "full"), ("paper-continuous", "revo")):
        pairs = zip(paper[way]["accuracy"], usual[beside]["accuracy"], strict=True)
        gain = sum(a - b for a, b in pairs) / 2
        assert line["differences"]["paper"][way]["mean"] == pytest.approx(gain, abs=0.006)
        assert paper[way]["mean_loss"] > 0


@pytest.mark.nightly
def test_baselines(printed: Printed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same code again changes nothing; a change has Student's interval."""
    monkeypatch.setattr(baselines, "clocked", by_hand)
    before, words = tmp_path / "before.json", ("--cells", "digits", "--methods", "first", "last")
    tiny = ("--weights", "none", "--seeds", "3", "4", "--set", "search.evaluations=1", *TINY)
    runs = [("--runs", str(tmp_path / name)) for name in ("before", "after")]
    first = last_line(printed("baselines", *words, *runs[0], "--out", str(before), *tiny))
    again = last_line(printed("baselines", *words, *runs[1], "--before", str(before), *tiny))
    assert again["scores"] == first["scores"]
    assert all(len(of["accuracy"]) == 2 for of in first["scores"]["digits"].values())
    equal = {"accuracy": 0, "accuracy_low": None, "accuracy_high": None}
    assert [of.items() >= equal.items() for of in again["change"]["all"].values()] == [True, True]
    gains = [1.0, 3.0, 8.0]
    expected = t.interval(0.95, 2, loc=4, scale=stdev(gains) / 3**0.5)
    assert baselines.interval(gains) == pytest.approx(expected, abs=0.005)


@pytest.mark.nightly
def test_scale(printed: Printed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another record's ways stand beside those that were run, and ours is compared with them."""
    monkeypatch.setattr(scale, "clocked", by_hand)
    before, words = tmp_path / "before.json", ("--cells", "digits", "--weights", "none")
    tiny = ("--seeds", "3", "4", "--set", "search.evaluations=2", *TINY)
    runs = [("--runs", str(tmp_path / name)) for name in ("before", "after")]
    ways = ("--ways", "hand-set", "full")
    printed("scale", *words, *ways, *runs[0], "--out", str(before), *tiny)
    command = ("--ways", "wide", *runs[1], "--before", str(before))
    line = last_line(printed("scale", *words, *command, *tiny))
    found = line["cells"]["digits"]
    assert list(found) == ["wide", "hand-set", "full"]
    assert found["wide"]["loss_100"] == found["hand-set"]["loss_100"]  # here it is the same search
    equal, other = line["differences"]["all"].values()
    assert equal == {"mean": 0, "low": None, "high": None}
    pairs = zip(found["wide"]["accuracy"], found["full"]["accuracy"], strict=True)
    assert other["mean"] == pytest.approx(sum(a - b for a, b in pairs) / 2, abs=1e-3)


@pytest.mark.nightly
def test_cells(printed: Printed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two ways are compared by seed; records of two cells give their mean; costs are kept."""
    monkeypatch.setattr(cells, "clocked", by_hand)
    monkeypatch.setitem(cells.GROUPS, "main", ["full", "revo"])
    monkeypatch.setattr(cells, "COUNTS", (1, 5))
    tiny = ("--set", "search.evaluations=5", "search.population=4", *TINY)
    files = [tmp_path / f"{cell}.json" for cell in "AB"]
    lines = {}
    for cell, file in zip("AB", files, strict=True):
        words = (cell, "--weights", "none", "--seeds", "3", "4", "5", "--runs", str(tmp_path))
        lines[cell] = last_line(printed("cells", *words, "--out", str(file), *tiny))
        found, differs = lines[cell]["cells"][cell], lines[cell]["differences"][cell]["full"]
        pairs = zip(found["revo"]["accuracy"], found["full"]["accuracy"], strict=True)
        gains = [ours - theirs for ours, theirs in pairs]
        assert differs["mean"] == pytest.approx(sum(gains) / 3, abs=0.006)
        costs, leads = lines[cell]["cost"][cell], lines[cell]["ahead"][cell]["full"]
        assert costs["revo"]["after_5"] == pytest.approx(found["revo"]["accuracy"], abs=1e-3)
        assert costs["full"].keys() - costs["revo"].keys() == {"usual_rate", "mean_usual_rate"}
        assert leads["after_5"]["mean"] == differs["mean"]
        assert found["revo"]["mean_ensemble"] > 0
        refits = lines[cell]["refits"]["differences"][cell]["full"]
        changes = found["revo"]["mean_refit"] - found["full"]["mean_refit"]
        assert refits["mean"] == pytest.approx(changes, abs=0.01)
        other = lines[cell]["one_rate"]["differences"][cell]["revo"]
        assert other["mean"] == pytest.approx(-differs["mean"], abs=0.01)
    monkeypatch.setattr(cells, "clocked", lambda command: None)
    monkeypatch.setattr(cells, "train_again", None)
    again = last_line(printed("cells", *words, *tiny))
    assert (again["cost"], again["cells"]) == (lines["B"]["cost"], lines["B"]["cells"])
    with pytest.raises(SystemExit, match="seed 9 is not finished"):
        printed("cells", *[word if word != "5" else "9" for word in words], *tiny)
    joined = last_line(printed("cells", "--together", *map(str, files)))
    assert joined["differences"] == lines["A"]["differences"] | lines["B"]["differences"]
    means = [lines[cell]["differences"][cell]["full"]["mean"] for cell in "AB"]
    assert joined["together"]["full"]["mean"] == pytest.approx(sum(means) / 2, abs=0.01)
    assert joined["together"]["full"]["pairs"] == 6
    assert joined["images"] == {"digits": joined["together"]}
    best = [lines[cell]["ensembles"]["differences"][cell]["full"]["mean"] for cell in "AB"]
    assert joined["ensembles"]["together"]["full"]["mean"] == pytest.approx(sum(best) / 2, abs=0.01)


@pytest.mark.nightly
def test_takeaway(printed: Printed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every form stands beside the others, and what is finished is not trained again."""
    monkeypatch.setattr(scale, "clocked", by_hand)
    words = ("--cells", "digits", "--weights", "none", "--methods", "full", "revo-continuous")
    tiny = ("--set", "search.evaluations=5", "search.population=4", *TINY)
    command = ("takeaway", *words, "--seeds", "3", "4", "--runs", str(tmp_path), *tiny)
    line = last_line(printed(*command))
    test, optimism, cost = (line[key]["digits"] for key in ("test", "optimism", "cost"))
    assert test["full"].keys() >= {"best", "ensemble", "best refit"}
    ours = test["revo-continuous"]
    assert ours.keys() >= {"best", "ensemble", "plain", "best refit", "plain refit"}
    for method in ("full", "revo-continuous"):
        best, ensemble = (optimism[method][form] for form in ("best", "ensemble"))
        assert ensemble["validation_loss"] <= best["validation_loss"]
        assert cost[method]["ensemble"]["models"] >= cost[method]["best"]["models"] == 1
        assert cost[method]["best"]["over_best"] == 1
    gained = line["differences"]["all"]["revo-continuous"]["ensemble less best"]["accuracy"]
    means = ours["ensemble"]["mean_accuracy"], ours["best"]["mean_accuracy"]
    assert gained == pytest.approx(means[0] - means[1], abs=1e-3)
    gained = line["refit"]["digits"]["revo-continuous"]["best"]["gained_auc"]
    assert gained == pytest.approx(ours["best refit"]["mean_auc"] - ours["best"]["mean_auc"], 1e-3)
    monkeypatch.setattr(scale, "clocked", lambda command: None)
    monkeypatch.setattr(takeaway, "train_plan", None)
    again = last_line(printed(*command))
    assert all(again[key] == line[key] for key in line.keys() - {"cost", "record"})


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_variants(printed: Printed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every kind of proposals goes through its generations; no change makes no difference."""
    train = {"train": {"epochs": 4, "batch_norm": "running"}}
    tiny = scale.CELLS["digits"] | train | {"data": {"image_size": 16, "max_images": 200}}
    monkeypatch.setitem(variants.CELLS, "digits", tiny)
    monkeypatch.setattr(variants, "AFTER", (5, 15))
    monkeypatch.setitem(variants.VARIANTS, "same", {})
    chosen = ("default", "same", "finer", "mean-first", "surrogate", "racing", "second-look")
    words = ("--weights", "none", "--seeds", "0", "--evaluations", "21", "--variants", *chosen)
    line = last_line(printed("variants", str(tmp_path), *words))
    assert {name for name in chosen if name in line} == set(chosen)
    assert line["same"]["loss_15_difference"] == {"mean": 0, "low": None, "high": None}
    rows = json.loads((tmp_path / "digits-racing-0.json").read_text())["rows"]
    assert [row["cost"] for row in rows[:10]].count(0.75) == 5
    assert sum(row["cost"] for row in rows) >= 21


@pytest.mark.parametrize("choice", ablations.CHOICES)
def test_every_ablation_is_a_study(
    choice: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found: list[SearchConfig] = []
    monkeypatch.setattr(
        cells, "clocked", lambda command: found.extend(searches_of(command[3], command[4:]))
    )
    monkeypatch.setattr(cells, "load", lambda folder: [])
    own, ways = ablations.CHOICES[choice]
    for way, method in ways.items():
        values = cells.merged(cells.settings_of("A"), own, method)
        with pytest.raises(SystemExit, match="seed 0 is not finished"):
            cells.searched(f"{choice}-{way}", values, way, [0, 1], tmp_path, [])
    assert len(found) == 2 * len(ways)
    assert {config.search.evaluations for config in found} == {100}


@pytest.mark.nightly
def test_recipe(printed: Printed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recipe, "clocked", by_hand)
    tiny = (*TINY, "data.max_images=200", "search.evaluations=1")
    line = last_line(
        printed("recipe", "--seeds", "0", "1", "--runs", str(tmp_path), "--set", *tiny)
    )
    assert line["rates"].keys() == {"validation_loss", "test_loss", "test_accuracy"}
    losses = [line[way]["validation_loss"] for way in ("rates", "weight_decay", "recipe")]
    assert len(set(losses)) == 3
    for way, loss in zip(("weight_decay", "recipe"), losses[1:], strict=True):
        found = line[way]["validation_loss_difference"]
        assert found["mean"] == pytest.approx(loss - losses[0], abs=2e-4)
        low, high = found["interval"]
        assert low < found["mean"] < high


@pytest.mark.nightly
def test_warm_start(printed: Printed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Six searches: on each seed a first one, one that begins cold and one that begins with it."""
    monkeypatch.setattr(warm_start, "clocked", by_hand)
    tiny = (*TINY, "data.max_images=200", "data.source=digits", "search.population=4")
    counts = ("--source-evaluations", "5", "--evaluations", "2", "--seeds", "0", "1")
    line = last_line(printed("warm_start", *counts, "--runs", str(tmp_path), "--set", *tiny))
    for name, gain in line["differences"].items():
        gains = [b - a for a, b in zip(line["cold"][name], line["warm"][name], strict=True)]
        assert gain["mean"] == pytest.approx(sum(gains) / 2, abs=1e-3)
    assert any(gain["mean"] for gain in line["differences"].values())


@pytest.mark.nightly
def test_overhead(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain process is a real one; its figures stand for all three."""
    once: list[dict[str, Any]] = []
    whole = overhead.plain

    def plain(run: Path, rows: list[Any], *ways: Any) -> dict[str, Any]:
        if not once:
            once.append(whole(run, rows, 1))
        return once[0]

    monkeypatch.setattr(overhead, "clocked", by_hand)
    monkeypatch.setattr(overhead, "plain", plain)
    line = last_line(
        printed("overhead", "--smoke", "--parts", "floor", "--workers", "1", "--set", *NETWORK)
    )
    floor = line["floor"]
    phases = sum(floor["search"][phase] for phase in ("start", "steady", "end"))
    assert phases == pytest.approx(floor["search"]["seconds"], abs=0.1)
    assert floor["steady_over_floor"] < floor["whole_over_floor"]
    assert floor["at_once"]["loss_apart"] == 0  # the same bits


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished search of the part `small`."""
    return search(tmp_path, "search", *TINY, "search.evaluations=2", "search.population=4")


def test_plain(printed: Printed, monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("go\n"))
    *_, line = printed("plain", str(run), "0", "1").splitlines()
    found = {each["evaluation"]: each["loss"] for each in json.loads(line)}
    assert found == {row.evaluation: row.val_loss for row in rows_of(run)}  # the same bits


@pytest.mark.nightly
def test_practice(printed: Printed, run: Path) -> None:
    line = last_line(printed("practice", str(run), "1", "1"))
    ray.shutdown()
    assert line["evaluations"] == len(line["ended"]) == 1
    assert 0 < line["best"] < float("inf")


@pytest.mark.nightly
def test_versions(printed: Printed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="True"):
        printed("versions", "--vary", "python", "--versions", "3.1")
    promises = {
        "durations": ("tests/settings/test_duration.py",),
        "nothing": ("tests/settings/test_no_such.py",),
    }
    monkeypatch.setattr(versions, "PROMISES", promises)
    durations = versions.test(Path(sys.executable), ("durations",), tmp_path / "report.xml")
    assert re.fullmatch(r"kept \([1-9]\d* tests\)", durations["durations"])
    assert versions.kept(durations)
    broken = versions.words_of(Counter(passed=26, failure=1, error=1, skipped=3))
    assert broken == "broken (2 of 28)"
    assert not versions.kept(durations | {"nothing": versions.words_of(Counter())})
    assert not versions.kept({"cannot be installed": "no python3.1 on this machine"})


def test_versions_tries_the_ends_of_what_pyproject_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    allowed = {
        Requirement(each).name: Requirement(each).specifier for each in project["dependencies"]
    }
    for name in ("ray", "torch"):
        low, high = versions.ENDS[name]
        assert f"{low}" in allowed[name]
        assert f"{high}.99" in allowed[name]
        assert f"{Version(low).major}.{Version(low).minor - 1}.99" not in allowed[name]
        assert f"{Version(high).major}.{Version(high).minor + 1}" not in allowed[name]
    python = SpecifierSet(project["requires-python"])
    tried = {versions.BASE.python, *versions.ENDS["python"]}
    assert tried == {f"3.{minor}" for minor in range(9, 20) if f"3.{minor}" in python}
