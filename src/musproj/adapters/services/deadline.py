"""A deadline for a whole exchange: httpx limits single waits, so that headers sent byte by byte would go on for ever."""

import ssl
import threading
import time
from typing import Any

import httpcore

DEADLINE = "musproj.deadline"
"""Extension of a request: monotonic time after which nothing of it is waited for."""

_local = threading.local()


def set_deadline(at: float | None) -> None:
    """Let what this thread reads and writes from now on end by then."""
    _local.at = at


def _left(timeout: float | None, error: type[Exception]) -> float | None:
    at: float | None = getattr(_local, "at", None)
    if at is None:
        return timeout
    left = at - time.monotonic()
    if left <= 0:
        raise error("the exchange ran over its deadline")
    return left if timeout is None else min(timeout, left)


class TimedStream(httpcore.NetworkStream):
    """A connection whose every wait ends with the deadline of the exchange."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        """Stand before `stream`."""
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what has come."""
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of it."""
        self._stream.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Go on encrypted, under the same deadline."""
        left = _left(timeout, httpcore.ConnectTimeout)
        return TimedStream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        """Return what the connection knows of itself."""
        return self._stream.get_extra_info(info)
