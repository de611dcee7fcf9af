"""What a job costs on Redis: beside a stock RQ worker, and in commands, bytes and idle time.

    python benchmarks/redis_queue.py [--jobs N] [--idle SECONDS]

A redis-server of its own, `musproj work` as a real process, and beside it `rq worker` with RQ's own enqueue and a
function that does nothing. Commands are counted by the server, those inside scripts too. Compare figures of one run.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from redis import Redis
from rq import Queue

from musproj import DEFAULT_OWNER, MusProj
from musproj.domain.ids import AssetId
from musproj.testing.redis_server import RedisServer
from musproj.testing.workers import Installation, add_asset, submit, wait_for_end

QUIET = ("INFO", "CONFIG")
"""What the counting itself costs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200, help="no-op jobs per rate")
    parser.add_argument("--latencies", type=int, default=30, help="jobs submitted one by one")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of doing nothing")
    asked = parser.parse_args()
    with RedisServer() as redis, tempfile.TemporaryDirectory(prefix="musproj-bench-") as folder:
        installation = Installation(
            folder=Path(folder), lease_s=30.0, stores={"redis_url": redis.url, "queue_name": f"bench-{uuid4().hex[:6]}"}
        )
        with installation.opened() as mp:
            asset_id = add_asset(mp)
            ours(redis, installation, mp, asset_id, asked.jobs, asked.latencies)
            stock(redis, asked.jobs, asked.latencies)
            idle(redis, installation, asked.idle)
            memory(redis, installation, mp)


# ── rate and latency ─────────────────────────────────────────────────────────────────────────────


def ours(
    redis: RedisServer, installation: Installation, mp: MusProj, asset_id: AssetId, jobs: int, single: int
) -> None:
    begun = time.perf_counter()
    waiting = [submit(mp, asset_id, "look", seed=n) for n in range(jobs)]
    show("musproj: submit", f"{jobs / (time.perf_counter() - begun):8.0f} jobs/s")
    before = commands(redis)
    with installation.worker(concurrency=1, burst=True) as worker:
        worker.wait(600)
    counted = commands(redis) - before
    ended = sorted(job.finished_at.timestamp() for job in wait_for_end(mp, *waiting) if job.finished_at)
    show("musproj work: no-op jobs", f"{(jobs - 1) / (ended[-1] - ended[0]):8.1f} jobs/s")
    show("musproj work: commands per job", f"{counted / jobs:8.1f}")
    with installation.worker(concurrency=1) as worker:
        worker.wait_for("worker_started")
        times = []
        for seed in range(single):
            time.sleep(0.05)
            (job,) = wait_for_end(mp, submit(mp, asset_id, "look", seed=-seed - 1))
            assert job.finished_at is not None
            times.append(job.finished_at.timestamp() - job.created_at.timestamp())
    show("musproj work: submit to done", milliseconds(times))


def stock(redis: RedisServer, jobs: int, single: int) -> None:
    client = Redis.from_url(redis.url)
    queue = Queue(f"stock-{uuid4().hex[:6]}", connection=client)
    begun = time.perf_counter()
    waiting = [queue.enqueue(os.getpid) for _ in range(jobs)]
    show("RQ: enqueue", f"{jobs / (time.perf_counter() - begun):8.0f} jobs/s")
    before = commands(redis)
    command = [str(Path(sys.executable).with_name("rq")), "worker", "--url", redis.url, "--quiet", queue.name]
    subprocess.run([*command, "--burst"], check=True)  # noqa: S603 - RQ's own command
    counted = commands(redis) - before
    ended = sorted(job.ended_at.timestamp() for job in _fetched(waiting) if job.ended_at)
    show("rq worker: no-op jobs", f"{(jobs - 1) / (ended[-1] - ended[0]):8.1f} jobs/s")
    show("rq worker: commands per job", f"{counted / jobs:8.1f}")
    with running(command):
        times = []
        for _ in range(single + 1):
            time.sleep(0.05)
            job = queue.enqueue(os.getpid)
            while job.get_status(refresh=True) not in ("finished", "failed"):
                time.sleep(0.0005)
            job.refresh()
            times.append(job.ended_at.timestamp() - job.enqueued_at.timestamp())
    show("rq worker: enqueue to done", milliseconds(times[1:]))  # the first one waited for the worker's start
    client.close()


def _fetched(jobs: list) -> list:
    for job in jobs:
        job.refresh()
    return jobs


# ── commands and bytes ───────────────────────────────────────────────────────────────────────────


def idle(redis: RedisServer, installation: Installation, seconds: float) -> None:
    with installation.worker(concurrency=1) as worker:
        worker.wait_for("worker_started")
        time.sleep(5)
        before = commands(redis)
        time.sleep(seconds)
        show("musproj work, idle", f"{(commands(redis) - before) / seconds * 60:8.1f} commands/min")


def memory(redis: RedisServer, installation: Installation, mp: MusProj) -> None:
    asset_id = add_asset(mp, seed=7)
    jobs = [submit(mp, asset_id, "copy", seed=n) for n in range(2)]
    with installation.worker(concurrency=1, burst=True) as worker:
        worker.wait(600)
    wait_for_end(mp, *jobs)
    names = [key.decode() for key in redis.command("KEYS", f"asset:{asset_id}*")]  # a benchmark's own server
    apart = f"asset:{asset_id}:provenance"
    sizes = {name: int(redis.command("MEMORY", "USAGE", name)) for name in names}
    show("asset with 3 versions", f"{sum(sizes.values()) - sizes[apart]:8d} bytes, and {sizes[apart]} of provenance")
    show("ended job", f"{int(redis.command('MEMORY', 'USAGE', f'job:{jobs[0].job_id}')):8d} bytes")
    encodings = {redis.command("OBJECT", "ENCODING", f"asset:{asset_id}:v:{n}").decode() for n in (1, 2, 3)}
    show("versions are kept as", ", ".join(sorted(encodings)))
    assert len(mp.assets.versions(DEFAULT_OWNER, asset_id).items) == 3


def commands(redis: RedisServer) -> int:
    return sum(count for name, count in redis.calls().items() if name.split("|")[0].upper() not in QUIET)


# ── printing ─────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def running(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command)  # noqa: S603 - RQ's own command
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def milliseconds(values: list[float]) -> str:
    ordered = sorted(1000 * value for value in values)
    return f"median {statistics.median(ordered):6.1f} ms, p95 {ordered[int(0.95 * (len(ordered) - 1))]:6.1f} ms"


def show(name: str, text: str) -> None:
    print(f"{name:34} {text}", flush=True)


if __name__ == "__main__":
    main()
