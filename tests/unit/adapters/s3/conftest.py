"""A real HTTP server on this host that plays what a store might do, scene by scene."""

import hashlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime

import attrs
import pytest

from musproj.adapters.s3.address import BucketAddress
from musproj.adapters.s3.client import S3Client
from musproj.adapters.s3.patience import PATIENT
from musproj.adapters.s3.signing import QuerySigner
from musproj.adapters.s3.storage import S3Storage
from musproj.ports.plugin import Credentials


@attrs.frozen
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes = attrs.field(repr=False)


@attrs.frozen
class Scene:
    """What becomes of one request."""

    reply: bytes = b""
    body_read: int | None = None
    """How much of the request's body is read before the reply; None: all."""
    ends: str = "close"
    """`close` or `reset` the connection, `keep` it, or be `silent` until the client goes."""


class StoreServer:
    """Plays its scenes in order, one per request, whichever connection that comes on."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.connections = 0
        self._scenes: list[Scene] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._listening]
        self.endpoint = "http://{}:{}".format(*self._listening.getsockname())
        threading.Thread(target=self._accept, daemon=True).start()

    def plays(self, *scenes: Scene) -> None:
        self._scenes += scenes

    def close(self) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    @staticmethod
    def reply(status: int, body: bytes = b"", *, length: int | None = None, **headers: str) -> Scene:
        """Answer; `length` is what Content-Length says, the body's unless given."""
        lines = {
            "content-length": str(len(body) if length is None else length),
            "date": format_datetime(datetime.now(UTC), usegmt=True),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value != "none")
        is_whole = length is None or length == len(body)
        ends = "keep" if is_whole and "content-length" in lines else "close"
        return Scene(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body, ends=ends)

    def refusal(self, status: int, code: str = "", **headers: str) -> Scene:
        body = f"<Error><Code>{code}</Code><Message>secret=1</Message></Error>".encode() if code else b""
        return self.reply(status, body, **headers)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError), connection, connection.makefile("rb") as reading:
            while line := reading.readline():
                method, target, _ = line.decode().split()
                headers = dict(
                    field.decode().strip().split(": ", 1) for field in iter(reading.readline, b"\r\n") if field
                )
                headers = {name.lower(): value for name, value in headers.items()}
                scene = self._scenes.pop(0)
                wanted = int(headers.get("content-length", 0)) if scene.body_read is None else scene.body_read
                body = reading.read(wanted)
                if len(body) < wanted:
                    return  # the client went away
                self.seen.append(Request(method, target, headers, body))
                connection.sendall(scene.reply)
                if scene.ends == "silent":
                    reading.read()
                if scene.ends == "reset":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if scene.ends != "keep":
                    return


@pytest.fixture
def server() -> Iterator[StoreServer]:
    server = StoreServer()
    yield server
    server.close()


@pytest.fixture
def pauses() -> list[float]:
    """What was waited, without waiting."""
    return []


@pytest.fixture
def open_client(server: StoreServer, pauses: list[float]) -> Iterator[Callable[..., S3Client]]:
    clients: list[S3Client] = []

    def open_(patience=None, **changes) -> S3Client:
        address = BucketAddress.from_url(f"s3://bucket?endpoint={server.endpoint}")
        signer = QuerySigner(address, Credentials(access_key_id="AK", secret_access_key="SECRET"))
        patience = patience or attrs.evolve(PATIENT, connect_s=2, read_s=2)
        clients.append(S3Client(address, signer, **{"patience": patience, "sleep": pauses.append} | changes))
        return clients[-1]

    yield open_
    for client in clients:
        client.close()


@pytest.fixture
def client(open_client: Callable[..., S3Client]) -> S3Client:
    return open_client()


@pytest.fixture
def storage(client: S3Client) -> S3Storage:
    return S3Storage(client)


@pytest.fixture
def sha256() -> Callable[[bytes], str]:
    return lambda content: hashlib.sha256(content).hexdigest()
