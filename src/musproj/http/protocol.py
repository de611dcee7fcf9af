"""What uvicorn leaves open at the head of a request: how large it may grow, and how long it may take."""

import asyncio
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from musproj.errors import MusProjError
from musproj.http import problems
from musproj.http.middleware import MAX_HEADER_BYTES
from musproj.http.refusals import HeadersTooLargeError, RequestTimeoutError

HEAD_SECONDS = 10.0
"""To the end of the headers."""
LOOK_SECONDS = 1.0

_STATUS_LINES = {408: b"HTTP/1.1 408 Request Timeout\r\n", 431: b"HTTP/1.1 431 Request Header Fields Too Large\r\n"}


class GuardedProtocol(HttpToolsProtocol):
    """Refuses a head that goes on and on; the app refuses one that is whole, but too large."""

    head_since: float | None = None
    """On the loop's clock; None while no head is under way."""
    has_spoken = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """Start the clock: a client that connects has something to say."""
        super().connection_made(transport)
        self.head_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Count what belongs to an unfinished head."""
        before = self.head_since
        super().data_received(data)
        if before is None or self.head_since is not before:
            return  # what a head began with shares its block with the request before it
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEADER_BYTES:
            self.refuse(HeadersTooLargeError())

    def on_message_begin(self) -> None:
        """Start the clock of a head."""
        super().on_message_begin()
        self.has_spoken = True
        self.head_since = self.loop.time()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Stop the clock."""
        self.head_since = None
        super().on_headers_complete()

    def refuse(self, error: MusProjError) -> None:
        """Answer for the app, which has not seen this request, and hang up."""
        self.head_since = None
        if self.transport.is_closing():
            return
        document = problems.problem(error, instance="", request_id="")
        body = problems.encode({key: value for key, value in document.items() if value != ""})
        self.transport.write(
            _STATUS_LINES[document["status"]]
            + b"content-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            + body
        )
        self.transport.close()


async def watch_heads(connections: Iterable[Any], *, seconds: float = HEAD_SECONDS) -> None:
    """Refuse heads that take longer than `seconds`; one look a second costs less than a timer per request."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        overdue = asyncio.get_running_loop().time() - seconds
        for connection in list(connections):
            since = getattr(connection, "head_since", None)
            if since is None or since > overdue:
                continue
            if not connection.has_spoken:
                connection.transport.close()
            else:
                connection.refuse(RequestTimeoutError(f"The headers did not arrive in {seconds:.0f} s."))
