"""A worker that waits: what it takes while nobody asks, and what it gives back."""

import select
import time

import pytest

from musproj.testing.contract import hears, hush, tells_of
from musproj.testing.records import new_worker
from musproj.testing.redis_server import RedisServer

WORKER = new_worker()


@pytest.fixture
def feed(it):
    feed = it.queue.listen()
    yield feed
    feed.close()


def wait_for(feed) -> None:
    readable, _, _ = select.select([feed.fileno()], [], [], 10)
    assert readable


def test_a_delivery_wakes_who_selects(it, feed):
    assert not feed.poll()
    job = it.submit()
    wait_for(feed)
    assert feed.poll()
    run = it.queue.claim(WORKER)
    assert run is not None
    assert run.job.job_id == job.job_id
    assert it.taken() == [f"{job.job_id}-1"]


def test_it_takes_one_and_leaves_the_rest_to_others(it, feed):
    jobs = [it.submit() for _ in range(3)]
    wait_for(feed)
    assert feed.poll()
    assert feed.poll()
    assert (it.taken(), it.waiting()) == ([f"{jobs[0].job_id}-1"], [f"{job.job_id}-1" for job in jobs[1:]])
    found = [it.queue.claim(WORKER) for _ in range(3)]
    assert [run and run.job.job_id for run in found] == [job.job_id for job in jobs]
    assert not feed.poll()


def test_it_waits_again_only_after_a_claim_that_found_nothing(it, feed):
    it.submit()
    wait_for(feed)
    assert it.queue.claim(WORKER) is not None
    later = it.submit()
    assert not feed.poll()
    assert it.waiting() == [f"{later.job_id}-1"]
    assert it.queue.claim(WORKER) is not None
    assert it.queue.claim(WORKER) is None
    assert tells_of(feed, it.submit)


def test_what_it_has_taken_goes_back_to_the_front(install):
    it, other = install(), install()
    feed = it.queue.listen()
    jobs = [it.submit() for _ in range(3)]
    wait_for(feed)
    feed.close()
    feed.close()
    assert (it.taken(), it.waiting()) == ([], [f"{job.job_id}-1" for job in jobs])
    run = other.queue.claim(WORKER)
    assert run is not None
    assert run.job.job_id == jobs[0].job_id


def test_nothing_waits_once_it_is_closed(it, redis_server):
    it.queue.listen().close()
    blocked = redis_server.command("INFO", "clients")["blocked_clients"]
    assert blocked == 0
    job = it.submit()
    assert it.waiting() == [f"{job.job_id}-1"]


def test_a_closed_one_is_silent(it):
    feed = it.queue.listen()
    feed.close()
    it.submit()
    assert not feed.poll()
    assert feed.fileno() is None


def test_it_survives_the_end_of_its_connection(it, feed, redis_server):
    redis_server.command("CLIENT", "KILL", "ID", feed.client_id)
    assert hears(feed)
    hush(feed)
    assert tells_of(feed, it.submit)
    assert it.queue.claim(WORKER) is not None


def test_it_survives_a_restart(install):
    from musproj.adapters.redis.connection import RedisConnection

    with RedisServer(appendonly=True) as server:
        connection = RedisConnection(server.url)
        it = install(connection=connection)
        feed = it.queue.listen()
        server.stop()
        for _ in range(3):
            feed.poll()
            assert feed.interval <= 1
        server.start()
        deadline = time.monotonic() + 10
        while feed.fileno() is None and time.monotonic() < deadline:
            feed.poll()
        hush(feed)
        connection.execute([("RPUSH", "rq:queue:audio-jobs", "job_unknown-1")])
        assert hears(feed)
        assert it.queue.claim(WORKER) is None
        feed.close()
