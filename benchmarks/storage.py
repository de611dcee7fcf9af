"""The embedded store beside a plain copy, and what a signed URL costs.

Usage: python benchmarks/storage.py [FOLDER]      FOLDER is on the disk to measure; a temporary one by default
"""

import http.client
import io
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route

from musproj.adapters.local.gate import LocalGate
from musproj.adapters.local.signing import LocalSigner, SigningKeys
from musproj.adapters.local.storage import LocalStorage
from musproj.adapters.system import SystemClock
from musproj.domain.keys import ObjectKey
from musproj.http.hop import Pool
from musproj.http.store import store_routes
from musproj.ports.storage import BLOCK_BYTES

MIB = 1 << 20
HOUR = timedelta(hours=1)
KEY = ObjectKey("assets/ast_01jd7qz5x2v9k3m8n4p6r0t1wy/v1/source.wav")
URL = "https://api.example.com"


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    signing()
    with tempfile.TemporaryDirectory(dir=folder) as name:
        for size, rounds in ((MIB, 15), (100 * MIB, 5)):
            copying(Path(name), size, rounds)
        serving(Path(name), 100 * MIB)


# ── signing ──


def signing() -> None:
    signer = LocalSigner(SigningKeys(os.urandom(32)), URL, SystemClock(), None)
    sha = "ab" * 32
    query = dict(pair.split("=", 1) for pair in urlsplit(sign_get(signer, "a.wav")).query.split("&"))
    cases: dict[str, Callable[[], object]] = {
        "PUT with size and sha256": lambda: signer.sign_put(
            KEY, content_type="audio/wav", size=MIB, sha256=sha, expires_in=HOUR
        ),
        "GET": lambda: sign_get(signer, "take one.wav"),
        "GET, name not in ASCII": lambda: sign_get(signer, "Täke №1.wav"),
        "check of a GET": lambda: signer.allows(KEY, query),
    }
    print("signed URLs                         µs each")
    for name, call in cases.items():
        print(f"  {name:32} {microseconds(call):8.1f}")


def sign_get(signer: LocalSigner, filename: str) -> str:
    return signer.sign_get(KEY, filename=filename, content_type="audio/wav", expires_in=HOUR).url


def microseconds(call: Callable[[], object], number: int = 5000) -> float:
    best = float("inf")
    for _ in range(7):
        began = time.perf_counter()
        for _ in range(number):
            call()
        best = min(best, time.perf_counter() - began)
    return best / number * 1e6


# ── put and read ──


def copying(folder: Path, size: int, rounds: int) -> None:
    source = folder / "source"
    source.write_bytes(os.urandom(MIB) * (size // MIB))
    storage = LocalStorage(folder / "objects")
    numbers = iter(range(1_000_000))

    def put() -> None:
        with source.open("rb", buffering=0) as opened:
            storage.put(ObjectKey(f"put/{next(numbers)}"), opened, size=size, content_type="audio/wav")

    def put_unsynced() -> None:
        with without_fsync():
            put()

    def read() -> None:
        for _ in storage.read(ObjectKey("put/0")):
            pass

    plain = {"plain copy": lambda: copy(source, folder / "copy", sync=False)}
    writes = {
        **plain,
        "plain copy, fsync": lambda: copy(source, folder / "copy", sync=True),
        "put": put,
        "put, fsync left out": put_unsynced,
    }
    report(f"write {size // MIB} MiB", measured(writes, rounds), size)
    reads = {"plain read": lambda: copy(source, None, sync=False), "read": read}
    report(f"read {size // MIB} MiB", measured(reads, rounds), size)
    for stored in storage.list("put/"):
        storage.delete(stored.key)
    storage.close()


def copy(source: Path, target: Path | None, *, sync: bool) -> None:
    with source.open("rb", buffering=0) as reading, (target or Path(os.devnull)).open("wb", buffering=0) as writing:
        while block := reading.read(BLOCK_BYTES):
            if target:
                writing.write(block)
        if sync:
            os.fsync(writing.fileno())
    if target:
        target.unlink()


@contextmanager
def without_fsync() -> Iterator[None]:
    real, os.fsync = os.fsync, lambda _: None
    try:
        yield
    finally:
        os.fsync = real


# ── through the server ──


def serving(folder: Path, size: int) -> None:
    storage, clock = LocalStorage(folder / "served"), SystemClock()
    with closing(Pool("store", 16)) as pool, socket.create_server(("127.0.0.1", 0)) as listening:
        url = "http://{}:{}".format(*listening.getsockname())
        signer = LocalSigner(SigningKeys(os.urandom(32)), url, clock, None)
        storage.put(KEY, io.BytesIO(bytes(size)), size=size, content_type="audio/wav")
        path = storage.path(KEY)

        def starlette_file(_: Request) -> FileResponse:
            return FileResponse(path)

        routes = [*store_routes(LocalGate(storage, signer, clock), pool.run), Route("/file", starlette_file)]
        with running(Starlette(routes=routes), listening):
            signed = sign_get(signer, "a.wav")
            gets = {
                "Starlette's FileResponse": lambda: fetch(f"{url}/file", size),
                "GET /_store/": lambda: fetch(signed, size),
            }
            report(f"GET {size // MIB} MiB over HTTP", measured(gets, 5), size)
            numbers = iter(range(1_000_000))

            def upload() -> None:
                key = ObjectKey(f"put/{next(numbers)}")
                put = signer.sign_put(key, content_type="audio/wav", size=size, sha256=None, expires_in=HOUR)
                send(put.url, dict(put.headers), path)

            report(f"PUT {size // MIB} MiB over HTTP", measured({"PUT /_store/": upload}, 5), size)
    storage.close()


@contextmanager
def running(app: Starlette, listening: socket.socket) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def fetch(url: str, size: int) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer, buffer, seen = connection.getresponse(), bytearray(BLOCK_BYTES), 0
    while count := answer.readinto(buffer):
        seen += count
    connection.close()
    assert seen == size


def send(url: str, headers: dict[str, str], path: Path) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, blocksize=BLOCK_BYTES)
    with path.open("rb") as body:
        connection.request("PUT", f"{parts.path}?{parts.query}", body, headers)
    assert connection.getresponse().status == 200
    connection.close()


# ── report ──


def measured(calls: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each, measured in turn so that all meet the same machine."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            os.sync()  # what the one before left to be written is not this one's
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(found) for name, found in seconds.items()}


def report(title: str, seconds: dict[str, float], size: int) -> None:
    first = next(iter(seconds.values()))
    print(f"\n{title:34}     MB/s        ms   × first")
    for name, found in seconds.items():
        print(f"  {name:32} {size / found / 1e6:8.0f} {found * 1e3:9.2f} {found / first:9.2f}")


if __name__ == "__main__":
    main()
