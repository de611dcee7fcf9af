"""How an answer gets to the client, whole or broken."""

import secrets
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler

import attrs

from musproj.testing.fakes.exchange import Answer
from musproj.testing.fakes.faults import Fault
from musproj.testing.fakes.options import MIB

BOMB_BYTES = 64 * MIB
_LINGER_S = 1.0


class ResetError(ConnectionError):
    """The connection has been reset on purpose."""


@attrs.frozen(kw_only=True)
class Wire:
    """The connection to one client."""

    handler: BaseHTTPRequestHandler
    closing: threading.Event

    def reset(self) -> None:
        """Send RST, and raise.

        Raises:
            ResetError: always, so that nobody goes on.
        """
        connection: socket.socket = self.handler.connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.handler.rfile.close()  # the socket stays open as long as a file on it does
        self.handler.wfile.close()
        connection.close()
        raise ResetError

    def send_early(self, answer: Answer) -> None:
        """Answer before the body was read, then close."""
        self._head(answer, {"Content-Length": str(answer.size), "Connection": "close"})
        self._write(answer.blocks())
        self._linger()

    def send(self, answer: Answer, fault: Fault | None, content_fault: Fault | None) -> None:
        """Answer; `fault` concerns the transport, `content_fault` the bytes of a result."""
        size, blocks, extra = _content(answer, content_fault)
        kind = fault.kind if fault is not None else ""
        if kind == "process_then_reset":
            self.reset()
        if fault is not None and kind == "truncate_silent":
            self._head(answer, {**extra, "Connection": "close"})
            self._write(_first(blocks, int(fault.number("at", 100))))
            return
        self._head(answer, {**extra, "Content-Length": str(size)})
        if fault is not None and kind == "truncate":
            self._write(_first(blocks, int(fault.number("at", 100))))
            time.sleep(0.01)  # a RST overtakes what the client has not read yet
            self.reset()
        if fault is not None and kind == "drip":
            self._drip(blocks, int(fault.number("bytes", 1)), fault.number("interval", 0.01))
        elif self.handler.command != "HEAD":
            self._write(blocks)

    def _head(self, answer: Answer, headers: dict[str, str]) -> None:
        self.handler.send_response(answer.status)
        for name, value in {"Content-Type": answer.content_type, **answer.headers, **headers}.items():
            self.handler.send_header(name, value)
        if headers.get("Connection") == "close":
            self.handler.close_connection = True
        self.handler.end_headers()

    def _write(self, blocks: Iterable[bytes]) -> None:
        for block in blocks:
            self.handler.wfile.write(block)

    def _drip(self, blocks: Iterable[bytes], size: int, interval: float) -> None:
        for block in blocks:
            for at in range(0, len(block), size):
                self.handler.wfile.write(block[at : at + size])
                if self.closing.wait(interval):
                    raise ResetError

    def _linger(self) -> None:
        """Read on for a while: closing on unread bytes would send a RST, which overtakes the answer."""
        connection: socket.socket = self.handler.connection
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(0.2)
        until = time.monotonic() + _LINGER_S
        try:
            while time.monotonic() < until and connection.recv(MIB):
                pass
        except TimeoutError:
            pass  # the client has nothing more to say


def _content(answer: Answer, fault: Fault | None) -> tuple[int, Iterator[bytes], dict[str, str]]:
    kind = fault.kind if fault is not None else ""
    if kind == "gzip_bomb":
        bomb = _bomb()
        return len(bomb), iter([bomb]), {"Content-Encoding": "gzip"}
    if kind == "bad_audio":
        return answer.size, (secrets.token_bytes(len(block)) for block in answer.blocks()), {}
    if fault is not None and kind == "flip":
        return answer.size, _flipped(answer.blocks(), int(fault.number("offset", 100))), {}
    return answer.size, answer.blocks(), {}


def _first(blocks: Iterable[bytes], left: int) -> Iterator[bytes]:
    for block in blocks:
        yield block[:left]
        left -= len(block)
        if left <= 0:
            return


def _flipped(blocks: Iterable[bytes], offset: int) -> Iterator[bytes]:
    for block in blocks:
        if 0 <= offset < len(block):
            yield block[:offset] + bytes([block[offset] ^ 0xFF]) + block[offset + 1 :]
        else:
            yield block
        offset -= len(block)


@cache
def _bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)  # 31: with a gzip header
    zeros = bytes(MIB)
    return b"".join(packer.compress(zeros) for _ in range(BOMB_BYTES // MIB)) + packer.flush()
