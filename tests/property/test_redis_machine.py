"""Random histories: Redis and RQ answer and keep what the memory adapter, the model, does, but for the order."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from musproj.domain.job import JobStatus
from musproj.domain.ledger import Granted, Rules, Worker
from musproj.testing.clock import FakeClock
from musproj.testing.ledger import Ledger
from musproj.testing.machine import LedgerMachine, Run, shown

pytestmark = pytest.mark.timeout(900)  # a third of a second for each history


class RedisMachine(LedgerMachine):
    """RQ has two levels of priority, so the subject says which job is next, and the model must grant that one."""

    url = ""

    def open_subject(self, clock: FakeClock, rules: Rules) -> Ledger:
        from musproj.adapters.redis.accounts import RedisAccounts
        from musproj.adapters.redis.assets import RedisAssetStore
        from musproj.adapters.redis.backend import RedisBackend
        from musproj.adapters.redis.connection import RedisConnection
        from musproj.adapters.redis.jobs import RedisJobStore
        from musproj.adapters.redis.keys import Keys
        from musproj.adapters.rq.queue import RqQueue

        self.connection = RedisConnection(self.url)
        self.connection.execute([("FLUSHDB",)])
        backend = RedisBackend(connection=self.connection, keys=Keys(), rules=rules, clock=clock)
        jobs = RedisJobStore(backend)
        return Ledger(
            clock=clock,
            rules=rules,
            assets=RedisAssetStore(backend),
            jobs=jobs,
            queue=RqQueue(backend, jobs),
            accounts=RedisAccounts(backend),
        )

    def claimed(self, worker: Worker) -> Run | None:
        model, subject = self.sides
        self.calls += 1
        random.seed(self.calls)
        granted = subject.queue.claim(worker)
        random.seed(self.calls)
        if granted is None:
            assert model.queue.claim(worker) is None
            return None
        token = f"model-{self.calls}"
        answer = model.jobs.begin(granted.job.job_id, worker, token)
        assert isinstance(answer, Granted)
        assert shown(answer.job) == shown(granted.job)
        return self.started(granted.job.job_id, (token, granted.token))

    def picture(self) -> list[object]:
        counts = self.sides[1].jobs.counts()
        assert self.sides[1].queue.depth() == counts[JobStatus.QUEUED]
        return super().picture()

    def teardown(self) -> None:
        self.connection.close()


@pytest.fixture(autouse=True)
def server(redis_server) -> Iterator[None]:
    RedisMachine.url = redis_server.url
    yield
    RedisMachine.url = ""


TestRedis: Any = RedisMachine.TestCase
