"""Stores that fail at random while real workers run real jobs, and a client goes on submitting: one effect per job.

Redis is killed, frozen, read-only and full, its connections are cut; the bucket refuses, hangs up, loses replies, cuts
and spoils bodies; workers are killed as well. A seed is a history of blows, not of what they hit.
"""

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from uuid import uuid4

import attrs
import pytest

from musproj.application.jobs import InputRef, JobSpec
from musproj.domain.ids import DEFAULT_OWNER
from musproj.domain.job import JobStatus
from musproj.errors import UnavailableError
from musproj.ports.assets import Idempotency
from musproj.testing.faulty import Fault, FaultyProxy
from musproj.testing.workers import (
    Installation,
    WorkerProcess,
    account_for,
    add_asset,
    job_now,
    submit,
    wait_for_end,
    wait_for_status,
    wait_until,
)

pytestmark = pytest.mark.timeout(300)

JOBS, WORKERS = 40, 2
TYPES = ("copy", "stems", "dice", "peaks", "look")
STRIKING_S = 25.0
PATIENCE_S = 150.0
PAUSES_S = (0.1, 0.8)
"""Between two blows."""
OUTAGES_S = (0.1, 2.5)
"""How long one lasts, with a lease of 1 s."""
REVOKED_S = 2.0
DEEDS = ("refuse", "reset", "lose_reply", "truncate", "delay")


@pytest.fixture
def own_redis(require_tool):
    """A server for one test, which has on its disk what it acknowledged."""
    require_tool("redis-server")
    from musproj.testing.redis_server import RedisServer

    with RedisServer(appendonly=True, options="--appendfsync always") as server:
        yield server


@pytest.fixture
def bucket(swift_server):
    """A proxy before the S3 server, which misbehaves on order."""
    with FaultyProxy(swift_server.port) as proxy:
        yield proxy


@pytest.fixture
def installation(tmp_path, own_redis, bucket, swift_server):
    storage = f"s3://{swift_server.bucket}?endpoint={bucket.endpoint}&region={swift_server.region}"
    stores = {
        **swift_server.stores(),
        "storage": storage,
        "redis_url": own_redis.url,
        "redis_prefix": f"{uuid4().hex}:",
    }
    return Installation(folder=tmp_path, stores=stores, crash_limit=1_000)


@attrs.define
class Outages:
    """Two stores and two workers, and somebody who wishes none of them well."""

    installation: Installation
    redis: object
    bucket: FaultyProxy
    random: random.Random
    stack: ExitStack
    workers: list[WorkerProcess] = attrs.field(factory=list)
    done: Counter[str] = attrs.field(factory=Counter)

    def start_worker(self) -> None:
        self.workers.append(self.stack.enter_context(self.installation.worker(concurrency=2)))

    def strike(self) -> None:
        """Do one thing, let it last a while, and undo it."""
        blows = [self.kill_redis, self.freeze, self.make_read_only, self.fill, self.cut, self.kill_worker]
        blow = self.random.choice([*blows, self.spoil_bucket, self.spoil_bucket, self.spoil_bucket])
        self.done[blow.__name__] += 1
        blow(lambda: time.sleep(self.random.uniform(*OUTAGES_S)))

    def kill_redis(self, wait: Callable[[], None]) -> None:
        self.redis.stop(kill=True)
        wait()
        self.redis.start()

    def freeze(self, wait: Callable[[], None]) -> None:
        self.redis.pause()
        wait()
        self.redis.resume()

    def make_read_only(self, wait: Callable[[], None]) -> None:
        self.redis.command("REPLICAOF", "127.0.0.1", "1")
        wait()
        self.redis.command("REPLICAOF", "NO", "ONE")

    def fill(self, wait: Callable[[], None]) -> None:
        self.redis.command("CONFIG", "SET", "maxmemory", "1")
        wait()
        self.redis.command("CONFIG", "SET", "maxmemory", "0")

    def cut(self, wait: Callable[[], None]) -> None:
        for _ in range(3):
            self.redis.command("CLIENT", "KILL", "TYPE", "normal")
            time.sleep(self.random.uniform(0.0, 0.05))

    def kill_worker(self, wait: Callable[[], None]) -> None:
        worker = self.random.choice(self.workers)
        if children := worker.children():
            with suppress(ProcessLookupError):
                os.kill(self.random.choice(children), signal.SIGKILL)
        if self.random.random() < 0.5:
            worker.kill()
            self.workers.remove(worker)
            self.start_worker()

    def spoil_bucket(self, wait: Callable[[], None]) -> None:
        deed = self.random.choice(DEEDS)
        self.done[f"bucket: {deed}"] += 1
        self.bucket.order(Fault(deed=deed, times=self.random.randint(1, 4)))


def submit_somehow(mp, asset_id, number, seconds):
    """Submit a job as a good client does: again with the same key until there is an answer."""
    key = Idempotency(key=f"job-{number}", body_hash=str(number))
    inputs = {"input": InputRef(asset_id=asset_id, version=1)}
    spec = JobSpec(type=TYPES[number % len(TYPES)], inputs=inputs, params={"seed": number, "seconds": seconds})
    tries = 0
    while True:
        tries += 1
        try:
            return mp.jobs.submit(DEFAULT_OWNER, spec, key).job, tries
        except UnavailableError:
            time.sleep(0.2)


def submit_all(mp, assets, seed, jobs, tries):
    draw = random.Random(seed)
    for number in range(JOBS):
        job, needed = submit_somehow(mp, assets[number % len(assets)], number, draw.uniform(0.1, 0.9))
        jobs.append(job)
        tries.append(needed)
        time.sleep(STRIKING_S / JOBS / 2)


def is_ended(mp, job):
    with suppress(UnavailableError):
        return job_now(mp, job).is_terminal
    return False


@pytest.mark.parametrize("seed", [1, 2])
def test_every_job_has_one_effect_whatever_its_stores_do(installation, own_redis, bucket, tmp_path, seed, capsys):
    begun = time.monotonic()
    jobs, tries = [], []
    with ExitStack() as stack, installation.opened() as mp:
        outages = Outages(installation, own_redis, bucket, random.Random(seed), stack)
        assets = [add_asset(mp, seed=n) for n in range(3)]
        client = threading.Thread(target=submit_all, args=(mp, assets, seed, jobs, tries), daemon=True)
        client.start()
        for _ in range(WORKERS):
            outages.start_worker()
        while time.monotonic() < begun + STRIKING_S:
            time.sleep(outages.random.uniform(*PAUSES_S))
            outages.strike()
        bucket.behave()
        client.join(PATIENCE_S)
        wait_until(lambda: len(jobs) == JOBS and all(is_ended(mp, job) for job in jobs), PATIENCE_S,
                   why=lambda: repr([job_now(mp, job) for job in jobs if not is_ended(mp, job)]))  # fmt: skip
        seconds = time.monotonic() - begun
        deaths = [worker.process.returncode for worker in outages.workers if worker.process.poll() is not None]
        for worker in outages.workers:
            worker.kill()

    assert deaths == [], "no outage ends a worker"
    assert installation.leftovers() == []
    assert len({job.job_id for job in jobs}) == JOBS
    account = account_for(installation, jobs)
    with capsys.disabled():
        runs, lost = sum(job.attempts for job in account.jobs), sum(job.lost for job in account.jobs)
        sys.stdout.write(
            f"\nseed {seed}: {dict(sorted(outages.done.items()))}, {seconds:.1f} s; {sum(tries)} submits of {len(jobs)} "
            f"jobs, {runs} runs, {lost} losses; {len(account.versions)} versions, {len(account.garbage)} objects for gc\n"
        )
    assert {job.status for job in account.jobs} == {JobStatus.SUCCEEDED}, [
        (job.type, job.error) for job in account.jobs if job.error
    ]


def test_f40_revoked_credentials_let_jobs_wait_and_burn_no_attempt(installation, bucket):
    with installation.opened() as mp, installation.worker(concurrency=2) as worker:
        asset_id = add_asset(mp)
        running = submit(mp, asset_id, seconds=1.0)
        wait_for_status(mp, running, JobStatus.RUNNING)
        revoked = Fault(deed="refuse", status=403, code="InvalidAccessKeyId", times=1_000_000)
        bucket.order(revoked)
        waiting = submit(mp, asset_id, seed=1)
        wait_until(lambda: revoked.times < 1_000_000)
        time.sleep(REVOKED_S)
        assert not any(job_now(mp, job).is_terminal for job in (running, waiting))
        bucket.behave()
        wait_for_end(mp, running, waiting, within=60)
        worker.terminate()

    account = account_for(installation, [running, waiting])
    assert [job.status for job in account.jobs] == [JobStatus.SUCCEEDED] * 2
    assert [len(job.history) for job in account.jobs] == [0, 0], "no attempt is spent on what is nobody's fault"
