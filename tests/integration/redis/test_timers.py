"""Ticks of several processes, long backlogs, and processes that die in a tick."""

from datetime import timedelta

import pytest

from musproj.adapters.redis import timers
from musproj.domain.job import JobStatus
from musproj.domain.ledger import Rules
from musproj.testing.records import live_worker, new_worker

WORKER = new_worker()
HOUR = timedelta(hours=1)


def claim(it):
    run = it.queue.claim(WORKER)
    assert run is not None
    return run


def test_one_process_ticks_for_all(install, redis_server):
    sides = [install(has_server_time=True) for _ in range(3)]
    sides[0].submit()
    redis_server.command("CONFIG", "RESETSTAT")
    for side in sides:
        side.jobs.tick()
    calls = redis_server.calls()
    assert (calls["set"] >= 3, calls["exists"]) == (True, 1)
    assert 11_000 < sides[0].redis.pttl("jobs:tick") <= 11_500


def test_the_lock_is_short_where_leases_are(install):
    it = install(has_server_time=True, rules=Rules(lease=timedelta(seconds=1)))
    it.jobs.tick()
    assert 0 < it.redis.pttl("jobs:tick") <= 380


def test_an_empty_store_is_asked_twice(install, redis_server):
    it = install(has_server_time=True)
    redis_server.command("CONFIG", "RESETSTAT")
    it.jobs.tick()
    calls = redis_server.calls()
    assert {name: calls[name] for name in calls if not name.startswith(("info", "config"))} == {"set": 1, "exists": 1}


def test_a_backlog_does_not_hide_a_lost_worker(it):
    it.submit()
    run = claim(it)
    for _ in range(2_000):
        it.submit()
    it.jobs.tick()
    it.live_through(30)
    assert it.job(run.job).status is JobStatus.QUEUED


def test_a_look_at_a_backlog_is_bounded(it, redis_server):
    for _ in range(1_000):
        it.submit()
    it.clock.advance(60)
    redis_server.command("CONFIG", "RESETSTAT")
    it.jobs.tick()
    assert redis_server.calls()["hgetall"] <= timers.PAGE + timers.FEW + 5


def test_what_a_ticker_that_died_had_claimed_comes_again(it):
    it.submit()
    run = claim(it)
    delayed = it.submit(delay=timedelta(seconds=30))
    it.jobs.tick()
    it.live_through(29)
    it.clock.advance(2)
    due = timers._claim_due(it.backend, leases=100, looks=100)
    assert (list(due.leases), list(due.delayed)) == ([run.job.job_id], [delayed.job_id])
    again = timers._claim_due(it.backend, leases=100, looks=100)
    assert (list(again.leases), list(again.delayed)) == ([], [])
    it.live_through(20)
    assert it.job(run.job).lost == 1
    assert f"{delayed.job_id}-1" in it.waiting()


def test_an_outage_prolongs_every_page(it):
    for _ in range(250):
        it.submit()
    for _ in range(250):
        claim(it)
    it.jobs.tick()
    it.clock.advance(HOUR)
    assert it.jobs.tick().extended == 250
    assert it.jobs.tick().extended == 0


def test_a_timer_that_its_record_does_not_know_is_put_right(it):
    waiting, delayed, running = it.submit(), it.submit(delay=HOUR), it.submit()
    done = claim(it)
    run = claim(it)
    assert (done.job.job_id, run.job.job_id) == (waiting.job_id, running.job_id)
    everywhere = ("jobs:timers", "jobs:delayed", "jobs:delivered", "jobs:expiring")
    for key in everywhere:
        it.redis.zadd(key, {job.job_id: 1 for job in (delayed, running)} | {"job_gone": 1})
    it.jobs.tick()
    it.jobs.tick()
    found = {key: set(it.members(key)) for key in everywhere}
    assert found == {
        "jobs:timers": {waiting.job_id, running.job_id},
        "jobs:delayed": {delayed.job_id},
        "jobs:delivered": set(),
        "jobs:expiring": set(),
    }


@pytest.mark.parametrize("delay", [timedelta(0), timedelta(days=1)])
def test_an_expired_job_leaves_every_set(it, delay):
    job = it.submit(expires_at=it.now() + HOUR, delay=delay)
    it.clock.advance(HOUR)
    assert it.jobs.tick().ended == 1
    assert it.job(job).status is JobStatus.FAILED
    for key in ("jobs:timers", "jobs:delayed", "jobs:delivered", "jobs:expiring"):
        assert it.members(key) == []


def test_delayed_jobs_are_delivered_in_their_order(it):
    jobs = [it.submit(delay=timedelta(seconds=60 - number)) for number in range(30)]
    it.clock.advance(60)
    it.jobs.tick()
    assert [claim(it).job.job_id for _ in jobs] == [job.job_id for job in reversed(jobs)]


def test_workers_that_are_long_gone_are_dropped(it):
    it.jobs.announce(live_worker(WORKER, it.now()))
    it.redis.hset("workers", "garbage", "{")
    it.clock.advance(timedelta(days=2))
    assert list(it.jobs.workers()) == []
    assert it.redis.hgetall("workers") == {}
