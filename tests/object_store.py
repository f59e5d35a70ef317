"""An S3 server of a test's own, on this machine alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from moto.moto_server import threaded_moto_server
from moto.server import ThreadedMotoServer

Fails = Callable[[dict[str, str]], bool]


@contextmanager
def object_store(
    bucket: str = "bucket", *, port: int = 0, fails: Fails | None = None
) -> Iterator[Callable[[str], str]]:
    """Serve an empty bucket, with credentials in the environment; gives the URI of a path in it.

    Args:
        port: 0 for a free one.
        fails: whether a request, by its WSGI environment, is refused.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        if fails is not None:
            patch.setattr(threaded_moto_server, "DomainDispatcherApplication", _refusing(fails))
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
        server.start()
        try:
            endpoint = "{}:{}".format(*server.get_host_and_port())
            held = boto3.resource("s3", endpoint_url=f"http://{endpoint}").Bucket(bucket)
            held.create()
            try:
                yield lambda path: f"s3://{bucket}/{path}?endpoint_override={endpoint}&scheme=http"
            finally:
                held.objects.delete()  # servers of one process keep what they hold in one place
        finally:
            server.stop()


def _refusing(fails: Fails) -> Callable[..., Any]:
    make = threaded_moto_server.DomainDispatcherApplication

    def application(*arguments: Any) -> Callable[..., Iterable[bytes]]:
        served = make(*arguments)

        def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            if not fails(environ):
                return served(environ, start)
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start("403 Forbidden", [("Content-Type", "text/plain")])
            return [b""]

        return answer

    return application
