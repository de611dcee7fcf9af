"""What happens to Redis while a job runs is no concern of the job: it has its effect, once."""

import signal
import time
from contextlib import suppress

import pytest

from musproj.domain.job import JobStatus
from musproj.errors import MusProjError, UnavailableError
from musproj.testing.relay import Relay
from musproj.testing.workers import Installation, account_for, add_asset, job_now, submit, wait_for_end, wait_until

AWAY_S = 5.0


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
    assert told == ["backend_down", "backend_up"] or (trouble.__name__ == "frozen" and not told)
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


def test_f24_an_outage_longer_than_a_lease_is_no_loss(tmp_path, own_redis):
    installation = Installation(folder=tmp_path, stores={"redis_url": own_redis.url}, lease_s=1.0)
    with installation.opened() as mp, installation.worker(concurrency=1) as worker, installation.worker() as other:
        job = submit(mp, add_asset(mp), seconds=1.0)
        wait_until(lambda: worker.events("job_begun") + other.events("job_begun"))
        own_redis.stop(kill=True)
        time.sleep(3 * installation.lease_s)
        own_redis.start()
        (ended,) = wait_for_end(mp, job, within=40)
        worker.terminate()
        other.terminate()

    assert (ended.status, ended.attempts, ended.lost) == (JobStatus.SUCCEEDED, 1, 0)
    assert len(account_for(installation, [job]).versions) == 1


def test_f25_a_queue_that_was_lost_is_made_again_from_the_records(installation, own_redis, mp):
    asset_id = add_asset(mp)
    jobs = [submit(mp, asset_id, seed=n) for n in range(5)]
    entries = own_redis.command("KEYS", "rq:*")
    assert entries
    own_redis.command("DEL", *entries)
    with installation.worker(concurrency=2) as worker:
        wait_for_end(mp, *jobs, within=60)  # a delivery that nobody takes is looked at after 15 s
        worker.terminate()

    account = account_for(installation, jobs)
    assert [job.status for job in account.jobs] == [JobStatus.SUCCEEDED] * 5


def test_f28_connections_cut_all_the_time_lose_no_reply_for_good(tmp_path, own_redis):
    with Relay(own_redis.port) as relay:
        stores = {"redis_url": f"redis://127.0.0.1:{relay.port}/0"}
        installation = Installation(folder=tmp_path, stores=stores, crash_limit=1_000)
        with installation.opened() as mp, installation.worker(concurrency=2) as worker:
            asset_id = add_asset(mp)
            jobs = [submit(mp, asset_id, seed=n, seconds=0.05) for n in range(20)]
            drops = 0
            while any(status_or_none(mp, job) is not JobStatus.SUCCEEDED for job in jobs):
                relay.drop()
                drops += 1
                time.sleep(0.15)
            worker.terminate()
        assert drops >= 3
        assert len(account_for(installation, jobs).versions) == 20


@pytest.mark.parametrize("garbage", ["fields", "type"])
def test_f30_a_record_that_is_garbage_costs_only_its_own_job(installation, own_redis, mp, worker, garbage):
    asset_id = add_asset(mp)
    spoilt = submit(mp, asset_id, "look", seconds=0.5)
    key = f"job:{spoilt.job_id}"
    if garbage == "fields":
        for field in set(own_redis.command("HKEYS", key)) - {b"owner"}:
            own_redis.command("HSET", key, field, b"\xff\xfe{")
    else:
        own_redis.command("DEL", key)
        own_redis.command("LPUSH", key, "no hash")
    jobs = [submit(mp, asset_id, seed=n) for n in range(3)]

    wait_for_end(mp, *jobs)
    assert [job_now(mp, job).status for job in jobs] == [JobStatus.SUCCEEDED] * 3
    assert worker.process.poll() is None
    worker.terminate()
    if garbage == "fields":
        assert job_now(mp, spoilt).error.code == "corrupt_record"
    else:
        with pytest.raises(MusProjError):
            job_now(mp, spoilt)


def status_or_none(mp, job):
    with suppress(UnavailableError):
        return job_now(mp, job).status
    return None
