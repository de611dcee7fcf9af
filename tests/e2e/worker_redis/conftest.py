"""Real workers on a Redis of their own, which a test may kill, freeze or fill."""

import pytest

from musproj.testing.workers import Installation


@pytest.fixture
def own_redis(require_tool):
    """A server for one test, which keeps what it was told when it is killed."""
    require_tool("redis-server")
    from musproj.testing.redis_server import RedisServer

    with RedisServer(appendonly=True) as server:
        yield server


@pytest.fixture
def installation(tmp_path, own_redis):
    """Records and queue on that server, objects in a folder; leases as in production."""
    found = Installation(folder=tmp_path, stores={"redis_url": own_redis.url}, lease_s=30.0)
    yield found
    assert found.leftovers() == []


@pytest.fixture
def mp(installation):
    with installation.opened() as opened:
        yield opened


@pytest.fixture
def worker(installation):
    """One worker with two slots."""
    with installation.worker(concurrency=2) as process:
        process.wait_for("worker_started")
        yield process


def killed(server):
    server.stop(kill=True)
    yield
    server.start()


def frozen(server):
    server.pause()
    yield
    server.resume()


def read_only(server):
    server.command("REPLICAOF", "127.0.0.1", "1")
    yield
    server.command("REPLICAOF", "NO", "ONE")


def full(server):
    server.command("CONFIG", "SET", "maxmemory", "1")
    yield
    server.command("CONFIG", "SET", "maxmemory", "0")


@pytest.fixture(params=[killed, frozen, read_only, full])
def trouble(request):
    """What happens to a Redis: a generator function that does it, and mends it when it goes on."""
    return request.param
