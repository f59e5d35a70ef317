"""`submit` sends what a job needs, and names it; the sender's other files stay."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.security.commands import CHECKOUT, revo

pytestmark = pytest.mark.slow

PRIVATE = (
    *("id_rsa", "credentials.csv", "server.pem", "keys/deploy.key", "diary.txt", "tool.py"),
    "patients/names.txt",
)


class JobServer(ThreadingHTTPServer):
    """Answers Ray's job client, and keeps all that it is sent; it runs nothing."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.uploads: list[bytes] = []
        self.jobs: list[dict[str, Any]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def uploaded(self) -> set[str]:
        """The files of the last upload."""
        with zipfile.ZipFile(io.BytesIO(self.uploads[-1])) as archive:
            return {entry.filename for entry in archive.infolist() if not entry.is_dir()}


class Answers(BaseHTTPRequestHandler):
    server: JobServer

    def do_GET(self) -> None:
        if self.path.startswith("/api/packages"):
            self._answer({}, 404)
        elif self.path == "/api/version":
            self._answer({"version": "4", "ray_version": version("ray"), "ray_commit": ""})
        else:
            self._answer([])

    def do_PUT(self) -> None:
        self.server.uploads.append(self._body())
        self._answer({})

    def do_POST(self) -> None:
        job = json.loads(self._body())
        self.server.jobs.append(job)
        self._answer({"job_id": job["submission_id"], "submission_id": job["submission_id"]})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _answer(self, document: Any, status: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[JobServer]:
    with JobServer() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "mine"
    for name in PRIVATE:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text("private")
    (made / "config.yaml").write_text("name: mine\nstorage: /tmp/none\n")
    (made / "my_methods.py").write_text("from helper import METHODS\n")
    (made / "helper.py").write_text(
        "from revo_ray.methods import RevoContinuous\n"
        "class Mine(RevoContinuous):\n    name = 'mine'\nMETHODS = [Mine]\n"
    )
    return made


def submit(folder: Path, server: JobServer, *words: str) -> CompletedProcess[str]:
    done = revo(
        *("submit", "config.yaml", "--address", server.address, "--no-wait", *words), folder=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def own(name: str) -> bool:
    """Whether a file of the upload is one of this code."""
    here = name.startswith(("revo_ray/", "baselines/")) or name == "pyproject.toml"
    return here and (CHECKOUT / name).is_file()


def test_no_file_of_the_current_folder_goes_but_those_that_a_job_needs(
    folder: Path, server: JobServer
) -> None:
    done = submit(folder, server)
    assert {name for name in server.uploaded if not own(name)} == {"config.yaml"}
    # What goes is said before.
    listed = [line.split("  ")[1] for line in done.stderr.splitlines()[1:]]
    assert listed == ["baselines/", "config.yaml", "pyproject.toml", "revo_ray/"]
    assert "private" not in done.stderr

    plugins = ("--set", "plugins=[baselines, my_methods]", "--set", "method.name=mine")
    done = submit(folder, server, *plugins, "--plugin-path", ".")
    sent = {name for name in server.uploaded if not own(name)}
    assert sent == {"config.yaml", "helper.py", "my_methods.py"}
    assert server.jobs[-1]["entrypoint"].endswith("--plugin-path . --resume")


def test_keys_stay_where_a_whole_folder_goes(folder: Path, server: JobServer) -> None:
    done = submit(folder, server, "--working-dir", ".")
    assert not {"id_rsa", "credentials.csv", "server.pem", "keys/deploy.key"} & server.uploaded
    assert {"config.yaml", "diary.txt", "helper.py"} <= server.uploaded
    assert "  patients/  7 bytes" in done.stderr
