"""An S3 server of a test's own, on this machine alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import boto3
import pytest
from moto.server import ThreadedMotoServer


@contextmanager
def object_store(bucket: str = "bucket") -> Iterator[Callable[[str], str]]:
    """Serve a bucket, with credentials in the environment; gives the URI of a path in it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        try:
            endpoint = "{}:{}".format(*server.get_host_and_port())
            boto3.client("s3", endpoint_url=f"http://{endpoint}").create_bucket(Bucket=bucket)
            yield lambda path: f"s3://{bucket}/{path}?endpoint_override={endpoint}&scheme=http"
        finally:
            server.stop()
