"""A real server on the loopback that says exactly the bytes a test gives it, and notes what it was sent."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

Answer = Callable[[socket.socket, bytes], None]
"""Gets the connection and the head of a request; the connection is closed after it unless it returns "keep"."""


class RawServer:
    """Answers every request by `answer`; `requests` are the heads, `connections` how many there were."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.place = f"127.0.0.1:{self.port}"
        self.origin = f"http://{self.place}"
        self._open = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            while head := self._head(connection):
                self.requests.append(head)
                if self.answer(connection, head) != "keep":
                    return

    @staticmethod
    def _head(connection):
        data = b""
        while b"\r\n\r\n" not in data:
            part = connection.recv(65536)
            if not part:
                return b""
            data += part
        return data

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # close alone does not wake accept
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    """Start servers: `serve(b"HTTP/1.1 ...")`, or with a function of the connection and the request's head."""
    with contextlib.ExitStack() as stack:

        def start(answer):
            def say(connection, head):
                connection.sendall(answer)

            server = RawServer(say if isinstance(answer, bytes) else answer)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def http() -> Callable[..., bytes]:
    """Write an answer: `http(200, b"body", content_type="audio/wav")`."""

    def write(status=200, body=b"", *, keep=False, **headers):
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if not keep:  # said, or a client may send its next request into the closing connection
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode() + body

    return write


@pytest.fixture
def drip() -> Callable[..., None]:
    """Send bytes one by one."""

    def send(connection, data, pause):
        for number in range(len(data)):
            connection.sendall(data[number : number + 1])
            time.sleep(pause)

    return send
