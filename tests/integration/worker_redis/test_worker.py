"""A worker on Redis: what it costs while nothing happens, how soon it hears, what it hands back."""

import signal
import time

import pytest

from musproj.domain.ids import DEFAULT_OWNER
from musproj.domain.job import JobStatus
from musproj.testing.workers import add_asset, job_now, submit, wait_for_end, wait_for_status, wait_until

QUEUE = "rq:queue:audio-jobs"
LOOKED_AT_S = 30.0
OURS = ("info", "config|resetstat", "config")
"""What the test itself asks."""


def commands_in(server, seconds):
    """Return which commands the server executes in so many seconds."""
    server.command("CONFIG", "RESETSTAT")
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > until, seconds + 1)
    return {name: calls for name, calls in server.calls().items() if name not in OURS}


@pytest.mark.parametrize(("economy", "most"), [(False, 0.3), (True, 0.19)])
def test_an_idle_worker_costs_little(installation, own_redis, economy, most):
    with installation.worker(concurrency=2, economy=economy) as worker:
        worker.wait_for("worker_started")
        wait_until(lambda: own_redis.calls().get("blmove"))
        found = commands_in(own_redis, LOOKED_AT_S)
        worker.terminate()
    # So short a time may hold one tick and one sign of life more than its share.
    assert sum(found.values()) <= most * LOOKED_AT_S + 3, found


def test_a_job_begins_at_once_and_a_running_one_hears_of_its_cancel(installation, mp, worker):
    asset_id = add_asset(mp)
    waits = []
    for seed in range(3):
        (job,) = wait_for_end(mp, submit(mp, asset_id, "look", seed=seed))
        waits.append((job.started_at - job.created_at).total_seconds())
    assert min(waits) < 0.1, waits

    job = submit(mp, asset_id, "spin-long")
    wait_for_status(mp, job, JobStatus.RUNNING)
    asked_at = time.monotonic()
    mp.jobs.cancel(DEFAULT_OWNER, job.job_id)
    wait_for_status(mp, job, JobStatus.CANCELLED)
    assert time.monotonic() - asked_at < 2.0
    worker.terminate()


def test_what_comes_while_a_worker_is_told_to_stop_goes_back_to_the_queue(installation, own_redis, mp, worker):
    wait_until(lambda: own_redis.calls().get("blmove"))
    worker.signal(signal.SIGSTOP)
    job = submit(mp, add_asset(mp), "look")
    wait_until(lambda: own_redis.command("LLEN", f"{QUEUE}:intermediate") == 1)
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGCONT)

    assert worker.wait(10) == 0, worker.report()
    assert own_redis.command("LRANGE", QUEUE, 0, -1) == [f"{job.job_id}-1".encode()]
    assert own_redis.command("LLEN", f"{QUEUE}:intermediate") == 0
    assert (job_now(mp, job).status, job_now(mp, job).attempts) == (JobStatus.QUEUED, 0)


def test_a_retry_begins_when_its_time_has_come(installation, mp, worker):
    job = submit(mp, add_asset(mp), "raise")
    (ended,) = wait_for_end(mp, job, within=40)
    assert (ended.status, ended.attempts) == (JobStatus.FAILED, 3)
    worker.terminate()


def test_a_burst_works_everything_off(installation, mp):
    asset_id = add_asset(mp)
    jobs = [submit(mp, asset_id, "copy", seed=seed) for seed in range(6)]
    with installation.worker(concurrency=2, burst=True) as worker:
        assert worker.wait(60) == 0, worker.report()
    assert {job_now(mp, job).status for job in jobs} == {JobStatus.SUCCEEDED}


def test_a_killed_worker_loses_no_job(tmp_path, own_redis):
    from musproj.testing.workers import Installation, account_for

    installation = Installation(folder=tmp_path / "data", stores={"redis_url": own_redis.url}, lease_s=2.0)
    with installation.opened() as mp, installation.worker(concurrency=1) as second:
        second.wait_for("worker_started")
        second.signal(signal.SIGSTOP)
        with installation.worker(concurrency=1) as first:
            job = submit(mp, add_asset(mp), "copy", seconds=1.0)
            first.wait_for("job_begun")
            first.kill()
        second.signal(signal.SIGCONT)
        wait_for_end(mp, job)
        second.terminate()
        assert job_now(mp, job).lost == 1
    assert len(account_for(installation, [job]).versions) == 1
