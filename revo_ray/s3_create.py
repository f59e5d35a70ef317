"""Creates an object in S3 that is not there yet, by a conditional write.

Arrow's file systems always replace an object. boto3, an extra, can ask S3 not to. It looks for
credentials where Arrow does.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

ATTEMPTS = 3
"""Number of attempts. Each times out after about 9 seconds without an answer."""
TIMEOUT_S = 9.0
NAMES = (
    *("region", "scheme", "endpoint_override", "force_virtual_addressing"),
    "tls_ca_file_path",
)
"""Options of Arrow's that boto3 needs, too."""
UNKNOWN = {"NotImplemented", "501"}
"""Errors of servers that know no conditional writes."""
BUSY = {"ConditionalRequestConflict", "409"}
"""Errors of a server on which another request for the object is under way."""


class NotSupportedError(Exception):
    """Nothing here can create an object only where there is none."""


def create(options: Mapping[str, Any], target: str, content: bytes) -> bool:
    """Create an object, unless there is one; returns whether it was created.

    Args:
        options: of Arrow's `S3FileSystem`.
        target: bucket and key.
        content: all bytes of the object.

    Raises:
        NotSupportedError: boto3 is not installed, or the server knows no conditional writes.
        ConnectionError: the server cannot be reached.
        OSError: the object cannot be written.
    """
    client = _client(*(options[name] for name in NAMES))
    from botocore import exceptions

    bucket, _, key = target.partition("/")
    try:
        client.put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
    except exceptions.ClientError as error:
        code = error.response.get("Error", {}).get("Code")
        if code == "PreconditionFailed":
            return False
        if code in UNKNOWN:
            raise NotSupportedError from None
        kind = ConnectionError if code in BUSY else OSError
        raise kind(f"cannot write {target}: {_line(error)}") from None
    except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
        raise ConnectionError(f"cannot write {target}: {_line(error)}") from None
    except exceptions.BotoCoreError as error:
        raise OSError(f"cannot write {target}: {_line(error)}") from None
    return True


@cache
def _client(region: str, scheme: str, endpoint: str, virtual: bool, authorities: str) -> Any:
    """A client as Arrow's, by the names of its options."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise NotSupportedError from None
    path_style = endpoint and not virtual
    return boto3.Session().client(
        "s3",
        region_name=region or None,
        endpoint_url=f"{scheme}://{endpoint}" if endpoint else None,
        use_ssl=scheme != "http",
        verify=authorities or None,
        config=Config(
            connect_timeout=TIMEOUT_S,
            read_timeout=TIMEOUT_S,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            s3={"addressing_style": "path" if path_style else "auto"},
        ),
    )


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
