"""Credentials in a URI: refused before it is opened, and never repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.security.commands import revo

pytestmark = pytest.mark.slow

SECRET = "hunter2hunter2"
OPTIONS = ("pass", "key", "auth", "sas", "sig", "token", "AWSAccessKeyId", "X-Amz-Signature")
STORED = ("preset:quickstart", "--set", "storage=/tmp/revo-results")
URIS = (
    f"s3://AKIAKEY:{SECRET}@bucket/photos",
    *(f"s3://bucket/photos?region=eu-west-1&{option}={SECRET}" for option in OPTIONS),
)


@pytest.mark.parametrize("uri", [URIS[0], URIS[1], URIS[4]])
def test_predict_prints_no_password_of_the_images_uri(uri: str, run: Path, tmp_path: Path) -> None:
    done = revo("predict", run, uri, folder=tmp_path)
    assert SECRET not in done.stdout + done.stderr
    assert done.returncode == 2
    assert "IMAGES: holds credentials" in done.stderr


def test_no_option_with_a_secret_is_opened(run: Path, tmp_path: Path) -> None:
    for uri in URIS:
        done = revo("report", uri, folder=tmp_path)
        assert "holds credentials" in done.stderr, uri
        assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("submit", *STORED, "--address", f"http://me:{SECRET}@127.0.0.1:1"),
        ("submit", *STORED, "--address", f"http://{SECRET}@127.0.0.1:1"),
        ("search", "--address", f"http://127.0.0.1:1?auth={SECRET}"),
    ],
    ids=["password", "user", "search"],
)
def test_so_are_the_uris_of_options(words: tuple[str, ...], tmp_path: Path) -> None:
    done = revo(*words, folder=tmp_path)
    assert done.returncode == 2
    assert "holds credentials" in done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_so_are_the_uris_in_a_table(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(f"path,label\n{URIS[1]},a\n{URIS[2]},b\n")
    config = tmp_path / "search.yaml"
    config.write_text(f"data: {{source: csv, root: {table}}}\n")
    done = revo("data", "inspect", config, folder=tmp_path)
    assert SECRET not in done.stdout + done.stderr
    assert done.returncode == 2
    assert "holds credentials" in done.stdout + done.stderr


def test_a_configuration_with_credentials_is_refused_and_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "search.yaml"
    file.write_text(f"storage: s3://AKIAKEY:{SECRET}@bucket/results\n")
    done = revo("search", file, folder=tmp_path)
    assert done.returncode == 2
    assert "storage: holds credentials" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["search.yaml"]
