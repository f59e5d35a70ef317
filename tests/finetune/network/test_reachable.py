"""Servers of weights that refuse, say nothing or are not there."""

from __future__ import annotations

import http.server
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import close_session

from revo_ray.finetune.network import reachable
from revo_ray.finetune.network.backbone import load_backbone
from revo_ray.finetune.network.reachable import why_no_download, why_unreachable
from tests.finetune.network.backbones import refusal


class _Answers(http.server.BaseHTTPRequestHandler):
    """Answers with the status that the path names."""

    def do_HEAD(self) -> None:
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield int(made.getsockname()[1])


@pytest.mark.parametrize(
    ("status", "reached"), [(200, True), (404, True), (403, True), (503, False)]
)
def test_an_answer_that_refuses_is_one(server: str, status: int, reached: bool) -> None:
    assert (why_no_download(f"{server}/{status}") is None) == reached


def test_a_server_that_says_nothing_is_given_up(
    silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reachable, "REQUEST_S", 0.2)
    began = time.monotonic()
    cause = why_no_download(f"http://127.0.0.1:{silent}/file")
    assert cause is not None
    assert cause.startswith("127.0.0.1 cannot be reached: ")
    monkeypatch.setattr(reachable, "PATIENCE_S", 0.2)  # looking up a name may hang
    assert "no answer within" in str(why_unreachable(lambda: time.sleep(5)))
    assert time.monotonic() - began < 3


@pytest.mark.slow
def test_without_a_network_one_line_names_the_command_and_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    close_session()  # it keeps the proxy that it began with
    began = time.monotonic()
    hub = refusal("timm/test_convnext3", "pretrained", 2)
    torchvision = refusal("torchvision/squeezenet1_1", "pretrained", 2)
    assert time.monotonic() - began < 15
    close_session()
    assert "huggingface.co cannot be reached" in hub
    assert "`hf download timm/test_convnext3.r160_in1k model.safetensors`" in hub
    assert "models--timm--test_convnext3.r160_in1k" in hub
    assert "download.pytorch.org cannot be reached" in torchvision
    assert "`curl -LO https://download.pytorch.org/models/squeezenet1_1-" in torchvision
    assert str(tmp_path) in torchvision
    assert "\n" not in hub + torchvision


def test_random_weights_ask_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object, **__: object) -> None:
        raise AssertionError("a server was asked")

    monkeypatch.setattr(urllib.request, "urlopen", asked)
    monkeypatch.setattr(reachable, "why_unreachable", asked)
    load_backbone("timm/test_convnext3", "none", 2)
