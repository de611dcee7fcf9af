"""Who hears of what, and what an outage does to it."""

import select
import time

import pytest

from musproj.domain.ids import DEFAULT_OWNER
from musproj.errors import BackendUnavailableError
from musproj.ports.jobs import Beat
from musproj.testing.contract import hears, hush, tells_of
from musproj.testing.records import new_worker
from musproj.testing.redis_server import RedisServer


def is_silent(feed) -> bool:
    readable, _, _ = select.select([feed.fileno()], [], [], 0.2)
    return not readable and not feed.poll()


def test_a_supervisor_hears_only_of_jobs_that_are_to_stop(it):
    feed = it.jobs.listen(only_stops=True)
    job = it.submit()
    run = it.queue.claim(new_worker())
    assert run is not None
    it.jobs.beat([Beat(job_id=job.job_id, token=run.token, progress=50)])
    other = it.submit()
    it.jobs.cancel(DEFAULT_OWNER, other.job_id)
    assert is_silent(feed)
    assert tells_of(feed, lambda: it.jobs.cancel(DEFAULT_OWNER, job.job_id))
    it.jobs.cancel(DEFAULT_OWNER, job.job_id)
    assert is_silent(feed)
    feed.close()


def test_a_descriptor_wakes_who_selects(it):
    feed = it.jobs.listen()
    assert is_silent(feed)
    it.submit()
    readable, _, _ = select.select([feed.fileno()], [], [], 10)
    assert readable
    assert feed.poll()
    assert is_silent(feed)
    feed.close()
    assert (feed.fileno(), feed.poll()) == (None, False)


def test_it_costs_nothing_while_nothing_happens(it, redis_server):
    feed = it.jobs.listen()
    redis_server.command("CONFIG", "RESETSTAT")
    for _ in range(100):
        feed.poll()
    assert set(redis_server.calls()) <= {"info", "config|resetstat"}
    feed.close()


def test_after_an_outage_it_tells_of_what_it_may_have_missed(install):
    from musproj.adapters.redis.connection import RedisConnection

    with RedisServer() as server:
        it = install(connection=RedisConnection(server.url))
        feed = it.jobs.listen()
        server.stop()
        assert hears(feed)
        for _ in range(3):
            feed.poll()
        assert feed.fileno() is None
        server.start()
        deadline = time.monotonic() + 10
        while feed.fileno() is None and time.monotonic() < deadline:
            assert hears(feed)
        hush(feed)
        assert tells_of(feed, lambda: server.command("PUBLISH", it.backend.keys.changes, "x"))
        server.stop()
        with pytest.raises(BackendUnavailableError):
            it.jobs.listen()
        feed.close()
