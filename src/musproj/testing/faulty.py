"""A proxy before an S3 server that misbehaves on order: refuses, hangs up, loses replies, cuts and spoils bodies.

It passes the client's `Host` on unchanged, so the signatures stay valid.
"""

import http.client
import re
import socket
import struct
import threading
import time
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal, Self

import attrs

from musproj.testing.processes import HOST

BLOCK_BYTES = 1 << 20

Deed = Literal["refuse", "reset", "lose_reply", "truncate", "spoil", "delay"]
"""Answer with a status · hang up before the server hears of it · hang up after it answered · send half of the body ·
turn a bit of the body over · wait."""


@attrs.define(kw_only=True)
class Fault:
    """What to do to which requests."""

    deed: Deed
    method: str = ".*"
    """A regular expression, as is `path`; both match as a whole."""
    path: str = ".*"
    times: int = 1
    """To so many requests, then never again."""
    status: int = 503
    code: str = "SlowDown"
    retry_after: int | None = None
    seconds: float = 1.0
    """Of a delay."""

    def meets(self, method: str, path: str) -> bool:
        """Tell whether it concerns a request."""
        return self.times > 0 and bool(re.fullmatch(self.method, method) and re.fullmatch(self.path, path))


class FaultyProxy:
    """Listens on a port of its own before a server on this host; use it as a context manager."""

    def __init__(self, port: int) -> None:
        """Note the server's `port`."""
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            target = port

            def fault(self) -> Fault | None:
                return proxy._take(self.command, self.path.partition("?")[0])

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.seen: list[str] = []
        """Method and path of every request, in order."""

    def __enter__(self) -> Self:
        """Begin to listen."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        """Where it is."""
        return f"http://{HOST}:{self.port}"

    def order(self, fault: Fault) -> None:
        """Misbehave from now on."""
        with self._lock:
            self._faults.append(fault)

    def behave(self) -> None:
        """Forget all orders."""
        with self._lock:
            self._faults.clear()

    def _take(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.seen.append(f"{method} {path}")
            for fault in self._faults:
                if fault.meets(method, path):
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target = 0

    def fault(self) -> Fault | None:
        raise NotImplementedError

    def handle_any(self) -> None:
        fault = self.fault()
        deed = fault.deed if fault else None
        if fault and deed == "refuse":
            self._refuse(fault)
        elif deed == "reset":
            self._hang_up()
        else:
            if fault and deed == "delay":
                time.sleep(fault.seconds)
            with suppress(OSError, http.client.HTTPException):
                self._forward(deed)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815 - the base class looks for these names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    def _forward(self, deed: Deed | None) -> None:
        with closing(http.client.HTTPConnection(HOST, self.target, timeout=60)) as upstream:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders()
            self._pass_on(upstream)
            response = upstream.getresponse()
            if deed == "lose_reply":
                response.read()
                self._hang_up()
                return
            self._answer(response, deed)

    def _pass_on(self, upstream: http.client.HTTPConnection) -> None:
        left = int(self.headers.get("content-length") or 0)
        while left and (block := self.rfile.read(min(left, BLOCK_BYTES))):
            left -= len(block)
            upstream.send(block)

    def _answer(self, response: http.client.HTTPResponse, deed: Deed | None) -> None:
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        length = int(response.headers.get("content-length") or 0)
        if "content-length" not in response.headers and self.command != "HEAD":
            self.send_header("connection", "close")
            self.close_connection = True
        self.end_headers()
        sent = 0
        while block := response.read(BLOCK_BYTES):
            if deed == "spoil" and not sent:
                block = bytes([block[0] ^ 1]) + block[1:]
            if deed == "truncate" and sent + len(block) > length // 2:
                self.wfile.write(block[: max(0, length // 2 - sent)])
                self._hang_up()
                return
            self.wfile.write(block)
            sent += len(block)

    def _refuse(self, fault: Fault) -> None:
        body = f"<Error><Code>{fault.code}</Code><Message>ordered</Message></Error>".encode()
        self.send_response_only(fault.status)
        if fault.retry_after is not None:
            self.send_header("Retry-After", str(fault.retry_after))
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = True

    def _hang_up(self) -> None:
        """Reset the connection, as a crash of the server does."""
        self.wfile.flush()
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True
