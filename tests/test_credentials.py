"""A password in a URI: refused by every command, shown by none, and written nowhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from revo_ray.cli.main import main
from revo_ray.credentials import holds_credentials, without_secrets
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig, SearchConfig
from revo_ray.storage import Storage

URIS = ["s3://key:hun/ter2@bucket/x", "s3://bucket/x?secret_key=hunter2"]
STUDY = {"methods": ["full"], "data": [{"source": "folder", "root": "URI"}]}
CASES = {
    "set": (["search", "--set", "storage=URI"], None, "storage"),
    "set-root": (["search", "--set", "data.root=URI"], None, "data.root"),
    "set-section": (["search", "--set", "data=URI"], None, "data"),
    "set-nothing": (["search", "--set", "URI"], None, "--set"),
    "file": (["search", "FILE"], {"data": {"source": "folder", "root": "URI"}}, "data.root"),
    "file-storage": (["search", "FILE", "--resume"], {"storage": "URI"}, "storage"),
    "file-key": (["search", "FILE"], {"model": {"weights": "URI"}}, "model.weights"),
    "study": (["study", "FILE"], {"study": STUDY}, "study.data.root"),
    "study-base": (
        ["study", "FILE"],
        {"storage": "URI", "study": {"methods": ["full"]}},
        "storage",
    ),
    "inspect": (["data", "inspect", "--set", "data.root=URI"], None, "data.root"),
    "train": (["train", "FILE", "--plan", "plan.json"], {"storage": "URI"}, "storage"),
    "train-plan": (["train", "FILE", "--plan", "URI"], {}, "--plan"),
    "report": (["report", "URI"], None, "storage"),
    "watch": (["watch", "URI"], None, "storage"),
    "export": (["export", "URI", "--to", "onnx", "--out", "model.onnx"], None, "MODEL"),
    "predict": (["predict", "URI", "FILE"], {}, "MODEL"),
    "predict-images": (["predict", "run", "URI"], None, "IMAGES"),
    "predict-out": (["predict", "FILE", "x.png", "--out", "URI"], {}, "--out"),
}


@pytest.mark.parametrize("uri", URIS)
@pytest.mark.parametrize("case", CASES)
def test_a_command_refuses_it(
    case: str,
    uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words, config, key = CASES[case]
    monkeypatch.chdir(tmp_path)
    file = tmp_path.parent / f"{tmp_path.name}.yaml"
    if config is not None:
        file.write_text(yaml.safe_dump(config).replace("URI", uri))
    monkeypatch.setattr(
        sys,
        "argv",
        ["revo-ray", *(w.replace("URI", uri).replace("FILE", str(file)) for w in words)],
    )
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert err.startswith(f"revo-ray: {key}: holds credentials; ")
    assert "AWS_SECRET_ACCESS_KEY" in err
    assert "hun" not in out + err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uri", URIS)
def test_so_does_the_library(uri: str) -> None:
    for made in (lambda: DataConfig(root=uri), lambda: SearchConfig(storage=uri)):
        with pytest.raises(UserError, match="holds credentials") as error:
            made()
        assert "hun" not in str(error.value)


HARMLESS = [
    "revo_results",
    "/data/a:b@c",
    "file:///data/a:b@c",
    "s3://bucket/folder?region=eu-west-1",
    "s3://bucket/folder?endpoint_override=127.0.0.1:9000&scheme=http",
    "s3://bucket/mail@2024",
    *(f"gs://bucket/x?{name}=x" for name in ("key_file", "credential_kind", "author", "monkey")),
    *(f"s3://bucket/x?{name}=x" for name in ("X-Amz-Date", "sort_keys", "allow_bucket_creation")),
    "hdfs://user@namenode:8020/photos",
    "hdfs://namenode:8020/me@home",
    "abfs://container@account.dfs.core.windows.net/folder",
]
SECRETS = [
    "s3://key:hunter2@bucket/folder",
    "s3://key:hun/ter2@bucket/folder",
    "s3://key%3Ahunter2%40bucket/folder",
    "s3://key:hunter?2@bucket",
    "s3://bucket/folder?secret_key=hunter2",
    "s3://bucket/folder?region=eu-west-1&Access-Key=hunter2",
    "s3://bucket?endpoint_override=key:hunter2@127.0.0.1",
    "gs://bucket/folder?access_token=hunter2",
    "abfs://me:hunter2@account.dfs.core.windows.net/folder",
    "https://host/x?sig=hunter2",
    "https://hunter2@host/x",
    *(f"s3://bucket/x?{name}=hunter2" for name in ("pass", "key", "auth", "sas", "apiKey")),
    *(f"s3://bucket/x?{name}=hunter2" for name in ("AWSAccessKeyId", "X-Amz-Signature")),
    "hdfs://me:hunter2@namenode:8020/photos",
]


@pytest.mark.parametrize("uri", HARMLESS)
def test_a_uri_without_credentials_is_none_with(uri: str) -> None:
    assert not holds_credentials(uri)


@pytest.mark.parametrize("uri", SECRETS)
def test_a_uri_with_credentials_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(UserError, match=r"storage: holds credentials.*AWS_ACCESS_KEY_ID") as error:
        Storage(uri)
    assert "hun" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no route to http://me:pass@host:5000/api", "no route to http://…@host:5000/api"),
        ("postgresql://me:pa/ss@host/db failed", "postgresql://…@host/db failed"),
        ("'http://token@host' is down", "'http://…@host' is down"),
        ("http://host/x?api_key=abc&page=2", "http://host/x?api_key=…&page=2"),
        ("the key zyxwv-secret was refused", "the key … was refused"),
        ("http://host:5000/x is down", "http://host:5000/x is down"),
    ],
)
def test_messages_lose_their_secrets(
    text: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "zyxwv-secret")
    assert without_secrets(text) == shown


def test_paths_and_flags_are_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"wandb sync {tmp_path}/results is false"
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path))
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    assert without_secrets(text) == text
