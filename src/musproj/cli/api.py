"""The API and, beside it, the worker: one pair under one set of signals."""

import contextlib
import signal
import socket
from collections.abc import Callable, Generator
from types import FrameType

from musproj import MusProj
from musproj.cli.companion import Companion
from musproj.http.server import GRACE_SECONDS, ApiServer

STOPPING = (signal.SIGTERM, signal.SIGINT)
WORKER_GRACE = 10.0
"""Seconds beyond its drain that the worker gets to put everything away."""


def serve_pair(mp: MusProj, listener: socket.socket, companion: Companion | None, on_ready: Callable[[], None]) -> None:
    """Serve until a signal, then let requests and jobs under way finish; a second signal ends at once.

    Args:
        mp: The installation; it stays open.
        listener: Where to accept connections.
        companion: The worker, not started yet; None where there is none.
        on_ready: Called as soon as connections are answered.

    Raises:
        ConfigurationError: the API does not start.
    """
    server = ApiServer(mp, listener, grace_seconds=GRACE_SECONDS)

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.stop()
        if companion is not None:
            companion.drain()

    with _handling(stop):
        try:
            if companion is not None:
                # Before the API has threads, and therefore before it is known whether it starts.
                companion.start()
            server.run(on_ready=lambda _url: on_ready())
        finally:
            if companion is not None:
                companion.end(mp.settings.drain_s + WORKER_GRACE)


@contextlib.contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Generator[None]:
    """Have `handler` take the stopping signals for the time of the block."""
    before = {number: signal.signal(number, handler) for number in STOPPING}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
