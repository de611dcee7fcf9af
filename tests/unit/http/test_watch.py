"""Waiting for jobs: what the feed tells, and when it is asked."""

import asyncio
import os
import threading
from contextlib import contextmanager

import attrs
import pytest

from musproj.domain.ids import DEFAULT_OWNER
from musproj.errors import JobNotFoundError
from musproj.http.hop import Pool
from musproj.http.watch import JobWatcher
from musproj.testing.clock import NOON
from musproj.testing.records import new_asset, new_job


@attrs.define
class Feed:
    """A feed over a pipe, or over a flag where it has no descriptor."""

    has_descriptor: bool
    interval: float = 0.02
    polls: int = 0
    is_open: bool = True
    _flag: threading.Event = attrs.field(factory=threading.Event)
    _pipe: tuple[int, int] = attrs.field(factory=os.pipe)

    def fileno(self):
        return self._pipe[0] if self.has_descriptor else None

    def tell(self):
        self._flag.set()
        os.write(self._pipe[1], b".")

    def poll(self):
        self.polls += 1
        if not self._flag.is_set():
            return False
        self._flag.clear()
        os.read(self._pipe[0], 100)
        return True

    def close(self):
        if self.is_open:
            os.close(self._pipe[0])
            os.close(self._pipe[1])
        self.is_open = False


@attrs.define
class Store:
    """A job store with one job and one feed at a time."""

    has_descriptor: bool = False
    job: object = attrs.field(factory=lambda: new_job(new_asset(NOON), NOON))
    feeds: list[Feed] = attrs.field(factory=list)
    reads: int = 0

    def listen(self):
        feed = Feed(self.has_descriptor, interval=30.0 if self.has_descriptor else 0.02)
        self.feeds.append(feed)
        return feed

    def get(self, owner, job_id):
        self.reads += 1
        if self.job is None:
            raise JobNotFoundError(job_id=job_id)
        return self.job

    def change(self, **changes):
        self.job = attrs.evolve(self.job, **changes)
        self.feeds[-1].tell()


@contextmanager
def watching(store):
    pool = Pool("test", 2)
    try:
        yield JobWatcher(store, pool)
    finally:
        pool.close()


def is_half_done(job):
    return job.progress >= 50


@pytest.mark.parametrize("has_descriptor", [True, False])
def test_a_change_wakes_all_who_wait_for_it_and_no_others(has_descriptor):
    store = Store(has_descriptor)
    job_id = store.job.job_id

    async def main(watcher):
        waits = [
            asyncio.create_task(watcher.wait_for(DEFAULT_OWNER, job_id, is_half_done, seconds=10)) for _ in range(50)
        ]
        late = asyncio.create_task(watcher.wait_for(DEFAULT_OWNER, job_id, lambda job: job.progress > 90, seconds=10))
        await asyncio.sleep(0.1)
        store.change(progress=10)
        await asyncio.sleep(0.1)
        assert not any(wait.done() for wait in waits)
        store.change(progress=50)
        found = await asyncio.wait_for(asyncio.gather(*waits), 1)
        assert not late.done()
        store.change(progress=95)
        found.append(await asyncio.wait_for(late, 1))
        await watcher.close()
        return found

    with watching(store) as watcher:
        found = asyncio.run(main(watcher))

    assert {job.progress for job in found} == {50, 95}
    assert len(store.feeds) == 1
    assert not store.feeds[0].is_open
    assert store.reads < 10, "one read for all who wait, and none while nothing happens"


def test_a_feed_with_a_descriptor_is_not_asked_while_nothing_happens():
    store = Store(has_descriptor=True)

    async def main(watcher):
        await watcher.wait_for(DEFAULT_OWNER, store.job.job_id, is_half_done, seconds=0.3)
        await watcher.close()

    with watching(store) as watcher:
        asyncio.run(main(watcher))

    assert store.feeds[0].polls < 5


def test_a_change_between_the_callers_read_and_the_wait_is_seen():
    store = Store()
    store.job = attrs.evolve(store.job, progress=60)

    async def main(watcher):
        found = await watcher.wait_for(DEFAULT_OWNER, store.job.job_id, is_half_done, seconds=10)
        await watcher.close()
        return found

    with watching(store) as watcher:
        assert asyncio.run(main(watcher)).progress == 60


def test_the_time_that_is_over_is_none():
    store = Store()

    async def main(watcher):
        found = await watcher.wait_for(DEFAULT_OWNER, store.job.job_id, is_half_done, seconds=0.05)
        await watcher.close()
        return found

    with watching(store) as watcher:
        assert asyncio.run(main(watcher)) is None


def test_a_job_that_is_gone_is_an_error_of_each_wait():
    store = Store()
    job_id, store.job = store.job.job_id, None

    async def main(watcher):
        waits = [watcher.wait_for(DEFAULT_OWNER, job_id, is_half_done, seconds=10) for _ in range(3)]
        outcomes = await asyncio.gather(*waits, return_exceptions=True)
        await watcher.close()
        return outcomes

    with watching(store) as watcher:
        outcomes = asyncio.run(main(watcher))

    assert [type(outcome) for outcome in outcomes] == [JobNotFoundError] * 3


def test_a_broken_feed_is_logged_and_opened_anew_by_the_next_wait(caplog):
    class Broken(Store):
        def listen(self):
            if not self.feeds:
                self.feeds.append(None)
                raise OSError("no feed")
            return super().listen()

    store = Broken()

    async def main(watcher):
        first = await watcher.wait_for(DEFAULT_OWNER, store.job.job_id, is_half_done, seconds=0.1)
        second = asyncio.create_task(watcher.wait_for(DEFAULT_OWNER, store.job.job_id, is_half_done, seconds=10))
        await asyncio.sleep(0.1)
        store.change(progress=70)
        found = await second
        await watcher.close()
        return first, found

    with watching(store) as watcher:
        first, second = asyncio.run(main(watcher))

    assert first is None
    assert second.progress == 70
    assert "no feed" in caplog.text


def test_a_closed_watcher_holds_nobody():
    store = Store()

    async def main(watcher):
        await watcher.close()
        return await watcher.wait_for(DEFAULT_OWNER, store.job.job_id, is_half_done, seconds=10)

    with watching(store) as watcher:
        assert asyncio.run(main(watcher)) is None
