"""What `musproj doctor` says of a Redis and a bucket, and what `musproj serve` does not start on."""

import json
import logging

import pytest

from musproj.cli import main


@pytest.fixture
def doctor(tmp_path, monkeypatch, capsys, own_redis):
    """Examine an installation on that server; give the checks by name and the exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MUSPROJ_REDIS_URL", own_redis.url)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(**settings):
        for name, value in settings.items():
            monkeypatch.setenv(f"MUSPROJ_{name.upper()}", value)
        capsys.readouterr()
        code = main(["doctor", "--json"])
        return code, {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}

    yield run
    root.handlers[:], root.level = handlers, level


def test_a_server_in_order_is_told_with_what_it_costs(doctor):
    code, found = doctor()
    ours = {name: check["status"] for name, check in found.items() if name.startswith(("redis", "queue", "rq"))}
    assert code == 0
    assert set(ours.values()) == {"ok"}
    assert {"redis version", "redis eviction", "redis persistence", "redis tls", "redis commands", "queue"} <= set(ours)
    assert "0.6 million a month" in found["redis commands"]["detail"]
    assert "0.3 million a month" in doctor(economy="true")[1]["redis commands"]["detail"]


@pytest.mark.parametrize(
    ("policy", "status", "code"),
    [("allkeys-lru", "problem", 11), ("volatile-ttl", "warning", 0), ("noeviction", "ok", 0)],
)
def test_eviction_is_told_with_what_mends_it(doctor, own_redis, policy, status, code):
    own_redis.command("CONFIG", "SET", "maxmemory-policy", policy)
    found = doctor()
    assert (found[0], found[1]["redis eviction"]["status"]) == (code, status)
    assert ("fix" in found[1]["redis eviction"]) == (status != "ok")


def test_a_server_that_forgets_when_it_dies_is_told(doctor, own_redis):
    own_redis.command("CONFIG", "SET", "appendonly", "no")
    assert doctor()[1]["redis persistence"]["status"] == "warning"


def test_waiting_for_a_replica_that_is_not_there_is_told(doctor):
    assert doctor(redis_wait_ms="100")[1]["redis replicas"]["status"] == "warning"


def test_a_replica_is_no_place_to_write(doctor, own_redis):
    own_redis.command("REPLICAOF", "127.0.0.1", "1")
    code, found = doctor()
    assert (code, found["redis replicas"]["status"]) == (11, "problem")


def test_others_in_the_queue_are_told(doctor, own_redis):
    own_redis.command("RPUSH", "rq:queue:audio-jobs", "3f2c9a10-0c52-4f9e-8a3b-0123456789ab")
    own_redis.command("SADD", "rq:workers:audio-jobs", "rq:worker:somebody")
    own_redis.command("ZADD", "rq:failed:audio-jobs", 1, "job_1-1")
    _, found = doctor()
    assert "MUSPROJ_QUEUE_NAME" in found["queue entries"]["fix"]
    assert "trust" in found["rq workers"]["detail"]
    assert "--serializer json" in found["rq failures"]["fix"]


def test_a_server_that_is_away_is_one_problem_with_a_name(doctor, own_redis):
    own_redis.stop()
    code, found = doctor()
    assert code == 11
    assert found["redis"]["status"] == "problem"
    assert own_redis.url.removeprefix("redis://").removesuffix("/0") in found["redis"]["detail"]
    own_redis.start()


def test_a_bucket_is_tried_from_end_to_end(doctor, swift_server):
    code, found = doctor(**swift_server.stores(), cors_origins="https://app.example")
    bucket = {name: check["status"] for name, check in found.items() if name.startswith(("bucket", "signed"))}
    assert code == 0
    assert set(bucket.values()) == {"ok"}
    assert len(bucket) == 20
    assert "412" in found["signed put again"]["detail"]


def test_a_wrong_key_is_told_without_it(doctor, swift_server):
    code, found = doctor(**{**swift_server.stores(), "s3_secret_access_key": "canary"})
    assert code == 11
    assert found["storage"]["status"] == "problem"
    assert "canary" not in json.dumps(found)


def test_serve_does_not_start_where_records_may_be_thrown_away(doctor, own_redis, capsys):
    own_redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    assert main(["serve", "--port", "0", "--no-worker"]) == 2
    told = capsys.readouterr().err
    assert "allkeys-lru" in told
    assert "--force" in told
