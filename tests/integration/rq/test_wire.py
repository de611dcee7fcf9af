"""What we write is what RQ writes, and a stock worker runs it; what others write there makes our worker run nothing."""

import json
import pickle
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from rq.job import Callback
from rq.queue import Queue
from rq.registry import FinishedJobRegistry
from rq.serializers import JSONSerializer

from musproj.adapters.rq.wire import FAILURE_TTL_S, FUNCTION, TIMEOUT_S, RqWire
from musproj.testing.records import new_worker

NOW = {"created_at", "enqueued_at"}
"""What differs from one moment to the next."""


def rq_queue(it) -> Queue:
    return Queue("audio-jobs", connection=it.redis, serializer=JSONSerializer)


def stored_entry(it, delivery: str) -> dict[bytes, bytes]:
    return it.redis.hgetall(f"rq:job:{delivery}")


def shown(entry: dict[bytes, bytes]) -> dict[str, object]:
    """Return an entry with its payload unpacked and without the times."""
    found: dict[str, object] = {name.decode(): value for name, value in entry.items() if name.decode() not in NOW}
    found["data"] = json.loads(zlib.decompress(entry[b"data"]))
    return found


def test_an_entry_is_that_of_enqueue_call(it):
    job = it.submit()
    ours = shown(stored_entry(it, f"{job.job_id}-1"))
    times = NOW & {name.decode() for name in stored_entry(it, f"{job.job_id}-1")}
    keys = set(it.redis.keys("rq:*"))
    it.redis.delete(*keys)
    rq_queue(it).enqueue_call(
        FUNCTION,
        args=(job.job_id,),
        timeout=TIMEOUT_S,
        result_ttl=0,
        failure_ttl=FAILURE_TTL_S,
        description=f"enhance {job.job_id}",
        job_id=f"{job.job_id}-1",
    )
    assert ours == shown(stored_entry(it, f"{job.job_id}-1"))
    assert times == NOW
    assert keys == set(it.redis.keys("rq:*"))
    assert it.waiting() == [f"{job.job_id}-1"]


def test_rq_reads_what_we_wrote(it):
    jobs = [it.submit(), it.submit(), it.submit(priority=5)]
    queue = rq_queue(it)
    assert queue.job_ids == [f"{job.job_id}-1" for job in (jobs[2], *jobs[:2])]
    entry = queue.fetch_job(f"{jobs[0].job_id}-1")
    assert entry is not None
    assert (entry.func_name, entry.args, entry.origin) == (FUNCTION, [jobs[0].job_id], "audio-jobs")
    assert entry.get_status().value == "queued"
    assert Queue.all(connection=it.redis) == [queue]


def test_a_stock_worker_runs_it_to_the_end(install, redis_server, tmp_path):
    Path(tmp_path, "stock_entry_point.py").write_text(
        "from pathlib import Path\n"
        "def run(job_id):\n"
        "    with Path(__file__).with_name('seen').open('a') as seen:\n"
        "        seen.write(job_id + '\\n')\n"
    )
    it = install(wire=RqWire("stock_entry_point.run"))
    jobs = [it.submit(), it.submit()]
    command = [Path(sys.executable).with_name("rq"), "worker", "--serializer", "json", "--burst", "--path", tmp_path]
    done = subprocess.run(
        [*command, "--url", redis_server.url, "audio-jobs"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert Path(tmp_path, "seen").read_text().split() == [job.job_id for job in jobs]
    assert (it.waiting(), it.taken()) == ([], [])
    assert len(it.redis.keys("rq:job:*")) == 0  # no result is kept
    assert FinishedJobRegistry("audio-jobs", connection=it.redis).count == 0


POISON = ["foreign function", "pickle", "success callback", "webhook"]


def poison(it, name: str, job_id: str, mark: Path) -> str:
    """Put an entry into the queue that would do harm where it is trusted; return its id."""
    delivery, call = f"{job_id}-1", f"touch {mark}"
    plain = {"status": "queued", "origin": "audio-jobs", "created_at": "2026-01-01T00:00:00.000000Z"}
    run = json.dumps([FUNCTION, None, [job_id], {}]).encode()
    fields: dict[str, dict[str, object]] = {
        "foreign function": {"data": json.dumps(["os.system", None, [call], {}]).encode()},
        "pickle": {"data": pickle.dumps(Bomb(call))},
        "success callback": {"data": run, "success_callback_name": "os.system"},
        "webhook": {"data": run, "webhooks": json.dumps([{"url": "http://127.0.0.1:9/", "statuses": ["finished"]}])},
    }
    it.redis.hset(f"rq:job:{delivery}", mapping={**plain, **fields[name]})
    it.redis.lrem("rq:queue:audio-jobs", 0, delivery)
    it.redis.rpush("rq:queue:audio-jobs", delivery)
    return delivery


class Bomb:
    """Runs a command where it is unpickled."""

    def __init__(self, call: str) -> None:
        self.call = call

    def __reduce__(self):
        import os

        return os.system, (self.call,)


@pytest.mark.parametrize("name", POISON)
class TestPoison:
    def test_of_a_known_job_the_record_decides(self, it, tmp_path, name):
        job, mark = it.submit(), tmp_path / "harm"
        poison(it, name, job.job_id, mark)
        run = it.queue.claim(new_worker())
        assert run is not None
        assert (run.job.job_id, run.job.type, run.job.params) == (job.job_id, job.type, job.params)
        assert it.queue.claim(new_worker()) is None
        assert not mark.exists()

    def test_of_an_unknown_job_nothing_runs(self, it, tmp_path, name):
        mark = tmp_path / "harm"
        for job_id in ("job_unknown", "os.system", "../../etc", "7d3c1f-4b"):
            poison(it, name, job_id, mark)
        assert it.queue.claim(new_worker()) is None
        assert (it.waiting(), it.taken(), it.redis.keys("rq:job:*")) == ([], [], [])
        assert not mark.exists()


def test_the_poison_is_one(it, tmp_path):
    """A worker that trusts entries does what they say: else the cases above would prove nothing."""
    mark = tmp_path / "harm"
    poison(it, "foreign function", "job_unknown", mark)
    entry = rq_queue(it).fetch_job("job_unknown-1")
    assert entry is not None
    entry.perform()
    assert mark.exists()
    assert Callback("os.system").name == "os.system"
