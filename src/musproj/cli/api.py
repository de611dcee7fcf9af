"""The API's server process: uvicorn under our signal handlers, with the worker beside it."""

import contextlib
import signal
import socket
from collections.abc import Callable, Generator, Iterator
from types import FrameType

import uvicorn

from musproj import MusProj
from musproj.cli.companion import Companion
from musproj.errors import ConfigurationError
from musproj.http.app import create_app

STOPPING = (signal.SIGTERM, signal.SIGINT)
WORKER_GRACE = 10.0
"""Seconds beyond its drain that the worker gets to put everything away."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which would end this process before the worker has drained."""

    on_start: Callable[[], None]

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.started:
            self.on_start()


class Api:
    """The API of one opened installation on one socket."""

    def __init__(self, mp: MusProj, listener: socket.socket, companion: Companion | None) -> None:
        """Prepare the server; nothing is served yet."""
        self._listener = listener
        self._companion = companion
        self._drain_s = mp.settings.drain_s
        self._server = _Server(
            uvicorn.Config(
                create_app(mp),
                log_config=None,
                access_log=False,
                lifespan="on",
                server_header=False,
                timeout_graceful_shutdown=max(1, round(self._drain_s)),
            )
        )

    def run(self, *, on_start: Callable[[], None]) -> None:
        """Serve until a signal, then let requests and jobs under way finish; a second signal ends at once.

        Raises:
            ConfigurationError: the server does not start; the log says why.
        """
        self._server.on_start = on_start
        with _handling(self._stop):
            try:
                if self._companion is not None:
                    self._companion.start()
                self._server.run(sockets=[self._listener])
            finally:
                self._end_companion()
        if not self._server.started:
            raise ConfigurationError("The API does not start.", hint="Run it again with -vv for the reason.")

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._server.force_exit = self._server.should_exit
        self._server.should_exit = True
        if self._companion is not None:
            self._companion.drain()

    def _end_companion(self) -> None:
        if self._companion is None:
            return
        if not self._companion.is_ending:
            self._companion.drain()
        self._companion.wait(self._drain_s + WORKER_GRACE)


@contextlib.contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Have `handler` take the stopping signals for the time of the block."""
    before = {number: signal.signal(number, handler) for number in STOPPING}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
