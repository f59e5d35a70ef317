"""An S3 server with a line to it that can be cut."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack
from typing import ClassVar

from tests.object_store import object_store


class Line:
    """Carries connections to a port of this machine, as long as it is not cut.

    Attributes:
        port: its own.
        refused: connections that came while it was cut.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.refused = 0
        self._cut = self._closed = False
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Drop every connection, and each new one."""
        self._cut = True
        for end in list(self._open):
            _drop(end)

    def mend(self) -> None:
        """Carry again."""
        self._cut = False

    def close(self) -> None:
        """Leave nothing listening."""
        self._closed = True
        self.cut()
        _drop(self._listener)

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._cut:
                self.refused += 1
                _drop(near)
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                _drop(near)
                continue
            self._open |= {near, far}
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while not self._cut and (content := source.recv(1 << 16)):
                target.sendall(content)
        except OSError:
            pass
        for end in (source, target):
            self._open.discard(end)
            _drop(end)


class Store:
    """A bucket that drivers and workers reach over a `Line`."""

    CREDENTIALS: ClassVar[dict[str, str]] = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.direct = self._stack.enter_context(object_store())
        """The URI of a path, for whoever is not to be disturbed."""
        self._endpoint = self.direct("").partition("endpoint_override=")[2].partition("&")[0]
        self.line = Line(int(self._endpoint.rpartition(":")[2]))
        self._stack.callback(self.line.close)

    def proxied(self, path: str) -> str:
        """The URI of a path, over the line."""
        return self.direct(path).replace(self._endpoint, f"127.0.0.1:{self.line.port}")

    def close(self) -> None:
        """Leave nothing listening."""
        self._stack.close()


def _drop(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()
