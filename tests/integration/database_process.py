"""What the tests of the database do in processes of their own: `python database_process.py NAME PATH …`.

Each prints a line for what is done and durable, so that whoever kills it knows what must be there afterwards.
"""

import ctypes
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from musproj.adapters.local.assets import LocalAssetStore
from musproj.adapters.local.database import LocalDatabase
from musproj.adapters.local.jobs import LocalJobStore
from musproj.adapters.local.queue import LocalJobQueue
from musproj.adapters.system import SystemClock
from musproj.domain.ids import DEFAULT_OWNER, AssetId
from musproj.domain.ledger import Committed, Granted, Reserved, Rules
from musproj.errors import BackendUnavailableError, StorageFullError
from musproj.ports.jobs import Created, Publication
from musproj.testing.records import made_version, new_asset, new_job, new_worker, source_version

CLOCK = SystemClock()
RULES = Rules()


def tell(*words: object) -> None:
    """Print a line at once, in one write, so that a kill cannot cut it."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def stores(path: str) -> tuple[LocalDatabase, LocalAssetStore, LocalJobStore, LocalJobQueue]:
    database = LocalDatabase.open(Path(path), clock=CLOCK)
    jobs = LocalJobStore(database, CLOCK, RULES)
    return database, LocalAssetStore(database, CLOCK), jobs, LocalJobQueue(database, CLOCK, RULES)


def mark(database: LocalDatabase, name: str, at: int = 0) -> None:
    database.write(lambda connection: connection.execute("INSERT INTO timer VALUES(?, ?)", (name, at)))


def claim(path: str) -> None:
    """Claim and commit jobs without outputs until none is left, from the moment a line arrives."""
    database, _, jobs, queue = stores(path)
    worker = new_worker(f"host:{os.getpid()}:boot", ["noop"])
    tell("ready")
    sys.stdin.readline()
    while run := queue.claim(worker):
        answer = jobs.commit(run.job.job_id, run.token, Publication())
        assert isinstance(answer, Committed)
        tell("done", run.job.job_id)
    database.close()


def work(path: str, name: str) -> None:
    """Create, submit, claim, reserve and publish for ever."""
    _, assets, jobs, queue = stores(path)
    worker = new_worker(f"host:{os.getpid()}:boot", ["enhance"])
    for turn in range(1_000_000):
        asset, _ = assets.create(new_asset(CLOCK.now(), name=f"{name}-{turn}"))
        tell("asset", asset.asset_id)
        ready, _ = assets.confirm(DEFAULT_OWNER, asset.asset_id, source_version(asset, CLOCK.now()), [])
        tell("ready", asset.asset_id)
        answer = jobs.submit(new_job(ready, CLOCK.now()))
        assert isinstance(answer, Created)
        tell("job", answer.job.job_id)
        run = queue.claim(worker)
        if run is not None:
            publish(jobs, run)


def publish(jobs: LocalJobStore, run: Granted) -> None:
    answer = jobs.reserve(run.job.job_id, run.token)
    assert isinstance(answer, Reserved)
    asset = new_asset(CLOCK.now(), asset_id=AssetId(run.job.asset_id))
    version = made_version(asset, run.job, answer.number, CLOCK.now())
    committed = jobs.commit(run.job.job_id, run.token, Publication(version=version, moves_head=True))
    assert isinstance(committed, Committed)
    tell("version", run.job.asset_id, answer.number)


def hammer(path: str) -> None:
    """Write in a tight loop for ever."""
    database, *_ = stores(path)
    tell("ready")
    for turn in range(1_000_000):
        mark(database, f"{os.getpid()}-{turn}")


def hold(path: str, seconds: str) -> None:
    """Hold the write lock for some seconds."""
    database, *_ = stores(path)

    def wait(_: object) -> None:
        tell("locked")
        time.sleep(float(seconds))

    database.write(wait)
    database.close()


def fill(path: str, limit: str) -> None:
    """Write until no file may grow any more; then read, and write again once there is room."""
    database, *_ = stores(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), hard))
    kept = 0
    try:
        while True:
            mark(database, f"{kept:09}" * 50)
            kept += 1
    except (StorageFullError, BackendUnavailableError) as exc:
        tell("error", exc.code)
    count = "SELECT count(*) FROM timer"
    tell("read", database.read(lambda connection: connection.execute(count).fetchone()[0]) - kept)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    mark(database, "after")
    tell("rows", database.read(lambda connection: connection.execute(count).fetchone()[0]) - kept)
    tell(database.check())
    database.close()


def fork(path: str) -> None:
    """Fork while four threads write; every child and grandchild writes too; nothing may be missing."""
    database, *_ = stores(path)
    stop = threading.Event()
    turns = [0] * 4

    def write(thread: int) -> None:
        while not stop.is_set():
            mark(database, f"thread-{thread}-{turns[thread]}")
            turns[thread] += 1

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    expected = {f"{kind}-{number}" for number in range(20) for kind in ("child", "grandchild")}
    children = [_in_child(partial(_write_as_child, database, number)) for number in range(20)]
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    stop.set()
    for thread in threads:
        thread.join()
    expected |= {f"thread-{number}-{turn}" for number in range(4) for turn in range(turns[number])}
    found = {row[0] for row in database.read(lambda c: c.execute("SELECT name FROM timer").fetchall())}
    assert found == expected
    tell(database.check())
    database.close()


def _write_as_child(database: LocalDatabase, number: int) -> None:
    mark(database, f"child-{number}")
    grandchild = _in_child(lambda: mark(database, f"grandchild-{number}"))
    assert os.waitpid(grandchild, 0)[1] == 0


def orphan(path: str) -> None:
    """Let the child write on after the parent closed the database and went; nothing may be missing."""
    database, *_ = stores(path)
    mark(database, "before")
    read, write = os.pipe()

    def outlive() -> None:
        mark(database, "first")
        os.write(write, b".")
        while os.getppid() == parent:
            time.sleep(0.001)
        mark(database, "second")
        tell("second")

    parent = os.getpid()
    _in_child(outlive)
    os.read(read, 1)
    database.close()


def fork_inside(path: str) -> None:
    """Fork in the middle of a transaction: the child is refused, the parent goes on."""
    database, *_ = stores(path)

    def refused() -> None:
        try:
            mark(database, "child")
        except BackendUnavailableError as exc:
            tell("refused", "cannot be trusted" in exc.message)

    def split(connection: object) -> None:
        child = _in_child(refused)
        assert os.waitpid(child, 0)[1] == 0

    database.write(split)
    mark(database, "parent")
    tell("rows", [row[0] for row in database.read(lambda c: c.execute("SELECT name FROM timer").fetchall())])
    database.close()


def fork_raw(path: str) -> None:
    """Fork without Python's hooks, as a C library may: the child is refused, the parent goes on."""
    database, *_ = stores(path)
    mark(database, "before")
    pid = ctypes.CDLL(None).fork()
    if pid == 0:
        try:
            mark(database, "child")
        except BackendUnavailableError as exc:
            tell("refused", "cannot be trusted" in exc.message)
        database.close()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    mark(database, "parent")
    tell("rows", [row[0] for row in database.read(lambda c: c.execute("SELECT name FROM timer").fetchall())])
    tell(database.check())
    database.close()


def _in_child(body: Callable[[], None]) -> int:
    """Run `body` in a forked child; return its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        body()
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
