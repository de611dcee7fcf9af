"""Several processes on one file: exclusive claims, distinct numbers, beats in time, locks that end."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from musproj.adapters.local.accounts import LocalAccounts
from musproj.adapters.local.assets import LocalAssetStore
from musproj.adapters.local.database import LocalDatabase
from musproj.adapters.local.jobs import LocalJobStore
from musproj.adapters.local.queue import LocalJobQueue
from musproj.adapters.system import SystemClock
from musproj.domain.job import JobStatus
from musproj.domain.ledger import BeatOk, Rules
from musproj.errors import BackendUnavailableError
from musproj.ports.jobs import Beat
from musproj.testing.clock import FakeClock
from musproj.testing.ledger import Ledger

SCRIPT = Path(__file__).with_name("database_process.py")


@contextmanager
def process(name: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a part of the script; what is left of it at the end is killed."""
    command = [sys.executable, SCRIPT, name, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def expect(running: subprocess.Popen[str], line: str) -> None:
    assert running.stdout is not None
    assert running.stdout.readline().strip() == line


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "musproj.db"


@pytest.fixture
def database(path: Path) -> Iterator[LocalDatabase]:
    with LocalDatabase.open(path, clock=FakeClock()) as opened:
        yield opened


@pytest.fixture
def ledger(database: LocalDatabase) -> Ledger:
    # A little behind the real clock, which the processes have: what is due here is due there.
    clock, rules = FakeClock(SystemClock().now() - timedelta(minutes=1)), Rules()
    return Ledger(
        clock=clock,
        rules=rules,
        assets=LocalAssetStore(database, clock),
        jobs=LocalJobStore(database, clock, rules),
        queue=LocalJobQueue(database, clock, rules),
        accounts=LocalAccounts(database, clock),
    )


def test_four_processes_share_200_jobs_each_once(ledger: Ledger, path: Path) -> None:
    asset = ledger.ready()
    jobs = [ledger.submit(asset, "noop").job_id for _ in range(200)]
    with ExitStack() as stack:
        workers = [stack.enter_context(process("claim", path)) for _ in range(4)]
        for worker in workers:
            expect(worker, "ready")
        with ThreadPoolExecutor(4) as pool:
            outputs = list(pool.map(lambda worker: worker.communicate("go\n", timeout=60)[0], workers))
    done = [line.split()[1] for output in outputs for line in output.splitlines()]
    assert sorted(done) == jobs
    assert ledger.jobs.counts() == {status: 200 * (status is JobStatus.SUCCEEDED) for status in JobStatus}


def test_eight_threads_publish_2400_distinct_numbers(ledger: Ledger) -> None:
    asset = ledger.ready()

    def publish(_: int) -> list[int]:
        return [ledger.publish(asset).created_version or 0 for _ in range(300)]

    with ThreadPoolExecutor(8) as pool:
        numbers = [number for share in pool.map(publish, range(8)) for number in share]
    assert sorted(numbers) == list(range(2, 2402))
    after = ledger.asset(asset)
    assert (after.latest_version, after.version_count, after.sequence) == (2401, 2401, 2401)


def test_a_beat_beside_four_writers_takes_less_than_a_second(ledger: Ledger, path: Path) -> None:
    """Beyond what the disk itself takes for the syncs of a writer before it, of a checkpoint and of the beat."""
    run = ledger.running(ledger.ready())
    beats, syncs = [], []
    with ExitStack() as stack, path.with_name("probe").open("wb", buffering=0) as probe:
        for writer in [stack.enter_context(process("hammer", path)) for _ in range(4)]:
            expect(writer, "ready")
        end = time.monotonic() + 3
        while time.monotonic() < end:
            began = time.monotonic()
            answer = ledger.jobs.beat([Beat(job_id=run.job.job_id, token=run.token, progress=1)])
            beats.append(time.monotonic() - began)
            assert answer == [BeatOk(cancel=False)]
            probe.write(b"x")
            os.fsync(probe.fileno())
            syncs.append(time.monotonic() - began - beats[-1])
    assert max(beats) < 1 + 4 * max(syncs), f"a beat waited {max(beats):.2f} s, a sync {max(syncs):.2f} s"


def test_a_lock_of_seconds_is_told_and_waited_out(database: LocalDatabase, path: Path) -> None:
    with process("hold", path, 2) as holder:
        expect(holder, "locked")
        with pytest.raises(BackendUnavailableError, match=r"locked by another process for 0\.\d s") as caught:
            database.write(lambda c: c.execute("INSERT INTO timer VALUES('impatient', 0)"), patience=0.3)
        assert caught.value.retryable
        assert database.read(lambda c: c.execute("SELECT count(*) FROM timer").fetchone()) == (0,)
        database.write(lambda c: c.execute("INSERT INTO timer VALUES('patient', 0)"), patience=30)
    assert database.read(lambda c: c.execute("SELECT name FROM timer").fetchall()) == [("patient",)]
