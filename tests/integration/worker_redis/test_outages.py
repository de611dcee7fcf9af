"""What happens to Redis while a job runs is no concern of the job: it has its effect, once."""

import signal
import time

import pytest

from musproj.domain.job import JobStatus
from musproj.testing.workers import account_for, add_asset, job_now, submit, wait_for_end, wait_until

AWAY_S = 5.0


def killed(server):
    server.stop(kill=True)
    yield
    server.start()


def frozen(server):
    server.pause()
    yield
    server.resume()


def read_only(server):
    server.command("REPLICAOF", "127.0.0.1", "1")
    yield
    server.command("REPLICAOF", "NO", "ONE")


def full(server):
    server.command("CONFIG", "SET", "maxmemory", "1")
    yield
    server.command("CONFIG", "SET", "maxmemory", "0")


@pytest.mark.parametrize("trouble", [killed, frozen, read_only, full])
def test_f26_f27_a_worker_outlives_it_and_its_job_makes_one_version(installation, own_redis, mp, worker, trouble):
    asset_id = add_asset(mp)
    job = submit(mp, asset_id, "copy", seconds=2.0)
    worker.wait_for("job_begun")
    steps = trouble(own_redis)
    next(steps)
    until = time.monotonic() + AWAY_S
    wait_until(lambda: time.monotonic() > until, AWAY_S + 1)  # the job wants to commit meanwhile
    assert worker.process.poll() is None, worker.report()
    assert worker.events("job_committed") == []
    next(steps, None)

    wait_for_end(mp, job, within=40)
    after = job_now(mp, job)
    assert (after.status, after.attempts, after.history) == (JobStatus.SUCCEEDED, 1, ())
    told = [event["action"] for event in worker.events() if event["action"].startswith("backend")]
    # A server that stands still for less than a reply may take is only slow.
    assert told == ["backend_down", "backend_up"] or (trouble is frozen and not told)
    second = submit(mp, asset_id, "copy", seed=1)  # and the feed hears again
    wait_for_end(mp, second, within=40)
    worker.terminate()
    assert len(account_for(installation, [job, second]).versions) == 2


def test_a_worker_that_starts_while_redis_is_away_begins_when_it_is_there(installation, own_redis, mp):
    job = submit(mp, add_asset(mp), "look")
    own_redis.stop()
    with installation.worker(concurrency=1) as worker:
        worker.wait_for("backend_down")
        own_redis.start()
        wait_for_end(mp, job, within=40)
        worker.terminate()
    assert job_now(mp, job).status is JobStatus.SUCCEEDED


def test_a_worker_without_redis_still_ends_when_it_is_told(own_redis, worker):
    own_redis.stop()
    worker.wait_for("backend_down")
    worker.signal(signal.SIGTERM)
    assert worker.wait(20) == 0, worker.report()
