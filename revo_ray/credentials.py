"""Finds passwords and access keys in URIs, so that they are refused before anything shows them."""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qsl, unquote

from revo_ray.errors import UserError

_PARTS = re.compile(
    "secret|passw|pwd|token|credential|signature|(access|account|api)[-_]?key", re.I
)
_WORDS = {
    "pass",
    "passphrase",
    "pat",
    "pw",
    "key",
    "auth",
    "authorization",
    "sas",
    "sig",
    "jwt",
    "bearer",
}
_HARMLESS = {"file", "path", "dir", "kind", "type", "provider", "expiry", "expires"}
"""Last words of names such as `key_file` and `credential_kind`, which say where a secret is."""
_WORD = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

SERVER = re.compile("endpoint_override$|authority$")
"""Matches names of URI options that name the server which gets the credentials."""

SHORTEST = 6
"""Letters of a secret in an environment variable."""


def names_secret(name: str) -> bool:
    """Whether an option of that name holds a secret: `secret_key`, `AWSAccessKeyId`, `sig`."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _HARMLESS:
        return False
    return bool(_PARTS.search(name)) or not _WORDS.isdisjoint(words)


def refuse_credentials(uri: str, key: str) -> None:
    """Refuse a URI that holds a password or an access key. The error does not repeat it.

    Args:
        uri: a path or URI.
        key: the configuration key that holds it; the error names this key.

    Raises:
        UserError: the URI holds credentials.
    """
    if holds_credentials(uri):
        raise UserError(
            "holds credentials; leave them out of the URI and set environment variables "
            "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or those that the storage's own tools "
            "read)",
            key=key,
        )


def holds_credentials(uri: str) -> bool:
    """Whether a URI holds `user:password@`, or an option such as `secret_key=`."""
    scheme, separator, rest = unquote(uri).partition("://")
    if not separator:
        return False
    server, _, path = rest.partition("/")
    # The password may contain a slash: s3://KEY:a/b@bucket.
    has_port = scheme in ("hdfs", "viewfs") and bool(re.fullmatch(r"([^:@]*@)?[^:@]*:\d+", server))
    if ":" in server and "@" in server + path and not has_port:
        return True
    if scheme in ("http", "https") and "@" in server:  # a token in place of a user
        return True
    _, *options = re.split("[?#&;]", uri)
    return any(
        names_secret(name) or re.search(":[^/]*@", value)
        for option in options
        for name, value in parse_qsl(option, keep_blank_values=True)
    )


def servers(uri: str) -> frozenset[str]:
    """Servers that the options of a URI name, in place of the object store's own."""
    _, _, query = uri.partition("?")
    return frozenset(
        value for name, value in parse_qsl(query, keep_blank_values=True) if SERVER.search(name)
    )


def without_secrets(text: str) -> str:
    """A message without the passwords of its URIs and without what secret variables hold.

    Libraries repeat the address that they were given, and some the key that was refused. Paths,
    and values as short as `false`, are no secrets, whatever the variable's name.
    """
    for name, value in os.environ.items():
        if _PARTS.search(name) and len(value) >= SHORTEST and not os.path.exists(value):
            text = text.replace(value, "…")
    text = re.sub(r"://[^\s'\"]*@", "://…@", text)
    return re.sub(
        r"([?&])([^=&\s]*)=([^&\s'\"]*)",
        lambda match: f"{match[1]}{match[2]}=…" if names_secret(match[2]) else match[0],
        text,
    )
