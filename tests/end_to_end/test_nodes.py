"""A search over two machines (two raylets, each with its own cache): one copy of the table each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from revo_ray import SearchConfig, run_search
from revo_ray.data.table.image_table import Table
from revo_ray.rundir.ledger import Ledger
from revo_ray.storage import Storage
from tests.end_to_end.cli import SMALL
from tests.object_store import object_store


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where each machine keeps copies."""
    return {name: tmp_path_factory.mktemp(name) for name in ("driver", "other")}


@pytest.fixture(scope="module")
def store() -> Iterator[Callable[[str], str]]:
    """Before the cluster, whose workers find the credentials in its environment."""
    with object_store() as uri:
        yield uri


@pytest.fixture(scope="module")
def cluster(caches: dict[str, Path], store: object) -> Iterator[str]:
    """The address of two machines with a core each."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    # Ray takes 127.0.0.1 for the machine's name and looks for its address in the network.
    common = {"num_cpus": 1, "node_ip_address": "127.0.0.2", "include_dashboard": False}
    made = Cluster()
    for name in ("driver", "other"):
        made.add_node(env_vars={"REVO_RAY_CACHE": str(caches[name])}, **common)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REVO_RAY_CACHE", str(caches["driver"]))
        yield made.address
    made.shutdown()


def search(cluster: str, storage: str, *overrides: str) -> set[str]:
    """The machines that a small search's rows come from.

    Each evaluation takes longer than a worker's start, or the second would be given up.
    """
    longer = ("train.epochs=24", "search.evaluations=4")
    sets = [*SMALL, f"storage={storage}", "name=run", *longer, *overrides]
    result = run_search(SearchConfig.load(None, sets), address=cluster)
    assert result.statuses == {"ok": 4}
    rows = Ledger.load(Storage(storage).child("run"))
    return {row.node for row in rows if row.node}


def tables(cache: Path) -> list[Path]:
    return sorted((cache / "tables").glob("*.arrow")) if (cache / "tables").exists() else []


@pytest.mark.nightly
def test_the_other_machine_copies_the_table_once(
    cluster: str, caches: dict[str, Path], tmp_path: Path
) -> None:
    assert len(search(cluster, str(tmp_path))) == 2
    (original,) = (tmp_path / ".tables").glob("*.arrow")
    (copy,) = tables(caches["other"])
    assert copy.read_bytes() == original.read_bytes()
    assert not tables(caches["driver"])  # it maps the original


@pytest.mark.nightly
def test_over_an_object_store(
    cluster: str, caches: dict[str, Path], store: Callable[[str], str]
) -> None:
    before = set(tables(caches["other"]))
    storage = store("searches")
    assert len(search(cluster, storage, "data.image_size=28")) == 2
    (prepared,) = tables(caches["driver"])
    (copy,) = set(tables(caches["other"])) - before
    (name,) = Storage(storage).list(".tables")
    assert Table.open(prepared).images.shape[-1] == 28
    assert copy.read_bytes() == prepared.read_bytes() == Storage(storage).read(f".tables/{name}")
