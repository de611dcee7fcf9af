"""The job record as others find it in Redis, unreadable ones, and replies that are lost."""

import json
from datetime import timedelta

import pytest

from musproj.adapters.redis.connection import RedisConnection
from musproj.domain import ledger
from musproj.domain.ids import DEFAULT_OWNER, new_token
from musproj.domain.job import FailureKind, JobInput, JobStatus
from musproj.domain.ledger import Failure
from musproj.errors import BackendUnavailableError, SchemaTooNewError
from musproj.ports.assets import Idempotency
from musproj.ports.jobs import Beat, Created, Existing, JobFilter, Publication
from musproj.testing.records import new_job, new_worker

WORKER = new_worker()
ALL = JobFilter()


def claim(it):
    run = it.queue.claim(WORKER)
    assert run is not None
    return run


def hash_of(it, job) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in it.redis.hgetall(f"job:{job.job_id}").items()}


class TestLayout:
    def test_a_waiting_job(self, it):
        job = it.submit(params={"b": 1, "a": "ü"}, needs=("codecs", "model"))
        assert hash_of(it, job) == {
            "jobId": job.job_id,
            "type": "enhance",
            "assetId": job.asset_id,
            "inputVersion": "1",
            "status": "queued",
            "progress": "0",
            "attempts": "0",
            "createdAt": "2026-01-01T12:00:00.001Z",
            "params": '{"a":"\\u00fc","b":1}',
            "owner": "default",
            "queue": "audio-jobs",
            "needs": "codecs,model",
            "runAt": "1767268800001",
            "expiresAt": "1767873600001",
            "updatedAt": "1767268800001",
            "maxAttempts": "5",
            "rootJobId": job.job_id,
            "processorVersion": "1.0.0",
            "delivery": "1",
            "schema": "1",
            "rev": "1",
        }

    def test_an_ended_job(self, it):
        job = it.submit(priority=3)
        run = claim(it)
        it.clock.advance(2)
        it.jobs.commit(job.job_id, run.token, Publication(result={"lufs": -16.0}))
        found = hash_of(it, job)
        assert {name: found[name] for name in ("status", "progress", "result", "startedAt", "finishedAt", "token")} == {
            "status": "succeeded",
            "progress": "100",
            "result": '{"lufs":-16.0}',
            "startedAt": "2026-01-01T12:00:00.001Z",
            "finishedAt": "2026-01-01T12:00:02.001Z",
            "token": run.token,
        }
        assert not {"leaseUntil", "waitReason", "stage", "createdVersion", "errorCode"} & set(found)

    def test_a_failed_job_keeps_its_attempts_beside_it(self, it):
        job = it.submit()
        run = claim(it)
        it.jobs.release(job.job_id, run.token, Failure(kind=FailureKind.PERMANENT, code="not_audio", message="No."))
        found = hash_of(it, job)
        assert (found["errorCode"], found["errorMessage"], found["errorRetryable"]) == ("not_audio", "No.", "0")
        (entry,) = it.redis.lrange(f"job:{job.job_id}:attempts", 0, -1)
        assert json.loads(entry)["code"] == "not_audio"

    def test_several_inputs_are_json_by_port(self, it):
        asset = it.plant_asset()
        inputs = (
            JobInput(port="voice", asset_id=asset.asset_id, version=1, file="source"),
            JobInput(port="band", asset_id=asset.asset_id, version=1),
        )
        job = new_job(asset, it.now(), "mix", inputs=inputs)
        it.jobs.submit(job)
        found = hash_of(it, job)
        assert (found["assetId"], found["inputVersion"], found["inputFile"]) == (asset.asset_id, "1", "source")
        assert list(json.loads(found["inputs"])) == ["voice", "band"]
        assert it.job(job) == job

    def test_what_a_client_waits_for_is_small(self, it):
        """A listpack: half the memory of a hash table."""
        job = it.submit()
        assert it.redis.object("ENCODING", f"job:{job.job_id}") == b"listpack"
        assert it.redis.memory_usage(f"job:{job.job_id}") < 800

    def test_text_that_utf8_cannot_hold_is_kept_as_far_as_it_can(self, it):
        job = it.submit()
        run = claim(it)
        it.jobs.beat([Beat(job_id=job.job_id, token=run.token, progress=5, stage="lone \ud800")])
        assert it.job(job).stage == "lone ?"

    def test_ended_jobs_are_forgotten_in_time(self, it):
        jobs = [it.submit() for _ in range(4)]
        done = claim(it)
        it.jobs.commit(done.job.job_id, done.token, Publication())
        failed = claim(it)
        it.jobs.release(failed.job.job_id, failed.token, Failure(kind=FailureKind.PERMANENT, code="c", message="m"))
        it.jobs.cancel(DEFAULT_OWNER, jobs[2].job_id)
        days = [it.redis.ttl(f"job:{job.job_id}") / 86_400 for job in jobs]
        assert [round(day, 1) for day in days[:3]] == [30, 90, 30]
        assert it.redis.ttl(f"job:{jobs[3].job_id}") == -1
        assert round(it.redis.ttl(f"job:{jobs[1].job_id}:attempts") / 86_400, 1) == 90

    def test_lists_and_counts_forget_what_is_gone(self, it):
        jobs = [it.submit() for _ in range(3)]
        for job in jobs[:2]:
            it.jobs.cancel(DEFAULT_OWNER, job.job_id)
            it.redis.delete(f"job:{job.job_id}")  # as its time to live does
        page = it.jobs.list(DEFAULT_OWNER, ALL, limit=10)
        assert [job.job_id for job in page.items] == [jobs[2].job_id]
        cancelled = {it.jobs.counts()[JobStatus.CANCELLED], it.jobs.counts(DEFAULT_OWNER)[JobStatus.CANCELLED]}
        assert cancelled == {0}


GARBAGE = [
    ("params", "{not json"),
    ("inputs", "[]"),
    ("inputs", '{"a": {"assetId": "ast_1"}}'),
    ("assetId", None),
    ("jobId", "another"),
    ("progress", "4000"),
    ("progress", "many"),
    ("runAt", str(1 << 62)),
    ("createdAt", "yesterday"),
    ("status", "asleep"),
    ("waitReason", "boredom"),
    ("maxAttempts", "0"),
    ("rev", None),
    ("rev", "x"),
    ("errorCode", "alone"),
]


def spoil(it, job, field, value) -> None:
    key = f"job:{job.job_id}"
    it.redis.hdel(key, field) if value is None else it.redis.hset(key, field, value)


@pytest.mark.parametrize(("field", "value"), GARBAGE)
class TestGarbage:
    def test_a_reader_sees_a_failed_job(self, it, field, value):
        job, other = it.submit(), it.submit()
        spoil(it, job, field, value)
        found = it.jobs.get(DEFAULT_OWNER, job.job_id)
        assert (found.status, found.job_id) == (JobStatus.FAILED, job.job_id)
        assert found.error is not None
        assert (found.error.code, found.error.retryable) == ("corrupt_record", False)
        page = it.jobs.list(DEFAULT_OWNER, ALL, limit=10)
        assert [shown.job_id for shown in page.items] == [other.job_id, job.job_id]

    def test_a_worker_goes_on_with_the_next(self, it, field, value):
        job, other = it.submit(), it.submit()
        spoil(it, job, field, value)
        assert claim(it).job.job_id == other.job_id
        assert it.queue.claim(WORKER) is None
        found = hash_of(it, job)
        assert (found["status"], found["errorCode"]) == ("failed", "corrupt_record")
        assert dict(it.jobs.counts()) == dict.fromkeys(JobStatus, 0) | {JobStatus.RUNNING: 1, JobStatus.FAILED: 1}
        assert it.waiting() == []

    def test_every_call_answers(self, it, field, value):
        token = new_token()
        answers = []
        for call in (
            lambda job: it.jobs.begin(job.job_id, WORKER, token),
            lambda job: it.jobs.beat([Beat(job_id=job.job_id, token=token)])[0],
            lambda job: it.jobs.reserve(job.job_id, token),
            lambda job: it.jobs.commit(job.job_id, token, Publication()),
            lambda job: it.jobs.release(job.job_id, token, Failure(kind=FailureKind.CRASH, code="c", message="m")),
            lambda job: it.jobs.cancel(DEFAULT_OWNER, job.job_id),
        ):
            job = it.submit()
            spoil(it, job, field, value)
            answers.append(type(call(job)))
            assert it.job(job).status is JobStatus.FAILED
            assert hash_of(it, job)["errorCode"] == "corrupt_record"
        stale = ledger.Stale
        assert answers == [ledger.Finished, stale, stale, stale, stale, ledger.TooLate]

    def test_the_tick_goes_on(self, it, field, value):
        job, other = it.submit(), it.submit()
        runs = [claim(it) for _ in range(2)]
        spoil(it, job, field, value)
        it.live_through(40)
        assert [it.job(run.job).status for run in runs] == [JobStatus.FAILED, JobStatus.QUEUED]
        assert it.job(other).lost == 1


def test_an_attempt_that_cannot_be_read_costs_the_job(it):
    job = it.submit()
    run = claim(it)
    it.jobs.release(job.job_id, run.token, Failure(kind=FailureKind.TRANSIENT, code="c", message="m"))
    it.redis.lset(f"job:{job.job_id}:attempts", 0, "{")
    assert it.job(job).status is JobStatus.FAILED


class TestNewer:
    def test_it_is_shown_and_never_changed(self, it):
        job = it.submit()
        it.redis.hset(f"job:{job.job_id}", mapping={"schema": 2, "novelty": "x"})
        before = hash_of(it, job)
        assert it.job(job) == job
        for call in (
            lambda: it.jobs.begin(job.job_id, WORKER, new_token()),
            lambda: it.jobs.beat([Beat(job_id=job.job_id, token=new_token())]),
            lambda: it.jobs.cancel(DEFAULT_OWNER, job.job_id),
        ):
            with pytest.raises(SchemaTooNewError):
                call()
        it.live_through(60)
        assert hash_of(it, job) == before


class Deaf(RedisConnection):
    """Loses the reply to the next script: it was executed, and nobody knows."""

    is_deaf = False

    def execute(self, commands, *, atomic=False):
        replies = super().execute(commands, atomic=atomic)
        if self.is_deaf and commands[0][0] in ("EVALSHA", "EVAL"):
            self.is_deaf = False
            raise BackendUnavailableError("The reply was lost.", ambiguous=True)
        return replies


class TestLostReplies:
    @pytest.fixture
    def deaf(self, redis_server) -> Deaf:
        return Deaf(redis_server.url)

    @pytest.fixture
    def it(self, install, deaf):
        it = install(connection=deaf)
        it.submit()
        run = claim(it)
        it.jobs.commit(run.job.job_id, run.token, Publication())
        return it

    @pytest.mark.parametrize("key", [None, Idempotency(key="k", body_hash="h")])
    @pytest.mark.parametrize("force", [True, False])
    def test_a_submit_makes_one_job(self, it, deaf, key, force):
        asset = it.plant_asset()
        job = new_job(asset, it.now(), force=force)
        deaf.is_deaf = True
        assert it.jobs.submit(job, key) == Existing(job, replayed=False)
        assert it.waiting() == [f"{job.job_id}-1"]
        assert it.jobs.counts()[JobStatus.QUEUED] == 1

    def test_a_begin_is_granted_once(self, it, deaf):
        job = it.submit()
        deaf.is_deaf = True
        run = claim(it)
        assert (run.job, run.job.attempts) == (it.job(job), 1)

    def test_a_commit_is_known_as_done(self, it, deaf):
        it.submit()
        run = claim(it)
        deaf.is_deaf = True
        answer = it.jobs.commit(run.job.job_id, run.token, Publication())
        assert answer == ledger.Committed(it.job(run.job), again=True)

    def test_a_reservation_is_the_same(self, it, deaf):
        it.submit()
        run = claim(it)
        deaf.is_deaf = True
        number = it.jobs.reserve(run.job.job_id, run.token)
        assert number == it.jobs.reserve(run.job.job_id, run.token) == ledger.Reserved(2)

    def test_a_beat_is_repeated(self, it, deaf):
        it.submit()
        run = claim(it)
        deaf.is_deaf = True
        assert it.jobs.beat([Beat(job_id=run.job.job_id, token=run.token)]) == [ledger.BeatOk(cancel=False)]

    def test_a_cancel_is_known_as_done(self, it, deaf):
        job = it.submit()
        deaf.is_deaf = True
        assert it.jobs.cancel(DEFAULT_OWNER, job.job_id) == ledger.Cancelled(it.job(job))

    def test_a_release_that_was_heard_is_stale(self, it, deaf):
        """Nobody holds the job any more: the worker drops it, as it would have done."""
        job = it.submit()
        run = claim(it)
        deaf.is_deaf = True
        failure = Failure(kind=FailureKind.INTERRUPTED, code="c", message="m")
        assert it.jobs.release(job.job_id, run.token, failure) == ledger.Stale()
        assert it.waiting() == [f"{job.job_id}-2"]


class TestDeadReferences:
    def test_a_key_whose_job_is_gone_makes_another(self, it):
        key, asset = Idempotency(key="k", body_hash="h"), it.plant_asset()
        first = new_job(asset, it.now(), force=True)
        it.jobs.submit(first, key)
        it.redis.delete(f"job:{first.job_id}")
        second = new_job(asset, it.now(), force=True)
        assert it.jobs.submit(second, key) == Created(second)
        assert it.jobs.submit(new_job(asset, it.now()), key) == Existing(second, replayed=True)

    @pytest.mark.parametrize("paid", [True, False])
    def test_a_twin_that_is_gone_is_none(self, it, paid):
        asset = it.plant_asset()
        first = new_job(asset, it.now())
        it.jobs.submit(first)
        if paid:
            run = claim(it)
            it.jobs.commit(first.job_id, run.token, Publication())
        it.redis.delete(f"job:{first.job_id}")
        second = new_job(asset, it.now())
        assert it.jobs.submit(second, paid=paid) == Created(second)
        assert it.jobs.submit(new_job(asset, it.now())) == Existing(second, replayed=False)


class TestClocks:
    """The server's time decides; whoever submits or works may have a wrong clock."""

    @pytest.fixture
    def it(self, install):
        return install(has_server_time=True)

    @pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(hours=-1), timedelta(milliseconds=50)])
    def test_what_is_to_run_at_once_runs_at_once(self, it, ahead):
        asset = it.plant_asset()
        job = new_job(asset, asset.created_at + ahead)
        it.jobs.submit(job)
        run = claim(it)
        assert run.job.job_id == job.job_id
        lease = run.job.lease_until - it.now()
        assert timedelta(seconds=29) < lease <= timedelta(seconds=30)

    def test_what_is_delayed_waits_for_the_servers_time(self, it):
        now = it.now()
        job = it.submit(run_at=now + timedelta(hours=1))
        assert it.queue.claim(WORKER) is None
        assert it.queue.next_run_at() == job.run_at
