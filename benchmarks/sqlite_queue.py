"""The embedded queue beside bare SQLite: put, claim + run + acknowledge, latency, several processes.

Usage: python benchmarks/sqlite_queue.py [FOLDER] [JOBS]      FOLDER is on the disk to measure; a temporary one by default

Bare SQLite is the floor: the same two durable transactions per job on one small table, and nothing else. Both are
measured in turn in each round, because a disk's fsync is never the same twice; trust the ratios.
"""

import random
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import attrs

from musproj.adapters.local.assets import LocalAssetStore
from musproj.adapters.local.database import LocalDatabase
from musproj.adapters.local.jobs import LocalJobStore
from musproj.adapters.local.queue import LocalJobQueue
from musproj.adapters.system import SystemClock
from musproj.domain.asset import Asset
from musproj.domain.ids import DEFAULT_OWNER
from musproj.domain.job import Job
from musproj.domain.ledger import Committed, Granted, Rules
from musproj.ports.changes import ChangeFeed
from musproj.ports.jobs import Beat, Publication
from musproj.testing.records import new_asset, new_job, new_worker, source_version
from musproj.testing.threads import at_once

CLOCK = SystemClock()
RULES = Rules()
WORKER = new_worker(types=["noop"])
ROUNDS = 5
SAMPLES = 60
"""Jobs whose latency is measured."""
SPAWN = get_context("spawn")


@attrs.frozen
class Installation:
    """The stores on one file, and an asset to make jobs on."""

    database: LocalDatabase
    jobs: LocalJobStore
    queue: LocalJobQueue
    asset: Asset

    def new_jobs(self, count: int) -> list[Job]:
        """Return jobs that are no twins."""
        return [
            new_job(self.asset, CLOCK.now(), "noop", params={"number": number}, force=True) for number in range(count)
        ]

    def put(self, jobs: list[Job]) -> None:
        """Submit."""
        for job in jobs:
            self.jobs.submit(job)

    def run_all(self) -> int:
        """Claim and commit until nothing is left."""
        done = 0
        while run := self.queue.claim(WORKER):
            self.finish(run)
            done += 1
        return done

    def finish(self, run: Granted) -> None:
        """End a run that did nothing."""
        answer = self.jobs.commit(run.job.job_id, run.token, Publication())
        assert isinstance(answer, Committed)
        self.queue.ack(run.job.job_id)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    print(f"SQLite {sqlite3.sqlite_version}, {count} jobs, synchronous=FULL; medians of {ROUNDS} rounds, in turn")
    with tempfile.TemporaryDirectory(dir=folder) as name:
        rates(Path(name), count)
        backlog(Path(name))
        latencies(Path(name))
        processes(Path(name), count)


# ── rates in one process ──


def rates(folder: Path, count: int) -> None:
    cases = (
        "bare put",
        "bare claim + ack",
        "put",
        "claim + run + ack",
        "put, 32 threads",
        "claim + run + ack, 32 threads",
    )
    found: dict[str, list[float]] = {case: [] for case in cases}
    for number in range(ROUNDS):
        bare = Bare(folder / f"bare-{number}.db")
        with installation(folder / f"rates-{number}.db") as one:
            for case, value in one_round(bare, one, count):
                found[case].append(value)
        bare.close()
    print("\nin one process                      per second        range    × bare")
    for case, values in found.items():
        floor = found["bare put" if "put" in case else "bare claim + ack"]
        ratio = statistics.median(value / base for value, base in zip(values, floor, strict=True))
        line = f"  {case:32} {statistics.median(values):11,.0f}  {min(values):6,.0f} … {max(values):6,.0f}"
        print(f"{line}  {ratio:6.2f}")


def one_round(bare: "Bare", one: Installation, count: int) -> Iterator[tuple[str, float]]:
    one_thread, many = one.new_jobs(count), one.new_jobs(count)
    yield "bare put", rate(count, lambda: bare.put(count))
    yield "put", rate(count, lambda: one.put(one_thread))
    yield "bare claim + ack", rate(count, bare.run_all)
    yield "claim + run + ack", rate(count, one.run_all)
    shares = [partial(one.put, many[start::32]) for start in range(32)]
    yield "put, 32 threads", rate(count, lambda: at_once(shares))
    yield "claim + run + ack, 32 threads", rate(count, lambda: at_once([one.run_all] * 32))


class Bare:
    """What SQLite alone does: one row per job, one durable transaction per step."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.execute("CREATE TABLE job(id INTEGER PRIMARY KEY, status TEXT, token TEXT, body TEXT)")
        self.connection.execute("CREATE INDEX ready ON job(id) WHERE status = 'queued'")

    def put(self, count: int) -> None:
        for _ in range(count):
            self.step("INSERT INTO job(status, body) VALUES('queued', ?)", ("x" * 500,))

    def run_all(self) -> None:
        claim = """
            UPDATE job SET status = 'running', token = ?
            WHERE id = (SELECT id FROM job WHERE status = 'queued' ORDER BY id LIMIT 1)
        """
        done = 0
        while self.step(claim, ("t" * 32,)):
            done += 1
            self.step("UPDATE job SET status = 'succeeded' WHERE id = ?", (done,))

    def step(self, sql: str, values: tuple[object, ...]) -> int:
        self.connection.execute("BEGIN IMMEDIATE")
        changed = self.connection.execute(sql, values).rowcount
        self.connection.execute("COMMIT")
        return changed

    def close(self) -> None:
        self.connection.close()


def rate(count: int, call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return count / (time.perf_counter() - began)


# ── a long queue ──


def backlog(folder: Path) -> None:
    """Ask for what no worker waits for: the look of a claim, without a transaction."""
    nobody = new_worker(types=["enhance", "noop"], limits={"noop": 0})
    with installation(folder / "backlog.db") as one:
        found = {"empty": microseconds(lambda: one.queue.claim(nobody))}
        jobs = one.new_jobs(10_000)
        at_once([partial(one.put, jobs[start::50]) for start in range(50)])
        found["10,000 waiting"] = microseconds(lambda: one.queue.claim(nobody))
        found["claim + run + ack there"] = 1e6 / rate(300, lambda: [one.finish(claimed(one)) for _ in range(300)])
    print("\na claim that finds nothing                  µs")
    for case, value in found.items():
        print(f"  {case:32} {value:11.1f}")


def claimed(one: Installation) -> Granted:
    run = one.queue.claim(WORKER)
    assert run is not None
    return run


def microseconds(call: Callable[[], object], number: int = 2000) -> float:
    return min(1e6 / rate(number, lambda: [call() for _ in range(number)]) for _ in range(5))


# ── latency ──


def latencies(folder: Path) -> None:
    """From before the submit until a waiting worker has the job, in the same process and in another."""
    print("\nsubmit → claimed, ms                    median     p95     max")
    with installation(folder / "latency.db") as one:
        told: dict[str, float] = {}
        stop = threading.Event()
        waiting = threading.Thread(target=wait_for_jobs, args=(one, told, stop.is_set))
        waiting.start()
        submitted = submit_now_and_then(one)
        waiting_for(lambda: len(told) == len(submitted))
        stop.set()
        waiting.join()
        report("another thread", submitted, told)
        claims: SimpleQueue[tuple[str, float] | None] = SPAWN.SimpleQueue()
        worker = SPAWN.Process(target=worker_process, args=(one.database.path, claims))
        worker.start()
        assert claims.get() is None
        submitted = submit_now_and_then(one)
        report("another process", submitted, dict(filter(None, [claims.get() for _ in submitted])))
        worker.terminate()
        worker.join()


def worker_process(path: Path, claims: "SimpleQueue[tuple[str, float] | None]") -> None:
    with installation(path) as one:
        told = Told(claims)
        claims.put(None)
        wait_for_jobs(one, told, lambda: False)


class Told(dict[str, float]):
    """Sends what it is told to the process that asked."""

    def __init__(self, claims: "SimpleQueue[tuple[str, float] | None]") -> None:
        super().__init__()
        self.claims = claims

    def __setitem__(self, job_id: str, moment: float) -> None:
        self.claims.put((job_id, moment))


def wait_for_jobs(one: Installation, told: dict[str, float], is_over: Callable[[], bool]) -> None:
    """Claim as a supervisor does: when the feed speaks."""
    feed: ChangeFeed = one.queue.listen()
    while not is_over():
        while run := one.queue.claim(WORKER):
            told[run.job.job_id] = time.monotonic()
            one.finish(run)
        while not is_over() and not feed.poll():
            time.sleep(feed.interval)


def submit_now_and_then(one: Installation) -> dict[str, float]:
    submitted = {}
    for job in one.new_jobs(SAMPLES):
        time.sleep(random.uniform(0.02, 0.05))  # noqa: S311 - no secret
        submitted[job.job_id] = time.monotonic()
        one.jobs.submit(attrs.evolve(job, run_at=CLOCK.now()))
    return submitted


def waiting_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


def report(case: str, submitted: dict[str, float], told: dict[str, float]) -> None:
    waits = sorted(1000 * (told[job_id] - moment) for job_id, moment in submitted.items())
    print(f"  {case:32} {statistics.median(waits):11.1f} {waits[int(0.95 * len(waits))]:7.1f} {waits[-1]:7.1f}")


# ── several processes ──


def processes(folder: Path, count: int) -> None:
    print("\nclaim + run + ack in several processes, per second; the slowest beat beside them, ms")
    for workers in (1, 2, 4):
        with installation(folder / f"processes-{workers}.db") as one:
            for job in one.new_jobs(count):
                one.jobs.submit(job)
            run = beating(one)
            barrier, spent = SPAWN.Barrier(workers + 1), SPAWN.SimpleQueue()
            arguments = (one.database.path, barrier, spent)
            shares = [SPAWN.Process(target=share_of_work, args=arguments) for _ in range(workers)]
            for share in shares:
                share.start()
            barrier.wait()
            slowest = 0.0
            while any(share.is_alive() for share in shares):
                began = time.perf_counter()
                one.jobs.beat([Beat(job_id=run.job.job_id, token=run.token)])
                slowest = max(slowest, time.perf_counter() - began)
                time.sleep(0.05)
            longest = max(spent.get() for _ in shares)
            print(f"  {workers:2} {count / longest:24,.0f} {1000 * slowest:20.1f}")


def beating(one: Installation) -> Granted:
    """Return a run that goes on beside the others."""
    job = new_job(one.asset, CLOCK.now(), "enhance")
    one.jobs.submit(job)
    run = one.queue.claim(new_worker(types=["enhance"]))
    assert run is not None
    return run


def share_of_work(path: Path, barrier: Barrier, spent: "SimpleQueue[float]") -> None:
    with installation(path) as one:
        barrier.wait()
        began = time.perf_counter()
        one.run_all()
        spent.put(time.perf_counter() - began)


def installation_at(path: Path) -> Installation:
    database = LocalDatabase.open(path, clock=CLOCK)
    assets, jobs = LocalAssetStore(database, CLOCK), LocalJobStore(database, CLOCK, RULES)
    asset, _ = assets.create(new_asset(CLOCK.now()))
    ready, _ = assets.confirm(DEFAULT_OWNER, asset.asset_id, source_version(asset, CLOCK.now()), [])
    return Installation(database, jobs, LocalJobQueue(database, CLOCK, RULES), ready)


@contextmanager
def installation(path: Path) -> Iterator[Installation]:
    one = installation_at(path)
    with one.database:
        yield one


if __name__ == "__main__":
    main()
