"""The Redis adapters, with RQ as the queue, pass what every adapter must."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from uuid import uuid4

import pytest

from musproj.adapters.redis.accounts import RedisAccounts
from musproj.adapters.redis.assets import RedisAssetStore
from musproj.adapters.redis.backend import RedisBackend
from musproj.adapters.redis.connection import RedisConnection
from musproj.adapters.redis.jobs import RedisJobStore
from musproj.adapters.redis.keys import Keys
from musproj.adapters.redis.version_records import to_fields
from musproj.adapters.rq.queue import RqQueue
from musproj.domain.asset import Asset
from musproj.domain.ledger import Rules
from musproj.domain.version import Version
from musproj.testing.clock import FakeClock
from musproj.testing.jobs import JobStoreContract
from musproj.testing.ledger import Ledger, OpenLedger
from musproj.testing.metadata import AssetStoreContract
from musproj.testing.queue import JobQueueContract, claimed
from musproj.testing.records import new_worker


def open_redis(clock: FakeClock, rules: Rules, *, url: str, name: str, stack: ExitStack) -> Ledger:
    connection = RedisConnection(url)
    stack.callback(connection.close)
    backend = RedisBackend(connection=connection, keys=Keys(f"{name}:"), rules=rules, clock=clock)
    jobs = RedisJobStore(backend)
    queue = RqQueue(backend, jobs, "audio-jobs")
    stack.callback(queue.close)

    def plant(asset: Asset, version: Version) -> None:
        fields = to_fields(asset.asset_id, version)
        key = backend.keys.version(asset.asset_id, version.number)
        connection.execute([("HSET", key, *(part for field in fields.items() for part in field))])

    return Ledger(
        clock=clock,
        rules=rules,
        assets=RedisAssetStore(backend),
        jobs=jobs,
        queue=queue,
        accounts=RedisAccounts(backend),
        again=lambda: open_redis(clock, rules, url=url, name=name, stack=stack),
        cut_off=connection.close,
        plant_version=plant,
    )


class OnRedis:
    @pytest.fixture
    def open_ledger(self, redis_server) -> Iterator[OpenLedger]:
        with ExitStack() as stack:

            def make(clock: FakeClock, rules: Rules) -> Ledger:
                redis_server.command("FLUSHDB")  # RQ's keys have no prefix of ours
                return open_redis(clock, rules, url=redis_server.url, name=uuid4().hex[:8], stack=stack)

            yield make


class TestRedisAssetStore(OnRedis, AssetStoreContract):
    pass


class TestRedisJobStore(OnRedis, JobStoreContract):
    pass


class TestRqQueue(OnRedis, JobQueueContract):
    def test_priority_then_time_then_id(self, ledger: Ledger) -> None:
        """RQ's list has two ends: what is urgent comes first, everything else in the order of its delivery."""
        asset = ledger.ready()
        plain = [ledger.submit(asset) for _ in range(3)]
        urgent = [ledger.submit(asset, priority=priority) for priority in (5, 9)]
        late = ledger.submit(asset, delay=timedelta(seconds=30))
        soon = ledger.submit(asset, delay=timedelta(seconds=20))
        ledger.clock.advance(60)
        jobs = [*urgent, *plain, soon, late]
        assert claimed(ledger, new_worker()) == [job.job_id for job in jobs]
