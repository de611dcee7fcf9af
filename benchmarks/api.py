"""Requests per second of each route over SQLite and a folder, beside a bare ASGI app on the same server.

    python benchmarks/api.py [--seconds S] [--connections 1,32] [--only WORD] [--redis] [--delay MS]

With --redis the records and the queue are on a redis-server of its own (files stay in a folder), with --delay each
round trip to it takes so many milliseconds more.

The server is one process on one core, the load another on another. CPU is the server's, user and system, in
microseconds per request. Compare the figures of one run: the last column is requests per second over the bare app's.
"""

import argparse
import asyncio
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

import attrs
import uvicorn
import uvloop

from musproj import DEFAULT_OWNER, MusProj
from musproj.application.jobs import InputRef, JobSpec
from musproj.http.server import serve
from musproj.ports.processor import Context, InputFile, Outcome, Processor, ProcessorSpec
from musproj.settings import Settings
from musproj.testing.redis_server import RedisServer
from musproj.testing.relay import Relay

TICKS = os.sysconf("SC_CLK_TCK")
WARM_UP_SECONDS = 0.5
JSON = {"content-type": "application/json"}
BARE_BODY = b'{"padding":"%s"}' % (b"x" * 400)


@attrs.frozen(kw_only=True)
class NoParams:
    level: int = 1


class Nop(Processor):
    spec = ProcessorSpec(name="nop", version="1", params=NoParams, publishes="result")

    def run(self, _inputs: Mapping[str, InputFile], _params: NoParams, _ctx: Context) -> Outcome:
        return Outcome()


@attrs.frozen
class Case:
    name: str
    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    is_keyed: bool = False

    def request(self, number: int) -> bytes:
        fields = {"host": "127.0.0.1", "accept": "*/*", "user-agent": "bench", **self.headers}
        if self.is_keyed:
            fields["idempotency-key"] = f"{os.getpid()}-{time.time_ns()}-{number}"
        if self.body:
            fields |= {**JSON, "content-length": str(len(self.body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"{self.method} {self.path} HTTP/1.1\r\n{head}\r\n".encode() + self.body


@attrs.define
class Run:
    until: float
    latencies: list[float] = attrs.field(factory=list)
    statuses: set[bytes] = attrs.field(factory=set)


class Connection(asyncio.Protocol):
    """Sends the next request when the answer to the last is there."""

    def __init__(self, case: Case, run: Run, done: "asyncio.Future[None]") -> None:
        self._case, self._run, self._done = case, run, done
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or len(body) < content_length(head):
            return
        self._run.latencies.append(time.perf_counter() - self._began)
        self._run.statuses.add(head[9:12])
        self._buffer = b""
        if time.perf_counter() < self._run.until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def _send(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._case.request(len(self._run.latencies)))


def content_length(head: bytes) -> int:
    start = head.find(b"content-length: ")
    return 0 if start < 0 else int(head[start + 16 :].partition(b"\r\n")[0])


async def load(port: int, case: Case, connections: int, seconds: float) -> Run:
    loop = asyncio.get_running_loop()
    run = Run(time.perf_counter() + seconds)
    done = [loop.create_future() for _ in range(connections)]
    for future in done:
        await loop.create_connection(lambda future=future: Connection(case, run, future), "127.0.0.1", port)
    await asyncio.gather(*done)
    return run


def measure(port: int, pid: int, case: Case, connections: int, seconds: float) -> dict[str, float]:
    uvloop.run(load(port, case, connections, WARM_UP_SECONDS))
    cpu, began = cpu_seconds(pid), time.perf_counter()
    run = uvloop.run(load(port, case, connections, seconds))
    took, cpu = time.perf_counter() - began, cpu_seconds(pid) - cpu
    assert len(run.statuses) == 1, f"{case.name}: {run.statuses}"
    ranked = sorted(run.latencies)
    count = len(ranked)
    return {
        "rate": count / took,
        "p50": ranked[count // 2] * 1e3,
        "p99": ranked[int(count * 0.99)] * 1e3,
        "cpu": cpu / count * 1e6,
        "status": float(next(iter(run.statuses))),
    }


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


# ── the servers ──


def installation(folder: Path, port: int) -> MusProj:
    where = folder / "redis"
    redis_url = where.read_text() if where.exists() else ""
    settings = Settings(data=folder / "data", port=port, redis_url=redis_url)
    return MusProj.open(settings, processors=[Nop()], is_interactive=True)


@contextmanager
def records_on_redis(folder: Path, delay_ms: float) -> Iterator[None]:
    """Let `installation` use a redis-server, `delay_ms` away, for the time of the block."""
    with RedisServer() as redis, ExitStack() as stack:
        url = redis.url
        if delay_ms:
            url = url.replace(
                str(redis.port), str(stack.enter_context(Relay(redis.port, delay_s=delay_ms / 1000)).port)
            )
        (folder / "redis").write_text(url)
        yield


def seeded(mp: MusProj, folder: Path) -> tuple[str, str]:
    """Make what the routes are asked for; return an asset and a job."""
    sound = folder / "sound.wav"
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, 44_100, 0, "NONE", ""))
        file.writeframes(b"\1\0" * 4_410)
    asset = mp.uploads.put_file(DEFAULT_OWNER, sound)
    spec = JobSpec(type="nop", inputs={"input": InputRef(asset_id=asset.asset_id)})
    return asset.asset_id, mp.jobs.submit(DEFAULT_OWNER, spec).job.job_id


async def bare(_scope: object, _receive: object, send: object) -> None:
    await send(  # type: ignore[operator]  # ASGI
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BARE_BODY))],
        }
    )
    await send({"type": "http.response.body", "body": BARE_BODY})  # type: ignore[operator]  # ASGI


def serve_here(what: str, folder: Path, port: int) -> None:
    pin(0)
    if what == "bare":
        uvicorn.run(bare, port=port, log_config=None, access_log=False, server_header=False, lifespan="off")
        return
    with installation(folder, port) as mp:
        serve(mp)


@contextmanager
def server(what: str, folder: Path, port: int) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, __file__, "--serve", what, str(folder), str(port)])  # noqa: S603 - us
    try:
        wait_until_up(port)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def wait_until_up(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            uvloop.run(load(port, Case("", "GET", "/healthz"), 1, 0))
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the server did not come up")


def pin(core: int) -> None:
    """Keep to one core where there are several, so that load and server do not take turns."""
    if hasattr(os, "sched_setaffinity") and core < (os.cpu_count() or 1):
        os.sched_setaffinity(0, {core})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def cases(asset: str, job: str, etag: str) -> Sequence[Case]:
    submit = {"type": "nop", "assetId": asset}
    return (
        Case("GET /jobs/{id}", "GET", f"/jobs/{job}"),
        Case("GET /jobs/{id} 304", "GET", f"/jobs/{job}", headers={"if-none-match": etag}),
        Case("GET /jobs/{id} unknown", "GET", "/jobs/job_00000000000000000000000000"),
        Case("GET /jobs", "GET", "/jobs?limit=20"),
        Case("GET /assets/{id}", "GET", f"/assets/{asset}"),
        Case("GET /assets", "GET", "/assets"),
        Case("GET …/versions/1", "GET", f"/assets/{asset}/versions/1"),
        Case("GET …/download", "GET", f"/assets/{asset}/download?version=1"),
        Case("GET /processors", "GET", "/processors"),
        Case("GET /healthz", "GET", "/healthz"),
        Case("POST /jobs identical", "POST", "/jobs", json.dumps(submit).encode()),
        Case("POST /jobs new, keyed", "POST", "/jobs", json.dumps({**submit, "force": True}).encode(), is_keyed=True),
        Case("POST /uploads/request", "POST", "/uploads/request", b'{"filename":"a.wav","size":4096}', is_keyed=True),
        Case("POST …/confirm again", "POST", f"/uploads/confirm/{asset}"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--connections", default="1,32")
    parser.add_argument("--only", default="", help="a word that the case's name has")
    parser.add_argument("--redis", action="store_true", help="records and queue on Redis")
    parser.add_argument("--delay", type=float, default=0.0, help="ms added to each round trip to Redis")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve_here(asked.serve[0], Path(asked.serve[1]), int(asked.serve[2]))
        return
    with tempfile.TemporaryDirectory(prefix="musproj-bench-") as name, ExitStack() as stack:
        if asked.redis:
            stack.enter_context(records_on_redis(Path(name), asked.delay))
        compare(Path(name), [int(text) for text in asked.connections.split(",")], asked.seconds, asked.only)


def compare(folder: Path, connections: Sequence[int], seconds: float, only: str) -> None:
    bare_port, port = free_port(), free_port()
    with installation(folder, port) as mp:
        asset, job = seeded(mp, folder)
    pin(1)
    print(
        f"{'route':24} {'conn':>4} {'req/s':>8} {'p50 ms':>7} {'p99 ms':>7} {'CPU µs':>7} {'status':>6} {'/ bare':>6}"
    )
    with server("bare", folder, bare_port) as bare_pid, server("api", folder, port) as pid:
        etag = etag_of(port, f"/jobs/{job}")
        for count in connections:
            base = measure(bare_port, bare_pid, Case("bare ASGI app", "GET", "/"), count, seconds)
            show("bare ASGI app", count, base, 1.0)
            for case in cases(asset, job, etag):
                if only in case.name:
                    found = measure(port, pid, case, count, seconds)
                    show(case.name, count, found, found["rate"] / base["rate"])


def etag_of(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    return connection.getresponse().headers["etag"]


def show(name: str, connections: int, found: Mapping[str, float], ratio: float) -> None:
    print(
        f"{name:24} {connections:4} {found['rate']:8.0f} {found['p50']:7.2f} {found['p99']:7.2f} "
        f"{found['cpu']:7.0f} {found['status']:6.0f} {ratio:6.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
