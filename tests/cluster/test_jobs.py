"""Searches as jobs of a Ray head with a token: `ray job submit` and `revo-ray submit`."""

from __future__ import annotations

import asyncio
import http.server
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.dashboard.modules import dashboard_sdk
from ray.dashboard.modules.job.pydantic_models import JobDetails

from revo_ray.cli.main import main
from revo_ray.errors import SearchError
from revo_ray.search.jobs.job_server import _exit_status, _Log
from revo_ray.search.jobs.submit import EXCLUDES
from tests.cluster.conftest import Commands, Head, finish
from tests.end_to_end.cli import PATH, ROOT, Cli

pytestmark = pytest.mark.timeout(600)  # the first test waits for a head and a whole search

RAY = str(Path(sys.executable).parent / "ray")

CONFIG = """\
name: {name}
storage: {storage}
model: {{name: timm/test_efficientnet, weights: none}}
data: {{image_size: 32}}
train: {{epochs: 2}}
search: {{evaluations: 20}}
resources: {{max_concurrent: 1}}
"""

JUNK = (
    *(".git/objects/pack/a.pack", ".venv/lib/torch.py", ".env", ".mypy_cache/a.json"),
    *("revo_results/quickstart/ledger/000000.json", "data/labels.csv", "photos/cat/1.JPG"),
    *("photos/dog/2.png", "weights/own.safetensors", "dist/revo_ray-0.1.0.whl", "ham.zip"),
)
"""What lies about in a checkout, and is not for the cluster."""

WITH_POLICY = """
import dataclasses
from revo_ray.methods import RevoBinary

class Own(RevoBinary):
    name = "own"

    def plan(self, sample, units):
        return dataclasses.replace(super().plan(sample, units), policy={"method": "own"})

    @classmethod
    def policy(cls, options):
        return lambda epoch, tuner: None

METHODS = [Own]
"""

MARKER = """
from pathlib import Path as _Path
import os as _os, sys as _sys
_Path("{storage}", f"{label}-{{_os.getpid()}}").write_text(f"{{_sys.argv[0]}} {{__file__}}")
"""
"""Code that tells which file each process of a job imported."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The same search in one go, without a cluster."""
    cli = Cli(tmp_path_factory.mktemp("undisturbed"))
    (cli.folder / "config.yaml").write_text(CONFIG.format(name="search", storage=cli.folder))
    try:
        done = cli.run("search", "config.yaml", small=False)
        assert done.returncode == 0, done.stdout + done.stderr
        yield cli
    finally:
        cli.close()


def write_config(folder: Path, storage: Path, name: str = "search") -> None:
    folder.mkdir(exist_ok=True)
    storage.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(CONFIG.format(name=name, storage=storage))


def checkout(folder: Path, storage: Path) -> None:
    """A checkout as a user has it after some work: most of its bytes are of no use to a job."""
    aside = (".?*", "__pycache__", "revo_results", "build", "dist", "*.egg-info")
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*aside))
    write_config(folder, storage)
    for name in JUNK:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(10_000))


def edit(folder: Path, label: str, storage: Path) -> None:
    """Another version of the code, which writes a file from each process that imports it."""
    module = Path("revo_ray", "search", "ray", "trial.py")
    marker = MARKER.format(storage=storage, label=label)
    (folder / module).write_text((ROOT / module).read_text() + marker)


def submit_command(head: Head, job: str) -> list[str]:
    """The README's own line, with an id."""
    return [
        *(RAY, "job", "submit", "--address", head.address, "--submission-id", job),
        *("--working-dir", ".", "--runtime-env", str(ROOT / "cluster" / "runtime_env.yaml")),
        *("--", "python", "-m", "revo_ray", "search", "config.yaml", "--resume"),
    ]


def rows_of(storage: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (storage / "search/ledger").glob("*.json")}


def wait_for_rows(storage: Path, count: int, process: Any) -> None:
    deadline = time.monotonic() + 240
    while len(rows_of(storage)) < count:
        assert time.monotonic() < deadline, "no rows came"
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.nightly
def test_a_job_that_was_stopped_and_submitted_again_has_the_undisturbed_ledger(
    head: Head, undisturbed: Cli, commands: Commands, tmp_path: Path
) -> None:
    folder, storage = tmp_path / "checkout", tmp_path / "results"
    checkout(folder, storage)
    edit(folder, "first", storage)
    process = commands.start(submit_command(head, "first"), folder, head.environment)
    wait_for_rows(storage, 6, process)
    assert head.get("/api/jobs/first/stop", "POST")["stopped"]
    stopped = finish(process)
    assert head.status("first") == "STOPPED"
    assert "1/20 evaluations" in stopped.stdout  # it was followed
    written = rows_of(storage)
    assert 6 <= len(written) < 20

    uploaded = head.uploaded()
    assert {"config.yaml", "revo_ray/data/table/image_table.py", "baselines/__init__.py"} <= set(
        uploaded
    )
    assert not uploaded.keys() & set(JUNK)
    aside = ("tests/", "benchmarks/", "docs/", ".")
    assert not [path for path in uploaded if path.startswith(aside)]
    assert sum(uploaded.values()) < 2_000_000

    edit(folder, "second", storage)
    done = commands.run(submit_command(head, "second"), folder, head.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert head.status("second") == "SUCCEEDED"
    assert f"resumed with {len(written)} evaluations done" in done.stdout
    assert Cli(storage).facts("search") == undisturbed.facts("search")
    assert written.items() <= rows_of(storage).items()  # none was made twice

    for label in ("first", "second"):
        ran = [path.read_text() for path in storage.glob(f"{label}-*")]
        assert all("/working_dir_files/_ray_pkg_" in text for text in ran)
        assert any("default_worker.py" in text for text in ran)
        assert any("__main__.py" in text for text in ran)


@pytest.mark.nightly
def test_a_wrong_token_is_refused(head: Head, commands: Commands, tmp_path: Path) -> None:
    write_config(tmp_path, tmp_path / "results")
    wrong = head.environment | {"RAY_AUTH_TOKEN": "another-token"}
    by_ray = commands.start(submit_command(head, "wrong"), tmp_path, wrong)
    ours = commands.start(revo_ray(head, "config.yaml"), tmp_path, ours_in(wrong))
    without = commands.run(
        revo_ray(head, "config.yaml"), tmp_path, ours_in(wrong | {"RAY_AUTH_MODE": "disabled"})
    )
    assert finish(by_ray).returncode == 1
    refused = finish(ours)
    assert (refused.returncode, without.returncode) == (2, 2)
    assert f"revo-ray: {head.address} refuses the token: set RAY_AUTH_MODE=token" in refused.stderr
    assert f"revo-ray: {head.address} asks for a token: set RAY_AUTH_MODE=token" in without.stderr
    assert "Traceback" not in refused.stderr + without.stderr
    assert "wrong" not in [job["submission_id"] for job in head.get("/api/jobs/")]


def revo_ray(head: Head, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "revo_ray", "submit", "--address", head.address, *arguments]


def ours_in(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"PYTHONPATH": os.pathsep.join(PATH), "COLUMNS": "100"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runtime environment in which every machine has this project from its wheel."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    source.mkdir()
    for name in ("revo_ray", "baselines"):
        aside = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=aside)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    # The build's requirements are the tests', too; PIP_NO_BUILD_ISOLATION=0 is pip's "yes".
    subprocess.run(
        [*command, str(folder / "site"), str(source)],
        env=os.environ | {"PIP_NO_BUILD_ISOLATION": "0"},
        check=True,
        timeout=200,
    )
    made = folder / "runtime_env.yaml"
    made.write_text(yaml.safe_dump({"env_vars": {"PYTHONPATH": str(folder / "site")}}))
    return made


@pytest.mark.nightly
def test_ctrl_c_or_sigterm_leaves_the_job_running_and_it_can_be_followed_again(
    head: Head, undisturbed: Cli, installed: Path, commands: Commands, tmp_path: Path
) -> None:
    folder, storage = tmp_path / "mine", tmp_path / "results"
    write_config(folder, storage)
    command = revo_ray(head, "config.yaml", "--working-dir", ".", "--runtime-env", str(installed))
    secret = {"AWS_SECRET_ACCESS_KEY": "sesame"}
    process = commands.start(command, folder, ours_in(head.environment | secret))
    assert process.stdout.readline().startswith("submitted revo-search-1: python -m revo_ray")
    second = commands.start(command, folder, ours_in(head.environment))
    back = ["--follow", "revo-search-1", "--address", head.address]
    follow = [sys.executable, "-m", "revo_ray", "submit", *back]
    followed = commands.start(follow, folder, ours_in(head.environment))
    assert followed.stdout.readline()
    followed.send_signal(signal.SIGTERM)
    wait_for_rows(storage, 2, process)
    process.send_signal(signal.SIGINT)
    left = finish(process)
    assert left.returncode == 130, left.stdout + left.stderr
    assert "Traceback" not in left.stderr
    assert "revo-search-1 goes on; follow it with `revo-ray submit --follow" in left.stdout
    assert " ".join(back) in left.stdout

    told = finish(followed)
    assert told.returncode == 130, told.stdout + told.stderr
    assert "revo-search-1 goes on; follow it with" in told.stdout

    done = commands.run(follow, folder, ours_in(head.environment))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n1/20 evaluations" in done.stdout
    assert "test (once)" in done.stdout
    assert Cli(storage).facts("search") == undisturbed.facts("search")
    assert set(head.uploaded()) == {"config.yaml"}
    assert "sesame" not in json.dumps(head.get("/api/jobs/"))  # no variable of the user's is sent

    refused = finish(second)
    assert refused.returncode == 2
    assert f"the job revo-search-1 writes to {storage}/search and has not ended" in refused.stderr


def test_ctrl_c_that_comes_with_a_line_is_not_lost() -> None:
    class Client:
        async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
            while True:
                self.line = asyncio.get_running_loop().create_future()
                yield await self.line

    async def follow() -> list[str]:
        client, written = Client(), []
        task = asyncio.create_task(_Log(written.append).tail(client, "job"))
        await asyncio.sleep(0.01)
        client.line.set_result("line")
        await asyncio.sleep(0)
        task.cancel()  # as `asyncio.run` does on Ctrl-C
        await asyncio.wait([task], timeout=5)
        assert task.cancelled()
        return written

    assert asyncio.run(follow()) == ["line"]


def test_the_searchs_exit_status_is_passed_on(
    head: Head, installed: Path, commands: Commands, tmp_path: Path
) -> None:
    write_config(tmp_path, tmp_path / "results", name="ended")
    few = ["--set", "search.evaluations=4", "--set", "search.population=4"]
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "with_policy.py").write_text(WITH_POLICY)
    plugin = ["--set", "plugins=[with_policy]", "--plugin-path", "own"]
    wild = [*few, *plugin, "--set", "method.name=own", "--set", "method.global_lr=1e6"]
    nowhere = ["--set", "name=nowhere", "--set", "data.source=folder", "--set", "data.root=/no"]
    with_wheel = ["--runtime-env", str(installed)]
    diverged, no_data, no_code = (
        commands.start(
            revo_ray(head, "config.yaml", *arguments), tmp_path, ours_in(head.environment)
        )
        for arguments in (
            [*wild, *with_wheel],
            [*nowhere, *with_wheel],
            ["--set", "name=bare", "--working-dir", "."],
        )
    )
    done = finish(diverged)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "no evaluation succeeded (4 diverged)" in done.stdout  # workers found the policy
    done = finish(no_data)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "data.root" in done.stdout
    done = finish(no_code)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "the job revo-bare-1 found no revo_ray" in done.stderr


def refusal(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> str:
    """The one line with which a submission is refused, in this process to save time."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["revo-ray", "submit", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    *notes, line = capsys.readouterr().err.strip().splitlines()
    assert all("this Ray does not tell" in note for note in notes)  # an old one, of its uploads
    assert line.startswith("revo-ray: ")
    return line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "storage=results"], "storage: 'results' is relative"),
        (["--set", "data.root=photos"], "data.root: 'photos' is relative"),
        (["--set", "model.weights=own.pth"], "model.weights: 'own.pth' is relative"),
        (["--set", "search.evals=3"], "did you mean search.evaluations?"),
        (["--set", "method.name=revo"], "no method 'revo'"),
        (["--set", "storage=s3://key:sesame@bucket/x"], "storage: holds credentials"),
        (["--study"], "study: this key is missing"),
        (["--working-dir", "photos"], "'config.yaml' is not below --working-dir 'photos'"),
        (["--runtime-env", "none.yaml"], "--runtime-env: cannot read 'none.yaml'"),
        (["--follow", "revo-search-1"], "leave the configuration out"),
        (["--address", "auto"], "give that of the cluster's dashboard"),
        ([], "no Ray job server answers at http://127.0.0.1:9"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_uploaded(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: list[str],
    says: str,
) -> None:
    write_config(tmp_path, tmp_path / "results")
    (tmp_path / "photos").mkdir()
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    line = refusal(tmp_path, capsys, monkeypatch, "config.yaml", *words)
    assert says in line
    assert "sesame" not in line


CLIENT_TELLS = "_server_ray_version" in inspect.getsource(dashboard_sdk)
"""Whether the client of this Ray remembers the server's release; older ones do not."""


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ('{"ray_version": "1.8.0"}', "Ray version 1.8.0 is running on the cluster"),
        (
            '{"ray_version": "2.40.0"}',
            "runs Ray 2.40.0, and this machine 2." if CLIENT_TELLS else "http://127.0.0.1:",
        ),
        ("welcome", "http://127.0.0.1:"),
    ],
)
def test_another_server_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    version: str,
    says: str,
) -> None:
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(version.encode())

        def log_message(self, *_: Any) -> None:
            pass

    write_config(tmp_path, tmp_path / "results")
    with http.server.HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        line = refusal(tmp_path, capsys, monkeypatch, "config.yaml", "--address", address)
        server.shutdown()
    assert says in line


def test_plugins_are_found_in_the_plugin_path(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_config(tmp_path / "mine", tmp_path / "results")
    (tmp_path / "mine" / "my_methods.py").write_text("METHODS = ['no method']")
    words = ["mine/config.yaml", "--working-dir", "mine", "--set", "plugins=[my_methods]"]
    line = refusal(tmp_path, capsys, monkeypatch, *words)
    assert "give the folder that holds it as --plugin-path" in line
    line = refusal(tmp_path, capsys, monkeypatch, *words, "--plugin-path", "mine")
    assert "cannot load methods from 'my_methods': 'no method' is not a class" in line


@pytest.mark.parametrize(
    ("status", "code", "ends"),
    [
        ("SUCCEEDED", 0, 0),
        ("STOPPED", None, 130),
        ("FAILED", 3, 3),
        ("FAILED", -9, "was ended by SIGKILL"),
        ("FAILED", None, "failed without an exit status: no such conda"),
    ],
)
def test_how_a_job_can_end(status: str, code: int | None, ends: int | str) -> None:
    details = JobDetails(
        type="SUBMISSION",
        status=status,
        entrypoint="",
        driver_exit_code=code,
        message="Traceback:\n…\nno such conda",
    )
    if isinstance(ends, int):
        assert _exit_status("a", details) == ends
    else:
        with pytest.raises(SearchError, match=ends):
            _exit_status("a", details)


def test_both_ways_of_submitting_leave_the_same_files_out() -> None:
    listed = yaml.safe_load((ROOT / "cluster" / "runtime_env.yaml").read_text())
    assert tuple(listed["excludes"]) == EXCLUDES
