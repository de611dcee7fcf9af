"""Somebody with redis-cli who knows the documented keys alone can follow an asset, and its records stay small."""

import subprocess

import pytest

from musproj.domain.ids import DEFAULT_OWNER
from musproj.domain.ledger import Rules
from musproj.testing.ledger import Ledger

BUDGET_BYTES = 2_700
"""Of an asset with 3 versions, without provenance; the seed's keys alone take half of it."""


@pytest.fixture
def ledger(install):
    from musproj.adapters.redis.accounts import RedisAccounts
    from musproj.adapters.redis.assets import RedisAssetStore

    it = install()
    return Ledger(
        clock=it.clock,
        rules=Rules(),
        assets=RedisAssetStore(it.backend),
        jobs=it.jobs,
        queue=it.queue,
        accounts=RedisAccounts(it.backend),
    )


@pytest.fixture
def cli(redis_server, require_tool):
    program = require_tool("redis-cli")

    def ask(*words):
        command = [program, "-p", str(redis_server.port), *map(str, words)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    return ask


def read_asset(cli, asset_id):
    """Return what the seed's keys and fields tell of an asset, and nothing else."""
    fields = ("assetId", "createdAt", "status")
    asset = dict(zip(fields, cli("HMGET", f"asset:{asset_id}", *fields), strict=True))
    numbers = cli("LRANGE", f"asset:{asset_id}:versions", 0, -1)
    fields = ("version", "objectKey", "kind", "createdAt", "fromVersion")
    versions = [dict(zip(fields, cli("HMGET", f"asset:{asset_id}:v:{n}", *fields), strict=True)) for n in numbers]
    (latest,) = cli("GET", f"asset:{asset_id}:latestVersion")
    return asset, versions, latest


def test_redis_cli_follows_an_asset_from_its_creation_to_its_last_version(ledger, cli):
    asset = ledger.pending()
    assert read_asset(cli, asset.asset_id)[0]["status"] == "pending"

    ready = ledger.ready()
    ledger.publish(ready)
    ledger.finish(ledger.running(ready, "separate"), names=("vocals", "instrumental"))
    told, versions, latest = read_asset(cli, ready.asset_id)

    assert (told["assetId"], told["status"], latest) == (ready.asset_id, "ready", "3")
    assert told["createdAt"].endswith("Z")
    assert [(v["version"], v["fromVersion"]) for v in versions] == [("1", ""), ("2", "1"), ("3", "1")]
    assert [v["objectKey"] for v in versions] == [
        ledger.assets.version(DEFAULT_OWNER, ready.asset_id, n).primary.object_key for n in (1, 2, 3)
    ]


def test_redis_cli_sees_a_job(ledger, cli):
    job = ledger.submit(ledger.ready())
    fields = ("jobId", "type", "assetId", "inputVersion", "status", "progress")
    assert cli("HMGET", f"job:{job.job_id}", *fields) == [job.job_id, "enhance", job.asset_id, "1", "queued", "0"]


def test_records_stay_small(ledger, redis_server):
    asset = ledger.ready()
    for _ in range(2):
        ledger.publish(asset)
    keys = [
        f"asset:{asset.asset_id}{part}" for part in ("", ":latestVersion", ":versions", ":upload", ":jobs", ":movers")
    ]
    keys += [f"asset:{asset.asset_id}:v:{number}" for number in (1, 2, 3)]
    sizes = {key: redis_server.command("MEMORY", "USAGE", key) for key in keys}

    assert sum(size for size in sizes.values() if size) <= BUDGET_BYTES, sizes
    hashes = [key for key in keys if redis_server.command("TYPE", key) == b"hash"]
    assert {redis_server.command("OBJECT", "ENCODING", key) for key in hashes} == {b"listpack"}
