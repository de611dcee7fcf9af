"""An installation on a Redis server, and a plain client that looks behind it."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import attrs
import pytest

from musproj.domain.asset import Asset
from musproj.domain.ids import DEFAULT_OWNER, Owner
from musproj.domain.job import Job
from musproj.domain.ledger import Rules
from musproj.testing.clock import FakeClock
from musproj.testing.records import new_asset, new_job

QUEUE = "rq:queue:audio-jobs"


@attrs.frozen
class Installation:
    """Records and queue on one Redis; time stands still unless it goes by the server's."""

    clock: FakeClock
    backend: Any
    jobs: Any
    queue: Any
    redis: Any

    def plant_asset(self, owner: str = DEFAULT_OWNER) -> Asset:
        """Return an asset that is just there, with its source."""
        asset = new_asset(self.now(), owner=Owner(owner))
        self.redis.hset(self.backend.keys.asset(asset.asset_id), mapping={"owner": owner, "status": "ready"})
        self.redis.hset(self.backend.keys.version(asset.asset_id, 1), "version", 1)
        return asset

    def submit(self, job_type: str = "enhance", *, owner: str = DEFAULT_OWNER, **changes: Any) -> Job:
        """Submit a job on an asset of its own."""
        asset = self.plant_asset(owner)
        job = new_job(asset, asset.created_at, job_type, **changes)
        self.jobs.submit(job)
        return job

    def now(self) -> Any:
        """Return the time, later than ever before."""
        return self.backend.read_at()[0] if self.backend.clock is None else self.clock.advance(0.001)

    def job(self, job: Job) -> Job:
        """Read the present record."""
        found = self.jobs.find(job.job_id)
        assert found is not None
        return found

    def waiting(self) -> list[str]:
        """Return what lies in RQ's queue."""
        return [part.decode() for part in self.redis.lrange(QUEUE, 0, -1)]

    def taken(self) -> list[str]:
        """Return what workers have taken and not acknowledged."""
        return [part.decode() for part in self.redis.lrange(f"{QUEUE}:intermediate", 0, -1)]

    def members(self, key: str) -> list[str]:
        """Return the members of a sorted set, in order."""
        return [part.decode() for part in self.redis.zrange(key, 0, -1)]

    def live_through(self, seconds: float) -> None:
        """Let time pass while the installation ticks."""
        while seconds > 0:
            step = min(5.0, seconds)
            seconds -= step
            self.clock.advance(timedelta(seconds=step))
            self.jobs.tick()


@pytest.fixture
def install(redis_server) -> Iterator[Callable[..., Installation]]:
    """Give a function that opens the same installation, once more with each call."""
    from redis import Redis

    from musproj.adapters.redis.backend import RedisBackend
    from musproj.adapters.redis.connection import RedisConnection
    from musproj.adapters.redis.jobs import RedisJobStore
    from musproj.adapters.redis.keys import Keys
    from musproj.adapters.rq.queue import RqQueue

    client = Redis.from_url(redis_server.url)
    client.flushdb()
    opened: list[RedisConnection] = []
    clock = FakeClock()

    def make(*, wire=None, rules=None, connection=None, has_server_time=False) -> Installation:
        connection = connection or RedisConnection(redis_server.url)
        opened.append(connection)
        backend = RedisBackend(
            connection=connection, keys=Keys(), rules=rules or Rules(), clock=None if has_server_time else clock
        )
        jobs = RedisJobStore(backend)
        return Installation(clock, backend, jobs, RqQueue(backend, jobs, wire=wire), client)

    yield make
    for connection in opened:
        connection.close()
    client.close()


@pytest.fixture
def it(install) -> Installation:
    return install()
