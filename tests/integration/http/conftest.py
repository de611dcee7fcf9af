import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest

from musproj import MusProj, Settings
from musproj.http.server import ApiServer, listen
from musproj.testing.trouble import PROCESSORS
from musproj.testing.workers import Installation

PATIENCE_SECONDS = 20


@attrs.frozen
class Served:
    """A real server over SQLite and a folder, and a client of it."""

    mp: MusProj
    url: str
    port: int
    server: ApiServer
    client: httpx.Client

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)
        connection.settimeout(PATIENCE_SECONDS)
        return connection

    def talk(self, *blocks: bytes) -> bytes:
        """Send raw bytes and return all that comes until the server hangs up."""
        with self.connect() as connection:
            with suppress(ConnectionError):  # it may hang up before it has heard all
                for block in blocks:
                    connection.sendall(block)
            return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    found = b""
    with suppress(ConnectionResetError):  # it hung up while more was on the way
        while block := connection.recv(65_536):
            found += block
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@contextmanager
def serving(folder: Path, **options: Any) -> Iterator[Served]:
    """Serve in a thread of this process, so that coverage sees it."""
    settings = Settings(data=folder, port=free_port(), **options)
    with ExitStack() as stack:
        mp = stack.enter_context(MusProj.open(settings, processors=PROCESSORS))
        listener = stack.enter_context(listen(settings))
        server = ApiServer(mp, listener)
        ready = threading.Event()
        thread = threading.Thread(
            target=server.run, kwargs={"on_ready": lambda _url: ready.set(), "settle": False}, daemon=True
        )
        thread.start()
        assert ready.wait(PATIENCE_SECONDS)
        url = f"http://127.0.0.1:{settings.port}"
        client = stack.enter_context(httpx.Client(base_url=url, timeout=PATIENCE_SECONDS))
        try:
            yield Served(mp, url, settings.port, server, client)
        finally:
            client.close()
            server.stop()
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()


@pytest.fixture
def served(tmp_path) -> Iterator[Served]:
    with serving(tmp_path) as found:
        yield found


@pytest.fixture
def serve_with(tmp_path) -> Iterator[Callable[..., Served]]:
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(serving(tmp_path, **options))


@pytest.fixture
def worker(tmp_path):
    """Run a real worker process beside the server."""
    installation = Installation(folder=tmp_path, lease_s=30.0)
    with installation.worker() as process:
        yield process
        process.terminate()
