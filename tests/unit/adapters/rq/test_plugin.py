"""The queue is where the records are, or it is refused; nothing is sent to find that out."""

from pathlib import Path

import pytest

from musproj.adapters.memory import plugin as memory
from musproj.adapters.redis.backend import RedisBackend
from musproj.adapters.redis.connection import RedisConnection
from musproj.adapters.redis.jobs import RedisJobStore
from musproj.adapters.redis.keys import Keys
from musproj.adapters.rq.plugin import open_queue
from musproj.adapters.rq.queue import RqQueue
from musproj.adapters.rq.wire import RqWire
from musproj.domain.ledger import Rules
from musproj.errors import ConfigurationError
from musproj.ports.plugin import OpenedMetadata, PluginContext
from musproj.testing.clock import FakeClock

CONTEXT = PluginContext(
    clock=FakeClock(),
    rules=Rules(),
    queue_name="audio-jobs",
    data=Path(),
    base_url="http://127.0.0.1",
    max_upload_bytes=1,
)


def records_at(url: str) -> OpenedMetadata:
    connection = RedisConnection(url)
    backend = RedisBackend(connection=connection, keys=Keys(), rules=Rules())
    return OpenedMetadata(
        assets=memory.open_metadata("memory:", CONTEXT).assets,
        jobs=RedisJobStore(backend),
        close=connection.close,
        backend=backend,
    )


@pytest.mark.parametrize(
    ("records", "queue"),
    [
        ("redis://127.0.0.1:7000/3", "rq+redis://127.0.0.1:7000/3"),
        ("redis://127.0.0.1:7000", "rq+redis://127.0.0.1:7000/0"),
        ("redis://127.0.0.1:7000/3", "rq+redis://127.0.0.1:7000?db=3"),
        ("redis://localhost", "rq+redis://localhost:6379/"),
        ("rediss://:secret@cache.example:6380", "rq+rediss://:secret@cache.example:6380"),
    ],
)
def test_beside_the_records(records, queue):
    metadata = records_at(records)
    opened = open_queue(queue, CONTEXT, metadata)
    assert isinstance(opened, RqQueue)
    assert isinstance(metadata.backend, RedisBackend)
    assert isinstance(metadata.backend.wire, RqWire)


@pytest.mark.parametrize(
    "queue",
    [
        "rq+redis://127.0.0.1:7000/4",
        "rq+redis://127.0.0.1:7001/3",
        "rq+redis://:secret@cache.example:7000/3",
    ],
)
def test_elsewhere(queue):
    with pytest.raises(ConfigurationError, match="MUSPROJ_METADATA") as caught:
        open_queue(queue, CONTEXT, records_at("redis://127.0.0.1:7000/3"))
    assert "secret" not in str(caught.value)


def test_not_on_redis_at_all():
    metadata = memory.open_metadata("memory:", CONTEXT)
    with pytest.raises(ConfigurationError, match="must be on the Redis"):
        open_queue("rq+redis://127.0.0.1", CONTEXT, metadata)
