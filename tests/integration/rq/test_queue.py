"""What RQ's lists hold while jobs live, and what becomes of deliveries that nobody looks after."""

from datetime import timedelta

import pytest

from musproj.domain.ids import DEFAULT_OWNER, new_token
from musproj.domain.job import FailureKind, JobStatus
from musproj.domain.ledger import Failure, Granted, Rules
from musproj.errors import BackendUnavailableError
from musproj.ports.jobs import JobFilter, Publication
from musproj.testing.records import SOMEBODY_ELSE, new_worker

HOUR = timedelta(hours=1)
WORKER = new_worker()


def claim(it, worker=WORKER) -> Granted:
    run = it.queue.claim(worker)
    assert run is not None
    return run


def release(it, run: Granted, kind: FailureKind = FailureKind.PERMANENT) -> None:
    it.jobs.release(run.job.job_id, run.token, Failure(kind=kind, code="code", message="Text."))


def finish(it, run: Granted) -> None:
    it.jobs.commit(run.job.job_id, run.token, Publication())


class TestEndings:
    @pytest.mark.parametrize("ending", ["commit", "fail", "cancel", "cancelled in the queue"])
    def test_an_ended_job_leaves_nothing_with_rq(self, it, ending):
        job = it.submit()
        if ending == "cancelled in the queue":
            it.jobs.cancel(DEFAULT_OWNER, job.job_id)
        else:
            run = claim(it)
            assert it.taken() == [f"{job.job_id}-1"]
            if ending == "cancel":
                it.jobs.cancel(DEFAULT_OWNER, job.job_id)
            finish(it, run) if ending == "commit" else release(it, run)
        assert it.queue.claim(WORKER) is None
        assert (it.waiting(), it.taken(), it.redis.keys("rq:job:*")) == ([], [], [])
        assert it.members("jobs:timers") + it.members("jobs:delivered") + it.members("jobs:delayed") == []

    def test_a_job_that_waits_again_is_a_new_delivery(self, it):
        job = it.submit()
        release(it, claim(it), FailureKind.INTERRUPTED)
        assert (it.waiting(), it.taken()) == ([f"{job.job_id}-2"], [])
        release(it, claim(it), FailureKind.TRANSIENT)
        assert (it.waiting(), it.taken(), it.redis.keys("rq:job:*")) == ([], [], [])
        it.clock.advance(HOUR)
        assert claim(it).job.job_id == job.job_id
        assert it.taken() == [f"{job.job_id}-3"]

    def test_an_older_delivery_begins_nothing(self, it):
        job = it.submit()
        release(it, claim(it), FailureKind.INTERRUPTED)
        it.redis.lpush("rq:queue:audio-jobs", f"{job.job_id}-1")
        assert claim(it).job.job_id == job.job_id
        assert it.taken() == [f"{job.job_id}-2"]

    def test_a_delivery_that_lies_there_twice_begins_once(self, it):
        job = it.submit()
        it.redis.lpush("rq:queue:audio-jobs", f"{job.job_id}-1")
        claim(it)
        assert it.queue.claim(WORKER) is None
        assert it.job(job).status is JobStatus.RUNNING

    def test_urgent_ones_go_first_in_their_own_order(self, it):
        plain = [it.submit() for _ in range(2)]
        urgent = [it.submit(priority=5) for _ in range(3)]
        first = claim(it)
        urgent += [it.submit(priority=1)]
        rest = [claim(it).job.job_id for _ in range(5)]
        assert [first.job.job_id, *rest] == [job.job_id for job in (*urgent, *plain)]


class TestLostDeliveries:
    def test_one_that_a_dead_worker_has_comes_again(self, it):
        job = it.submit()
        it.redis.lmove("rq:queue:audio-jobs", "rq:queue:audio-jobs:intermediate")
        it.live_through(20)
        assert it.waiting() == []  # seen once: its worker may be about to begin it
        it.live_through(15)
        assert (it.waiting(), it.taken()) == ([f"{job.job_id}-2"], [])
        assert claim(it).job.attempts == 1

    def test_a_worker_that_comes_late_begins_nothing(self, it):
        job = it.submit()
        it.redis.lmove("rq:queue:audio-jobs", "rq:queue:audio-jobs:intermediate")
        it.live_through(40)
        answer = it.jobs.begin_delivery(job.job_id, 1, WORKER, new_token())
        assert answer is None
        assert claim(it).job.job_id == job.job_id

    def test_a_flushed_queue_is_filled_again(self, it):
        jobs = [it.submit() for _ in range(150)]
        it.redis.delete(*it.redis.keys("rq:*"))
        it.live_through(40)
        assert sorted(it.waiting()) == [f"{job.job_id}-2" for job in jobs]

    @pytest.mark.parametrize("state", ["failed", "finished"])
    def test_one_that_a_stock_worker_gave_up_comes_again(self, it, state):
        job = it.submit()
        it.redis.delete("rq:queue:audio-jobs")
        it.redis.hset(f"rq:job:{job.job_id}-1", "status", state)
        it.live_through(20)
        assert it.waiting() == [f"{job.job_id}-2"]

    def test_one_that_is_gone_from_the_list_alone_is_found_in_the_end(self, it):
        job = it.submit()
        it.redis.delete("rq:queue:audio-jobs")
        it.live_through(30 * 60)
        assert it.waiting()[-1].startswith(job.job_id)

    def test_what_waits_well_is_left_alone(self, it):
        job = it.submit()
        it.live_through(3600)
        assert it.waiting() == [f"{job.job_id}-1"]

    def test_a_listener_sweeps_what_dead_workers_left(self, it):
        done, running, drained = it.submit(), it.submit(), it.submit()
        finish(it, claim(it))
        claim(it)
        release(it, claim(it), FailureKind.INTERRUPTED)
        for left in (f"{done.job_id}-1", f"{drained.job_id}-1", "job_unknown-1"):
            it.redis.rpush("rq:queue:audio-jobs:intermediate", left)
        it.queue.sweep()
        assert it.taken() == [f"{running.job_id}-1"]


class TestWaitingForASlot:
    def test_what_waits_is_not_taken_again_and_again(self, it, redis_server):
        worker = new_worker(limits={"enhance": 1})
        jobs = [it.submit() for _ in range(20)]
        run = claim(it, worker)
        assert it.queue.claim(worker) is None
        assert it.members("wait:audio-jobs:p:enhance") == [f"{job.job_id}-1" for job in jobs[1:]]
        assert (it.waiting(), it.taken()) == ([], [f"{jobs[0].job_id}-1"])
        redis_server.command("CONFIG", "RESETSTAT")
        for _ in range(10):
            assert it.queue.claim(worker) is None
        assert redis_server.calls().get("evalsha", 0) == 0
        for job in jobs[1:]:
            finish(it, run)
            assert it.waiting() == [f"{job.job_id}-1"]
            run = claim(it, worker)
            assert run.job.job_id == job.job_id

    def test_the_urgent_one_is_handed_the_slot_first(self, it):
        worker = new_worker(limits={"enhance": 1})
        run = [it.submit(), claim(it, worker)][1]
        plain, urgent = it.submit(), it.submit(priority=3)
        assert it.queue.claim(worker) is None
        finish(it, run)
        run = claim(it, worker)
        assert run.job.job_id == urgent.job_id
        finish(it, run)
        assert claim(it, worker).job.job_id == plain.job_id

    def test_a_slot_that_its_owner_cannot_use_is_passed_on(self, install):
        it = install(rules=Rules(owner_concurrency=1))
        worker = new_worker(limits={"enhance": 1})
        busy = it.submit("analyze")
        claim(it, worker)
        running = [it.submit(owner=SOMEBODY_ELSE), claim(it, worker)][1]
        mine, theirs = it.submit(), it.submit(owner="a-third")
        assert it.queue.claim(worker) is None
        finish(it, running)
        run = claim(it, worker)
        assert run.job.job_id == theirs.job_id
        assert it.job(mine).status is JobStatus.QUEUED
        assert it.job(busy).status is JobStatus.RUNNING
        finish(it, run)
        assert it.queue.claim(worker) is None

    def test_a_slot_whose_job_was_cancelled_is_passed_on(self, it):
        worker = new_worker(limits={"enhance": 1})
        jobs = [it.submit() for _ in range(4)]
        run = claim(it, worker)
        assert it.queue.claim(worker) is None
        it.jobs.cancel(DEFAULT_OWNER, jobs[1].job_id)  # while it waits
        finish(it, run)
        it.jobs.cancel(DEFAULT_OWNER, jobs[2].job_id)  # when it was handed the slot
        assert claim(it, worker).job.job_id == jobs[3].job_id

    def test_a_slot_that_nobody_handed_on_is_found_in_the_end(self, it):
        worker = new_worker(limits={"enhance": 1})
        it.submit()
        run = claim(it, worker)
        second = it.submit()
        assert it.queue.claim(worker) is None
        finish(it, run)
        it.redis.delete("rq:queue:audio-jobs")  # handed on, and lost
        it.live_through(30 * 60)
        assert claim(it, worker).job.job_id == second.job_id


class TestParked:
    def test_a_job_waits_for_a_worker_that_is_able(self, it):
        job = it.submit(needs=("codecs",))
        assert it.queue.claim(WORKER) is None
        assert it.members("wait:audio-jobs:able") == [f"enhance|codecs|{job.job_id}-1"]
        assert (it.waiting(), it.taken()) == ([], [])
        assert it.queue.claim(new_worker(types=["separate"], abilities=["codecs"])) is None
        assert claim(it, new_worker(abilities=["codecs"])).job.job_id == job.job_id
        assert (it.members("wait:audio-jobs:able"), it.taken()) == ([], [f"{job.job_id}-1"])

    def test_each_is_taken_once(self, install):
        sides = [install(), install()]
        job = sides[0].submit(needs=("codecs",))
        assert sides[0].queue.claim(WORKER) is None
        able = new_worker(abilities=["codecs"])
        found = [side.queue.claim(able) for side in sides]
        assert [run.job.job_id for run in found if run is not None] == [job.job_id]

    def test_an_ended_one_is_parked_no_longer(self, it):
        job = it.submit(needs=("codecs",))
        assert it.queue.claim(WORKER) is None
        it.jobs.cancel(DEFAULT_OWNER, job.job_id)
        assert it.members("wait:audio-jobs:able") == []

    def test_a_newer_programs_job_waits_for_a_newer_program(self, it):
        newer, plain = it.submit(), it.submit()
        it.redis.hset(f"job:{newer.job_id}", "schema", 2)
        assert claim(it).job.job_id == plain.job_id
        for _ in range(3):
            assert it.queue.claim(new_worker(abilities=["codecs"])) is None
        assert it.members("wait:audio-jobs:able") == [f"enhance|schema:2|{newer.job_id}-1"]
        assert it.job(newer).status is JobStatus.QUEUED


class TestTrouble:
    def test_a_record_that_is_none_blocks_nobody(self, it):
        broken, job = it.submit(), it.submit()
        it.redis.delete(f"job:{broken.job_id}")
        it.redis.set(f"job:{broken.job_id}", "text")
        run = claim(it)
        assert run.job.job_id == job.job_id
        finish(it, run)
        it.live_through(60)
        assert it.queue.claim(WORKER) is None
        assert it.members("jobs:delivered") == []
        assert [shown.job_id for shown in it.jobs.list(DEFAULT_OWNER, JobFilter(), limit=9).items] == [job.job_id]

    def test_a_record_that_is_gone_is_forgotten(self, it):
        gone = it.submit()
        it.redis.delete(f"job:{gone.job_id}")
        assert it.queue.claim(WORKER) is None
        assert (it.waiting(), it.taken(), it.redis.keys("rq:job:*")) == ([], [], [])
        it.live_through(20)
        assert it.members("jobs:delivered") == []

    def test_what_was_taken_in_an_outage_is_begun_after_it(self, it, redis_server):
        """The server refuses scripts for a while: as one that ran full, or became a replica, refuses writes."""
        job = it.submit()
        redis_server.command("ACL", "SETUSER", "default", "-evalsha")
        try:
            with pytest.raises(BackendUnavailableError):
                it.queue.claim(WORKER)
        finally:
            redis_server.command("ACL", "SETUSER", "default", "+evalsha")
        assert it.taken() == [f"{job.job_id}-1"]
        assert claim(it).job.job_id == job.job_id
