"""A worker on Redis: what it costs while nothing happens, how soon it hears, what it hands back."""

import signal
import time
from contextlib import ExitStack

from musproj.domain.ids import DEFAULT_OWNER
from musproj.domain.job import JobStatus
from musproj.testing.workers import Installation, add_asset, job_now, submit, wait_for_end, wait_for_status, wait_until

QUEUE = "rq:queue:audio-jobs"
LOOKED_AT_S = 30.0
IDLE_RATES = {False: 0.3, True: 0.19}
"""Whether it is economical → how many commands a second a worker without a job may cost."""
OURS = ("info", "config|resetstat", "config")
"""What the test itself asks."""


def test_an_idle_worker_costs_little(tmp_path, require_tool):
    require_tool("redis-server")
    from musproj.testing.redis_server import RedisServer

    with ExitStack() as stack:
        servers = [stack.enter_context(RedisServer(appendonly=True)) for _ in IDLE_RATES]
        for server, economy in zip(servers, IDLE_RATES, strict=True):
            folder = tmp_path / f"economy-{economy}"
            folder.mkdir()
            installation = Installation(folder=folder, stores={"redis_url": server.url}, lease_s=30.0)
            worker = stack.enter_context(installation.worker(concurrency=2, economy=economy))
            worker.wait_for("worker_started")
            wait_until(lambda server=server: server.calls().get("blmove"))
            server.command("CONFIG", "RESETSTAT")
        time.sleep(LOOKED_AT_S)
        for server, (economy, most) in zip(servers, IDLE_RATES.items(), strict=True):
            found = {name: calls for name, calls in server.calls().items() if name not in OURS}
            # So short a time may hold one tick and one sign of life more than its share.
            assert sum(found.values()) <= most * LOOKED_AT_S + 3, (economy, found)


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
