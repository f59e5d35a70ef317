"""Places that a stranger's run directory or table names get no credentials."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.security.commands import revo, sets
from tests.security.servers import listening

pytestmark = pytest.mark.slow

SECRETS = {
    "AWS_ACCESS_KEY_ID": "sentinel-key",
    "AWS_SECRET_ACCESS_KEY": "sentinel-secret",
    "AWS_SESSION_TOKEN": "sentinel-token",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "no_proxy": "127.0.0.1",
}


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[str]]]:
    """The URI of a folder at an S3 server of the attacker's, and the requests that reach it."""
    with listening() as (port, requests):
        yield f"s3://bucket/images?endpoint_override=127.0.0.1:{port}&scheme=http", requests


def of_a_stranger(run: Path, root: str) -> None:
    """Let a run directory name a place of images."""
    config = (run / "config.yaml").read_text()
    assert "source: digits" in config
    assert "root: null" in config
    config = config.replace("source: digits", "source: folder")
    (run / "config.yaml").write_text(config.replace("root: null", f"root: {root}"))


def test_export_sends_no_credentials_to_a_place_that_the_run_directory_names(
    run: Path, endpoint: tuple[str, list[str]], tmp_path: Path
) -> None:
    root, requests = endpoint
    of_a_stranger(run, root)
    words = ("export", run, "--to", "safetensors", "--out")
    done = revo(*words, tmp_path / "model", folder=tmp_path, environment=SECRETS)
    assert not requests, requests[0]
    assert done.returncode == 0, done.stderr
    assert "photographs" in done.stdout
    revo(*words, tmp_path / "m", "--compare-on-data", folder=tmp_path, environment=SECRETS)
    assert "sentinel-token" in "".join(requests)  # this server is one that would be heard


def test_reading_a_run_directory_asks_no_server(
    run: Path, endpoint: tuple[str, list[str]], tmp_path: Path
) -> None:
    root, requests = endpoint
    of_a_stranger(run, root)
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    done = revo("predict", run, tmp_path / "a.png", folder=tmp_path, environment=SECRETS)
    assert done.returncode == 0, done.stderr
    done = revo("report", run, folder=tmp_path, environment=SECRETS)
    assert done.returncode == 0, done.stderr
    done = revo("train", run, folder=tmp_path, environment=SECRETS)
    assert done.returncode == 2, done.stdout
    assert not requests, requests[0]


def test_a_cell_of_a_table_names_no_server(endpoint: tuple[str, list[str]], tmp_path: Path) -> None:
    uri, requests = endpoint
    rows = [f'"{uri.replace("images", f"images/{n}.png")}",{"ab"[n % 2]}' for n in range(8)]
    (tmp_path / "images.csv").write_text("\n".join(["image,label", *rows]))
    options = sets("data.source=csv", f"data.root={tmp_path}/images.csv", f"storage={tmp_path}/r")
    done = revo("data", "inspect", *options, folder=tmp_path, environment=SECRETS)
    assert not requests, requests[0]
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr
