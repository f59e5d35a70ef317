"""The ledger: whole rows or none, final once written, and readable by others."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from revo_ray.errors import UserError
from revo_ray.rundir.evaluation import SCHEMA, EpochMetrics, Evaluation
from revo_ray.rundir.ledger import Ledger
from revo_ray.storage import Storage


def row(number: int, status: str = "ok", loss: float | None = 1.0) -> Evaluation:
    return Evaluation(
        evaluation=number,
        generation=number // 10,
        sample={"a": 0.1 + number, "b": 1},
        genome=[0.1 + number, 1.0],
        unit_lrs=[0.1, 0.0],
        plan={"weight_decay": 0.0},
        status=status,  # type: ignore[arg-type]
        val_loss=loss,
        curve=[EpochMetrics(epoch=1, train_loss=2.0, images=5, seconds=0.1)],
    )


def test_rows_come_back_equal_and_in_proposal_order(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    ledger = Ledger(storage)
    for number in (3, 0, 2):
        ledger.append(row(number))
    again = Ledger.load(storage)
    assert [r.evaluation for r in again] == [0, 2, 3]
    assert list(again) == list(ledger)
    assert sorted(p.name for p in (tmp_path / "ledger").iterdir()) == [
        "000000.json",
        "000002.json",
        "000003.json",
    ]


def test_a_row_is_final(tmp_path: Path) -> None:
    ledger = Ledger(Storage(str(tmp_path)))
    ledger.append(row(0))
    with pytest.raises(ValueError, match="has a row already"):
        ledger.append(row(0, loss=0.5))


def test_no_row_holds_what_json_cannot(tmp_path: Path) -> None:
    ledger = Ledger(Storage(str(tmp_path)))
    with pytest.raises(ValueError, match="JSON"):
        ledger.append(row(0, loss=math.nan))
    assert len(ledger) == 0
    assert list(tmp_path.rglob("*.json")) == []


def test_the_best_row_has_weights_and_ties_go_to_the_earlier(tmp_path: Path) -> None:
    ledger = Ledger(Storage(str(tmp_path)))
    assert ledger.best is None
    for number, (status, loss) in enumerate(
        [("diverged", None), ("error", None), ("cached", 0.1), ("stopped", 0.05)]
    ):
        ledger.append(row(number, status, loss))
    assert ledger.best is None
    for number in (6, 4, 5):
        ledger.append(row(number, loss=0.5))
    assert ledger.best is not None
    assert ledger.best.evaluation == 4
    ledger.remove([4])
    assert ledger.best.evaluation == 5
    assert Ledger.load(Storage(str(tmp_path))).best == ledger.best


def test_errors_in_a_row_are_counted_in_proposal_order(tmp_path: Path) -> None:
    ledger = Ledger(Storage(str(tmp_path)))
    for number, status in {0: "error", 3: "error", 1: "ok", 5: "error", 4: "error"}.items():
        ledger.append(row(number, status, None))
    assert ledger.errors_around(4) == [3, 4, 5]
    assert ledger.errors_around(0) == [0]
    assert ledger.errors_around(1) == []
    assert ledger.errors_around(9) == []


@pytest.mark.parametrize("text", ["", "{", "\x00\xff", "\x00" * 400])
def test_a_torn_row_is_no_row(tmp_path: Path, text: str) -> None:
    storage = Storage(str(tmp_path))
    ledger = Ledger(storage)
    ledger.append(row(0))
    ledger.append(row(1))
    (tmp_path / "ledger" / "000000.json").write_bytes(text.encode("latin1"))
    again = Ledger.load(storage)
    assert [r.evaluation for r in again] == [1]
    assert again.torn == ["ledger/000000.json"]
    again.set_torn_aside()
    assert Ledger.load(storage).torn == []
    again.append(row(0))
    assert list(Ledger.load(storage)) == list(ledger)


@pytest.mark.parametrize("text", ["[]", "null", '{"evaluation": 0}', None])
def test_an_edited_row_is_named(tmp_path: Path, text: str | None) -> None:
    storage = Storage(str(tmp_path))
    Ledger(storage).append(row(0))
    path = tmp_path / "ledger" / "000000.json"
    path.write_text(path.read_text().replace("1.0", "0.5") if text is None else text)
    with pytest.raises(UserError, match=r"000000\.json is not as it was written"):
        Ledger.load(storage)


def test_a_row_under_anothers_name_is_refused(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    Ledger(storage).append(row(0))
    (tmp_path / "ledger" / "000000.json").rename(tmp_path / "ledger" / "000001.json")
    with pytest.raises(UserError, match="holds evaluation 0"):
        Ledger.load(storage)


def test_parquet_holds_the_same_rows(tmp_path: Path) -> None:
    ledger = Ledger(Storage(str(tmp_path)))
    for number in range(3):
        ledger.append(row(number))
    ledger.write_parquet()
    table = pq.read_table(tmp_path / "ledger.parquet").to_pylist()
    for got, want in zip(table, ledger, strict=True):
        values = want.model_dump(mode="json")
        assert json.loads(got["sample"]) == values["sample"]
        assert got["unit_lrs"] == values["unit_lrs"]
        assert got["curve"][0]["train_loss"] == 2.0
        assert set(got) == set(values)
    assert pq.read_schema(tmp_path / "ledger.parquet").equals(SCHEMA)  # also columns without values


def test_a_write_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(str(tmp_path))
    storage.write("a/b.json", b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        storage.write("a/b.json", b"new")
    assert storage.read("a/b.json") == b"old"
    assert storage.list("a") == ["b.json"]


def test_storage_opens_paths_and_uris_alike(tmp_path: Path) -> None:
    Storage(tmp_path.as_uri()).child("run").write("x", b"1")
    assert Storage(str(tmp_path)).child("run").read("x") == b"1"
    assert Storage(str(tmp_path)).child("run").local == tmp_path / "run"
    assert Storage(str(tmp_path)).list("nowhere") == []
    with pytest.raises(UserError, match="cannot open"):
        Storage("nosuchscheme://bucket")
