"""A relay before a server: it carries bytes, later than it got them if so wished, until it is cut."""

import asyncio
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from musproj.testing.processes import HOST

BLOCK_BYTES = 1 << 16


class Relay:
    """Listens on a port of its own before a server on this host; use it as a context manager.

    Example:
        >>> with Relay(6379, delay_s=0.005) as relay:  # doctest: +SKIP
        ...     url = f"redis://127.0.0.1:{relay.port}/0"
    """

    def __init__(self, port: int, *, delay_s: float = 0.0) -> None:
        """Note the server's `port`, and what `delay_s` adds to each round trip."""
        self._target = port
        self._delay_s = delay_s / 2
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Cut it."""
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Close every connection and take no new one; a second call does nothing."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result()

    def drop(self) -> None:
        """Close every connection; new ones are welcome."""
        self._loop.call_soon_threadsafe(self._close_all)

    def point_at(self, port: int) -> None:
        """Lead to another server from now on, and drop every connection to the one before."""
        self._target = port
        self.drop()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, HOST, 0)

    async def _cut(self) -> None:
        self._server.close()
        self._close_all()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _close_all(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            there, back = await asyncio.open_connection(HOST, self._target)
            self._open |= {writer, back}
            try:
                await asyncio.gather(self._carry(reader, back), self._carry(there, writer))
            finally:
                self._open -= {writer, back}
                back.close()
        writer.close()

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while block := await source.read(BLOCK_BYTES):
                if self._delay_s:
                    self._loop.call_later(self._delay_s, target.write, block)
                else:
                    target.write(block)
                    await target.drain()
        self._loop.call_later(self._delay_s, _end, target)


def _end(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, RuntimeError):
        writer.write_eof()
