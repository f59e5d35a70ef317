"""Parquet files: as the library `datasets` writes them, and as others do."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from revo_ray.data.image_records import Source, Topic
from revo_ray.data.sources import read_source
from revo_ray.data.sources.tables import embedded_images
from revo_ray.data.table.threads import in_order, usable_cores
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig
from tests.data.layouts import picture, unpacked

BYTES = [picture(i % 2, i, kind="PNG") for i in range(12)]
PATHS = [f"p{i // 2}/{i}.png" for i in range(12)]
LABELS = [i % 2 for i in range(12)]
STRUCTS = [{"bytes": b, "path": p} for b, p in zip(BYTES, PATHS, strict=True)]


def read(root: object, **keys: object) -> Source:
    config = {"source": "parquet", "root": str(root), **keys}
    return read_source(DataConfig.model_validate(config))


def refusal(root: object, **keys: object) -> tuple[str | None, str]:
    with pytest.raises(UserError) as error:
        read(root, **keys)
    return error.value.key, str(error.value)


def write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
    return path


def pixels(source: Source) -> list[bytes]:
    return [record.picture.open().convert("RGB").tobytes() for record in source.records]


EXPECTED = [Image.open(io.BytesIO(content)).convert("RGB").tobytes() for content in BYTES]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of three splits in the shards and with the names that the Hub has, by `datasets`."""
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    folder = tmp_path_factory.mktemp("hub") / "data"
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["dog", "cat", "newt"])}
    )
    images = [Image.open(io.BytesIO(content)) for content in BYTES]
    for split, part, shards in (
        ("train", slice(0, 6), 2),
        ("validation", slice(6, 9), 1),
        ("test", slice(9, 12), 1),
    ):
        values = {"image": images[part], "label": LABELS[part]}
        written = datasets.Dataset.from_dict(values, features=features)
        for i in range(shards):
            name = folder / f"{split}-{i:05d}-of-{shards:05d}.parquet"
            written.shard(shards, i, contiguous=True).to_parquet(name)
    return folder


SPLITS = ["train"] * 6 + ["validation"] * 3 + ["test"] * 3


def test_a_set_of_the_hub_is_read_with_its_classes_and_splits(hub: Path) -> None:
    for root in (hub, hub.parent, f"file://{hub}", hub / "*.parquet", hub.parent / "*/*.parquet"):
        source = read(root)
        assert source.classes == ("dog", "cat")  # in the set's own order; there is no newt
        by_split = [record.split for record in source.records]
        assert sorted(map(str, by_split)) == sorted(SPLITS)
        order = np.argsort([SPLITS.index(str(split)) for split in by_split], kind="stable")
        assert [pixels(source)[i] for i in order] == EXPECTED
        assert [source.records[i].label for i in order] == [("dog", "cat")[i] for i in LABELS]
        assert len({record.name for record in source.records}) == 12
        assert not source.problems
        assert not source.warnings


def test_parts_of_a_set_of_the_hub(hub: Path) -> None:
    assert [r.split for r in read(hub, splits="drawn").records] == [None] * 12
    source = read(hub / "train-*.parquet")
    assert pixels(source) == EXPECTED[:6]
    source = read(hub / "train-00001-of-00002.parquet")
    assert pixels(source) == EXPECTED[3:6]
    source = read(hub, splits={"train": "test", "test": "train, validation"})
    assert [r.split for r in source.records].count("test") == 9


def test_a_shard_of_no_split_beside_splits_is_an_error(tmp_path: Path) -> None:
    for name in ("train-00000-of-00001", "odd-00000-of-00001"):
        write(tmp_path / f"{name}.parquet", {"image": STRUCTS, "label": LABELS})
    key, line = refusal(tmp_path)
    assert key == "data.splits"
    assert "'odd' in the names of the files" in line
    source = read(tmp_path, splits={"train": "train", "test": "odd"})
    assert [r.split for r in source.records] == ["test"] * 12 + ["train"] * 12


def test_names_of_shards_that_say_nothing_are_no_splits(tmp_path: Path) -> None:
    for i in range(2):
        half = slice(6 * i, 6 * i + 6)
        columns = {"image": STRUCTS[half], "label": LABELS[half]}
        write(tmp_path / f"part-{i}.parquet", columns)
    source = read(tmp_path)
    assert pixels(source) == EXPECTED
    assert {record.split for record in source.records} == {None}


@pytest.mark.parametrize(
    ("columns", "labels"),
    [
        ({"image": STRUCTS, "label": LABELS}, "01"),
        ({"img": BYTES, "labels": ["a", "b"] * 6}, "ab"),
        ({"photo": pa.array(BYTES, pa.large_binary()), "class": [True, False] * 6}, None),
        ({"image": STRUCTS, "label": pa.array(["a", "b"] * 6).dictionary_encode()}, "ab"),
        ({"image": STRUCTS, "label": pandas.Categorical(["a", "b"] * 6)}, "ab"),
        ({"image": STRUCTS, "label": pandas.array([0, 1] * 6, dtype="Int64")}, "01"),
        ({"image": STRUCTS, "label": np.array(LABELS, np.float32)}, "01"),
        ({"image": STRUCTS, "label": np.array(LABELS, np.uint8), "group": LABELS}, "01"),
        ({"image": [{"bytes": b} for b in BYTES], "label": LABELS}, "01"),
    ],
)
def test_images_and_labels_of_any_type(
    columns: dict[str, Any], labels: str | None, tmp_path: Path
) -> None:
    source = read(write(tmp_path / "a.parquet", columns))
    found = [record.label for record in source.records]
    assert found == (list(labels * 6) if labels else ["True", "False"] * 6)
    assert pixels(source) == EXPECTED
    assert not source.problems


def test_missing_labels_and_images_are_problems(tmp_path: Path) -> None:
    labels = pandas.array([None, *LABELS[1:]], dtype="Int64")
    images = [*STRUCTS[:-1], None]
    source = read(write(tmp_path / "a.parquet", {"image": images, "label": labels}))
    assert pixels(source) == EXPECTED[1:-1]
    assert [cause for _, cause in source.problems] == [
        "no label (row 0 of a.parquet)",
        "no path (row 11 of a.parquet)",
    ]


def test_labels_beyond_the_class_names_are_problems(tmp_path: Path) -> None:
    feature = '{"info": {"features": {"label": {"_type": "ClassLabel", "names": ["x", "y"]}}}}'
    table = pa.table({"image": STRUCTS, "label": [*LABELS[:-2], 7, -1]})
    pq.write_table(table.replace_schema_metadata({"huggingface": feature}), tmp_path / "a.parquet")
    source = read(tmp_path / "a.parquet")
    assert source.classes == ("x", "y")
    assert [cause.split(" (")[0] for _, cause in source.problems] == [
        "the label 7, and there are 2 classes",
        "no label",
    ]


def test_images_named_by_path_or_by_uri(tmp_path: Path) -> None:
    unpacked(dict(zip(PATHS, BYTES, strict=True)), tmp_path)
    stems = [path.removesuffix(".png") for path in PATHS]
    uris = [f"file://{tmp_path}/{path}" for path in PATHS]
    for cells, keys in (
        (PATHS, {}),
        (pa.array(PATHS).dictionary_encode(), {}),
        ([{"bytes": None, "path": path} for path in PATHS], {}),
        (uris, {}),
        (stems, {"image_pattern": "{}.png"}),
    ):
        root = write(tmp_path / "a.parquet", {"image": cells, "label": LABELS})
        source = read(root, **keys)
        assert pixels(source) == EXPECTED
        assert not source.problems
    key, line = refusal(root)
    assert key == "data.image_pattern"
    assert "'{}.png' finds 12 of 12" in line


def test_some_images_inside_and_some_named(tmp_path: Path) -> None:
    unpacked(dict(zip(PATHS, BYTES, strict=True)), tmp_path)
    mixed = [v if i % 3 else {"bytes": None, "path": v["path"]} for i, v in enumerate(STRUCTS)]
    source = read(write(tmp_path / "a.parquet", {"image": mixed, "label": LABELS}))
    assert pixels(source) == EXPECTED


def test_groups_and_splits_of_a_parquet_file(tmp_path: Path) -> None:
    columns = {"image": STRUCTS, "label": LABELS, "patient": [i // 4 for i in range(12)]}
    columns |= {"fold": [0.0, 1.0, 2.0] * 4}
    root = write(tmp_path / "a.parquet", columns)
    source = read(
        root,
        columns={"group": "patient", "split": "fold"},
        splits={"train": 0, "validation": 1, "test": 2},
    )
    assert [record.group for record in source.records] == [str(i // 4) for i in range(12)]
    assert [record.split for record in source.records] == ["train", "validation", "test"] * 4
    source = read(root, group_by=r"p\d+")
    assert [record.group for record in source.records] == [f"p{i // 2}" for i in range(12)]
    assert any(finding.topic == Topic.OTHER for finding in source.warnings)


@pytest.mark.parametrize(
    ("columns", "key", "says"),
    [
        ({"a": [1], "b": [2]}, "data.columns", "its columns are 'a', 'b'"),
        ({"image": [1.5], "label": [2]}, "data.columns", "holds double"),
        ({"image": STRUCTS[:1], "label": [[1, 2]]}, "data.root", "several labels"),
        ({"image": STRUCTS[:2], "label": [1, 1]}, "data.root", "one class only"),
    ],
)
def test_a_parquet_file_that_cannot_be_used(
    columns: dict[str, Any], key: str, says: str, tmp_path: Path
) -> None:
    found, line = refusal(write(tmp_path / "a.parquet", columns))
    assert found == key
    assert says in line


def test_a_root_that_is_no_parquet_file(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"path,label\n")
    for root, says in (
        (tmp_path / "a.parquet", "as a parquet file"),
        (tmp_path / "none", "no such file"),
        (tmp_path / "*.pq", "no parquet file at"),
        ("gopher://host/a", "gopher"),
    ):
        key, line = refusal(root)
        assert key == "data.root"
        assert says in line


class Counted:
    """Counts the times that a row group of a file is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = 0
        original = embedded_images.open_parquet

        def counting(file: Any) -> Any:
            self.opened += 1
            return original(file)

        monkeypatch.setattr(embedded_images, "open_parquet", counting)


@pytest.mark.parametrize("groups", [1000, 64, 7, 1])
def test_each_row_is_read_once_and_few_are_kept(
    groups: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that run ahead share one pass over the file, whatever the size of its groups."""
    contents = [bytes([i % 251]) * 1000 + i.to_bytes(2) for i in range(500)]
    images = [{"bytes": content, "path": None} for content in contents]
    columns = {"image": images, "label": [i % 2 for i in range(500)]}
    root = write(tmp_path / "a.parquet", columns, row_group_size=groups)
    source = read(root)
    counted = Counted(monkeypatch)

    def digests(records: Any) -> Iterator[str]:
        return in_order(lambda record: record.picture.digest(), records)

    expected = [hashlib.sha256(content).hexdigest() for content in contents]
    assert list(digests(source.records)) == expected
    assert counted.opened == 1
    (reader,) = source.records[0].picture.column._readers.values()  # type: ignore[attr-defined]
    assert sum(len(values) for _, values in reader._kept) <= 3 * (usable_cores() + 1) + 24
    some = slice(100, None, 50)
    assert list(digests(source.records[some])) == expected[some]
    shuffled = np.random.default_rng(0).permutation(500)[:20]
    assert [source.records[i].picture.digest() for i in shuffled] == [expected[i] for i in shuffled]


def test_a_changed_file_has_other_stamps(tmp_path: Path) -> None:
    root = write(tmp_path / "a.parquet", {"image": STRUCTS, "label": LABELS})
    before = read(root).records
    assert len({record.picture.stamp for record in before}) == 12
    write(root, {"image": STRUCTS[::-1], "label": LABELS[::-1]})
    after = read(root).records
    assert before[0].picture.stamp != after[0].picture.stamp
    assert after[0].picture.digest() == hashlib.sha256(BYTES[-1]).hexdigest()


def test_files_are_opened_once_each_while_threads_run_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(5):
        images = [{"bytes": f"{i} {j}".encode(), "path": None} for j in range(11)]
        columns = {"image": images, "label": [j % 2 for j in range(11)]}
        write(tmp_path / f"{i}.parquet", columns, row_group_size=5)
    source = read(tmp_path)
    counted = Counted(monkeypatch)
    contents = list(in_order(lambda record: record.picture.read(), source.records))
    assert contents == [f"{i} {j}".encode() for i in range(5) for j in range(11)]
    assert counted.opened == 5
