"""The job server of a Ray cluster: jobs are started and followed over HTTP."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from revo_ray.credentials import refuse_credentials
from revo_ray.errors import SearchError, UserError, first_line, last_line
from revo_ray.installation import install_command
from revo_ray.search.jobs.submit import Job
from revo_ray.search.ray.internals import quiet_uploads

SERVER = "http://127.0.0.1:8265"
"""Address of the dashboard on this machine, or of a tunnel to another."""

RUN = "revo_ray_run"
"""Key of a job's metadata that names its run directory."""

_OVERRIDING = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Ray's client prefers these variables to the address that it is given."""
_PATIENCE_S = 60.0
_SILENCE_S = 60.0
_ATTEMPTS = 5
_TOKEN = (
    "set RAY_AUTH_MODE=token, and the cluster's token in RAY_AUTH_TOKEN, in a file that "
    "RAY_AUTH_TOKEN_PATH names, or in ~/.ray/auth_token"
)


class JobServer:
    """The job server of a Ray cluster.

    Args:
        address: `http://HOST:PORT` or `https://…`.

    Raises:
        UserError: there is none, it refuses the token, or its Ray is another version.
    """

    def __init__(self, address: str) -> None:
        self.address = address = (address if "://" in address else f"http://{address}").rstrip("/")
        refuse_credentials(address, "--address")
        given = urlsplit(address)
        if given.scheme not in ("http", "https") or given.hostname in (None, "auto"):
            raise UserError(
                f"--address {address}: give that of the cluster's dashboard, such as {SERVER}"
            )
        with self._answering():
            self._client = _client(address)
        import ray

        theirs, ours = getattr(self._client, "_server_ray_version", None), ray.__version__
        if theirs and theirs.split(".")[:2] != ours.split(".")[:2]:
            raise UserError(
                f"{address} runs Ray {theirs}, and this machine {ours}; a job needs the same "
                "release on both"
            )

    def submit(self, job: Job) -> str:
        """Upload the folder and start the job; returns its id, `revo-NAME-N`.

        Raises:
            UserError: the run directory has a job that has not ended, or the server refuses.
        """
        with self._answering():
            known = {details.submission_id: details for details in self._client.list_jobs()}
            for other, details in known.items():
                same_run = (details.metadata or {}).get(RUN) == job.run
                if same_run and not details.status.is_terminal():
                    raise UserError(
                        f"the job {other} writes to {job.run} and has not ended; "
                        + self.ways_back(str(other))
                    )
            ids = (f"revo-{job.name}-{n}" for n in itertools.count(1))
            job_id = next(job_id for job_id in ids if job_id not in known)
            self._client.submit_job(
                entrypoint=job.entrypoint,
                submission_id=job_id,
                runtime_env=job.runtime_env,
                metadata={RUN: job.run},
            )
            return job_id

    def page(self, job_id: str) -> str:
        """The address of a job's page in the dashboard."""
        return f"{self.address}/#/jobs/{job_id}"

    def follow(self, job_id: str, write: Callable[[str], None]) -> int:
        """Write a job's log, from its beginning, until the job ends; returns the exit status.

        A broken connection is opened again, and the log goes on at the same character.

        Raises:
            UserError: there is no such job.
            SearchError: the job never started, its driver was killed, or the server is gone.
        """
        log = _Log(write)
        with self._answering():
            details = self._client.get_job_info(job_id)
        heard, failures = time.monotonic(), 0
        while True:
            try:
                whole = asyncio.run(log.tail(self._client, job_id))
            except Exception:  # aiohttp's or Ray's: the network's, or of the machine with the log
                failures += 1
                whole = details.status.is_terminal() and failures > _ATTEMPTS
            try:
                details = self._client.get_job_info(job_id)
                heard = time.monotonic()
            except Exception as error:  # requests' or Ray's: the head may be starting again
                if time.monotonic() - heard > _PATIENCE_S:
                    raise SearchError(
                        f"lost {self.address} for {_PATIENCE_S:.0f} s ({_line(error)}); where the "
                        f"cluster is up, {job_id} goes on: {self.ways_back(job_id)}"
                    ) from None
            if whole and details.status.is_terminal():
                return _exit_status(job_id, details)
            time.sleep(1)

    def ways_back(self, job_id: str) -> str:
        """The commands that follow a job and that stop it, in one sentence."""
        address = shlex.quote(self.address)
        return (
            f"follow it with `revo-ray submit --follow {job_id} --address {address}`, stop it with "
            f"`ray job stop {job_id} --address {address}`"
        )

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turn the client's exceptions into errors of one line."""
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            asked = error.message.startswith("Authentication required")
            verb = "asks for a token" if asked else "refuses the token"
            raise UserError(f"{self.address} {verb}: {_TOKEN}") from None
        except ConnectionError:  # Ray's own
            raise UserError(
                f"no Ray job server answers at {self.address}; give --address that of the "
                "cluster's dashboard, or of a tunnel to it"
            ) from None
        except (OSError, RuntimeError, ValueError, TypeError) as error:  # requests' are OSErrors
            raise UserError(f"{self.address}: {_line(error)}") from None


class _Log:
    """A job's log. Each character is written once, even if the log is read several times."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write, self._written = write, 0

    async def tail(self, client: Any, job_id: str) -> bool:
        """Write new text until the log ends (True), or until nothing came for long (False)."""
        position = 0
        pieces = client.tail_job_logs(job_id)
        while True:
            try:
                # Python 3.11's `wait_for` can lose a Ctrl-C that comes together with a line.
                async with asyncio.timeout(_SILENCE_S):
                    text = await anext(pieces)
            except StopAsyncIteration:
                return True
            except TimeoutError:  # perhaps a connection that a router forgot: try another
                return False
            new = text[max(0, self._written - position) :]
            position += len(text)
            if new:
                self._written = position
                self._write(new)


def _client(address: str) -> Any:
    try:
        import aiohttp  # noqa: F401  (Ray's client would fail only where logs are followed)
        from ray.job_submission import JobSubmissionClient
    except ImportError:
        raise UserError(
            f"`revo-ray submit` needs Ray's job client; {install_command('cluster')} gets it"
        ) from None
    quiet_uploads()
    kept = {name: os.environ.pop(name) for name in _OVERRIDING if name in os.environ}
    try:
        return JobSubmissionClient(address)
    finally:
        os.environ.update(kept)


def _exit_status(job_id: str, details: Any) -> int:
    """The search's own exit status; 130 for a job that was stopped."""
    status, code = details.status.value, details.driver_exit_code
    if status == "STOPPED":
        return 130
    if status == "SUCCEEDED":
        return 0
    message = details.message or ""
    if code is None:
        raise SearchError(f"the job {job_id} failed without an exit status: {_line(message)}")
    if code < 0:
        raise SearchError(
            f"the driver of the job {job_id} was ended by {signal.Signals(-code).name}; what is "
            "finished is kept, submit it again"
        )
    if "No module named revo_ray" in message:
        raise UserError(
            f"the job {job_id} found no revo_ray: upload a checkout (--working-dir), or install "
            "revo-ray on the cluster's machines"
        )
    return int(code)


def _line(error: object) -> str:
    """The most informative line of a message: the last one of a traceback, else the first."""
    line = last_line(error) if "Traceback" in str(error) else first_line(error)
    return re.sub(r"^Request failed with status code \d+: ", "", line)
