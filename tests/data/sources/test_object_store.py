"""Folders, archives and tables in an object store, and tables that name images in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from revo_ray.data.image_records import Source
from revo_ray.data.sources import read_source
from revo_ray.data.table.image_table import prepare_table
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig
from tests.data.layouts import class_folder_files, table_bytes, zip_bytes
from tests.object_store import object_store

pytestmark = pytest.mark.slow

FILES = class_folder_files({"cat": 3, "dog # 1": 3})
ROWS = [[name, name.partition("/")[0]] for name in FILES]


@pytest.fixture(scope="module")
def store() -> Iterator[Callable[[str], str]]:
    """A bucket with the same six images in every way; gives the URI of a path in it."""
    struct = [{"bytes": content, "path": name} for name, content in FILES.items()]
    shard = pa.BufferOutputStream()
    pq.write_table(pa.table({"image": struct, "label": [row[1] for row in ROWS]}), shard)
    with object_store() as uri:
        held = {f"photos #1/{name}": content for name, content in FILES.items()}
        listed = [[uri(f"photos #1/{name}"), label] for name, label in ROWS]
        held |= {
            "photos #1.zip": zip_bytes(FILES),
            "lists/relative.csv": table_bytes([["path", "label"], *ROWS]),
            "lists/uris.csv": table_bytes([["file_name", "class"], *listed]),
            "shards/train-00000-of-00001.parquet": shard.getvalue().to_pybytes(),
        }
        held |= {f"lists/{name}": content for name, content in FILES.items()}
        system, _ = fs.FileSystem.from_uri(uri(""))
        for name, content in held.items():
            with system.open_output_stream(f"bucket/{name}") as stream:
                stream.write(content)
        yield uri


def check(source: Source) -> None:
    """Check that the source holds all six images."""
    assert not source.problems
    assert source.classes == ("cat", "dog # 1")
    assert sorted(record.label for record in source.records) == sorted(row[1] for row in ROWS)
    assert {record.picture.open().size for record in source.records} == {(40, 30)}


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("folder", "photos #1"),
        ("folder", "photos%20%231/"),
        ("folder", "photos #1.zip"),
        ("csv", "lists/relative.csv"),
        ("csv", "lists/uris.csv"),
        ("parquet", "shards"),
        ("parquet", "shards/*.parquet"),
        ("parquet", "shards/train-00000-of-00001.parquet"),
    ],
)
def test_images_in_an_object_store(source: str, path: str, store: Callable[[str], str]) -> None:
    check(read_source(DataConfig(source=source, root=store(path))))


def test_local_tables_name_images_in_an_object_store(
    store: Callable[[str], str], tmp_path: Path
) -> None:
    cells = [[name.removesuffix(Path(name).suffix), label] for name, label in ROWS]
    path = tmp_path / "list.csv"
    path.write_bytes(table_bytes([["path", "label"], *cells]))
    pattern = store("photos #1/{}" + Path(ROWS[0][0]).suffix)
    check(read_source(DataConfig(source="csv", root=str(path), image_pattern=pattern)))
    place, _, options = store("photos #1").partition("?")
    columns = {"image": [f"{place}/{name}" for name, _ in ROWS]}
    columns["label"] = [label for _, label in ROWS]
    pq.write_table(pa.table(columns), path := tmp_path / "list.parquet")
    pattern = f"{{}}?{options}"
    check(read_source(DataConfig(source="parquet", root=str(path), image_pattern=pattern)))


def test_cells_name_no_server(store: Callable[[str], str], tmp_path: Path) -> None:
    rows = [[store(f"photos #1/{name}"), label] for name, label in ROWS]
    path = tmp_path / "list.csv"
    path.write_bytes(table_bytes([["path", "label"], *rows]))
    with pytest.raises(UserError, match=r"names a server; leave that to data\.image_pattern"):
        read_source(DataConfig(source="csv", root=str(path)))


def test_uris_that_lead_nowhere_are_problems(store: Callable[[str], str], tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    options = store("").partition("?")[2]
    wrong = ["gopher://host/a.png", "s3://bucket/photos #1/none.png", "s3://bucket/none/a.png"]
    wrong += ["s3://KEY:secret@bucket/a.png", "file:///none/a.png"]
    rows = [[f"s3://bucket/photos #1/{name}", label] for name, label in ROWS]
    path.write_bytes(table_bytes([["path", "label"], *rows, *([uri, "cat"] for uri in wrong)]))
    source = read_source(DataConfig(source="csv", root=str(path), image_pattern=f"{{}}?{options}"))
    assert len(source.records) == 6
    causes = [cause.partition(" (line")[0] for _, cause in source.problems]
    assert causes[0].startswith("cannot be opened: ")
    assert "gopher" in causes[0]
    assert causes[1:3] == ["no such file"] * 2
    assert causes[3].startswith("holds credentials")
    assert causes[4] == "no such file"
    assert "secret" not in str(source.problems)


def test_a_parquet_file_in_an_object_store_is_prepared(
    store: Callable[[str], str], tmp_path: Path
) -> None:
    config = DataConfig(source="parquet", root=store("shards"), image_size=8)
    table = prepare_table(config, tmp_path)
    assert len(table.labels) == 6
    assert prepare_table(config, tmp_path).path == table.path
