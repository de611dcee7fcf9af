"""Begin and beat: who runs a job, and that they still do."""

from datetime import timedelta

import attrs
import pytest

from musproj.domain.ids import DEFAULT_OWNER, new_job_id, new_token
from musproj.domain.job import FailureKind, Job, JobStatus, WaitReason
from musproj.domain.ledger import (
    MAX_LOSSES,
    BeatOk,
    Busy,
    CancelRequested,
    Committed,
    Done,
    Ended,
    Finished,
    Granted,
    Missing,
    NotDue,
    Rules,
    Stale,
    Throttled,
    Unable,
)
from musproj.ports.jobs import Beat
from musproj.testing.clock import FakeClock
from musproj.testing.contract import LedgerContract
from musproj.testing.ledger import Ledger, OpenLedger
from musproj.testing.records import SOMEBODY_ELSE, new_worker
from musproj.testing.threads import at_once

HOUR = timedelta(hours=1)
FREE_KINDS = (FailureKind.THROTTLED, FailureKind.INTERRUPTED, FailureKind.WAITING, FailureKind.BACKEND)


class BeginLaws(LedgerContract):
    """One run at a time."""

    def test_a_granted_job_runs(self, ledger: Ledger) -> None:
        """Under the given token, as its first attempt."""
        job, worker, token = ledger.submit(ledger.ready()), new_worker("host:7:boot"), new_token()
        now = ledger.clock.advance(5)
        answer = ledger.jobs.begin(job.job_id, worker, token)
        assert isinstance(answer, Granted)
        assert answer.token == token
        assert answer.job == ledger.job(job)
        assert answer.job == job.start(token=token, worker="host:7:boot", now=now, lease=ledger.rules.lease)
        assert (answer.job.status, answer.job.attempts, answer.job.started_at) == (JobStatus.RUNNING, 1, now)

    def test_of_16_workers_one_is_granted(self, ledger: Ledger) -> None:
        """The others learn how long to wait."""
        job = ledger.submit(ledger.ready())
        answers = at_once([lambda: ledger.jobs.begin(job.job_id, new_worker(), new_token())] * 16)
        granted = [answer for answer in answers if isinstance(answer, Granted)]
        assert len(granted) == 1
        busy = [answer for answer in answers if isinstance(answer, Busy)]
        assert busy == [Busy(ledger.now + ledger.rules.lease)] * 15
        assert ledger.job(job) == granted[0].job

    def test_an_unknown_job_is_missing(self, ledger: Ledger) -> None:
        """A delivery whose record is gone runs nothing."""
        assert ledger.jobs.begin(new_job_id(ledger.now), new_worker(), new_token()) == Missing()

    def test_an_ended_job_is_finished(self, ledger: Ledger) -> None:
        """However it ended; a late delivery is only to be acknowledged."""
        asset = ledger.ready()
        succeeded = ledger.publish(asset)
        failed, cancelled = ledger.running(asset).job, ledger.submit(asset)
        ledger.release(Granted(failed, failed.token or ""), FailureKind.PERMANENT)
        ledger.jobs.cancel(DEFAULT_OWNER, cancelled.job_id)
        for job in (succeeded, failed, cancelled):
            self.answers_without_change(ledger, job, Finished(ledger.job(job)))

    def test_a_live_lease_is_respected(self, ledger: Ledger) -> None:
        """Up to its last moment; a second delivery does nothing."""
        run = ledger.running(ledger.ready())
        until = ledger.now + ledger.rules.lease
        self.answers_without_change(ledger, run.job, Busy(until))
        ledger.clock.set(until - timedelta(milliseconds=1))
        self.answers_without_change(ledger, run.job, Busy(until))

    def test_a_delayed_job_is_not_due(self, ledger: Ledger) -> None:
        """Until its time has come."""
        job = ledger.submit(ledger.ready(), delay=HOUR)
        self.answers_without_change(ledger, job, NotDue(job.run_at))
        ledger.clock.set(job.run_at - timedelta(milliseconds=1))
        self.answers_without_change(ledger, job, NotDue(job.run_at))
        ledger.clock.set(job.run_at)
        assert ledger.begin(job).job.wait_reason is None

    def test_a_worker_that_lacks_something_is_unable(self, ledger: Ledger) -> None:
        """The job stays as it is, for one that has it."""
        job = ledger.submit(ledger.ready(), "enhance", needs=("codecs", "model"))
        for worker in (
            new_worker(types=["separate"], abilities=["codecs", "model"]),
            new_worker(types=["enhance"], abilities=["codecs"]),
            new_worker(types=[]),
        ):
            answer = ledger.jobs.begin(job.job_id, worker, new_token())
            assert answer == Unable()
            assert ledger.job(job).status is JobStatus.QUEUED
            assert ledger.job(job).attempts == 0
        ledger.begin(job, new_worker(types=["enhance"], abilities=["codecs", "model", "more"]))

    def test_an_expired_job_fails(self, ledger: Ledger) -> None:
        """Instead of being granted, delayed or not."""
        asset, until = ledger.ready(), ledger.now + HOUR
        jobs = [ledger.submit(asset, expires_at=until, delay=delay) for delay in (HOUR * 0, HOUR * 2)]
        ledger.clock.set(until)
        for job in jobs:
            answer = ledger.jobs.begin(job.job_id, new_worker(), new_token())
            assert answer == Ended(ledger.job(job))
            ended = ledger.job(job)
            assert ended.error is not None
            assert (ended.status, ended.error.code) == (JobStatus.FAILED, "deadline_exceeded")
            assert ended.finished_at == ledger.now

    def test_a_running_job_does_not_expire(self, ledger: Ledger) -> None:
        """What was begun in time may come to its end."""
        asset = ledger.ready()
        run = ledger.running(asset, expires_at=ledger.now + timedelta(minutes=1))
        ledger.live_through(300, run)
        assert isinstance(ledger.jobs.beat([Beat(job_id=run.job.job_id, token=run.token)])[0], BeatOk)
        assert ledger.finish(run).status is JobStatus.SUCCEEDED

    def test_a_cancelled_run_is_not_granted_again(self, ledger: Ledger) -> None:
        """Once its lease is over it ends, with the loss on record."""
        run = ledger.running(ledger.ready())
        assert isinstance(ledger.jobs.cancel(DEFAULT_OWNER, run.job.job_id), CancelRequested)
        ledger.clock.advance(ledger.rules.lease)
        answer = ledger.jobs.begin(run.job.job_id, new_worker(), new_token())
        assert answer == Ended(ledger.job(run.job))
        assert ledger.job(run.job).status is JobStatus.CANCELLED

    def answers_without_change(self, ledger: Ledger, job: Job, expected: object) -> None:
        """Begin the job; nothing of it changes."""
        before = ledger.job(job)
        assert ledger.jobs.begin(job.job_id, new_worker("host:other:boot"), new_token()) == expected
        assert ledger.job(job) == before


class TakeOverLaws(LedgerContract):
    """A lost lease, and what the next attempt starts from."""

    def test_an_expired_lease_is_taken_over(self, ledger: Ledger) -> None:
        """As a new attempt, with the loss counted and remembered; the old token is worth nothing."""
        old = ledger.running(ledger.ready())
        ledger.jobs.beat([Beat(job_id=old.job.job_id, token=old.token, progress=70, stage="working")])
        ledger.clock.advance(ledger.rules.lease)
        new = ledger.begin(old.job, new_worker("host:2:boot"))
        assert (new.job.attempts, new.job.lost, new.job.crashes, new.job.failures) == (2, 1, 0, 0)
        assert (new.job.progress, new.job.worker, new.job.started_at) == (0, "host:2:boot", ledger.now)
        assert [(entry.attempt, entry.kind) for entry in new.job.history] == [(1, FailureKind.LOST)]
        assert ledger.jobs.beat([Beat(job_id=old.job.job_id, token=old.token)]) == [Stale()]
        assert ledger.release(old, FailureKind.CRASH) == Stale()
        assert ledger.jobs.reserve(old.job.job_id, old.token) == Stale()
        assert ledger.job(new.job) == new.job

    def test_of_16_take_overs_one_is_granted(self, ledger: Ledger) -> None:
        """And one loss is counted."""
        run = ledger.running(ledger.ready())
        ledger.clock.advance(ledger.rules.lease)
        answers = at_once([lambda: ledger.jobs.begin(run.job.job_id, new_worker(), new_token())] * 16)
        assert [isinstance(answer, Granted) for answer in answers].count(True) == 1
        assert (ledger.job(run.job).lost, ledger.job(run.job).attempts) == (1, 2)

    def test_a_lease_from_a_clock_ahead_counts_as_expired(self, ledger: Ledger) -> None:
        """Further than two leases ahead it was made by a clock that jumped: it cannot lock the job up."""
        now = ledger.now
        ledger.clock.set(now + HOUR)
        run = ledger.running(ledger.ready())
        ledger.clock.set(now)
        assert ledger.begin(run.job).job.lost == 1

    def test_a_lease_a_little_ahead_is_live(self, ledger: Ledger) -> None:
        """Two leases ahead is what clocks may differ."""
        run = ledger.running(ledger.ready())
        ledger.clock.set(ledger.now - ledger.rules.lease)
        answer = ledger.jobs.begin(run.job.job_id, new_worker(), new_token())
        assert isinstance(answer, Busy)

    def test_a_worker_whose_clock_runs_ahead_steals_once_at_most(self, ledger: Ledger) -> None:
        """The run that was robbed can do nothing any more."""
        old = ledger.running(ledger.ready())
        now = ledger.now
        ledger.clock.set(now + HOUR)
        new = ledger.begin(old.job)
        ledger.clock.set(now)
        assert ledger.jobs.beat([Beat(job_id=old.job.job_id, token=old.token)]) == [Stale()]
        assert isinstance(ledger.jobs.beat([Beat(job_id=new.job.job_id, token=new.token)])[0], BeatOk)

    def test_ten_take_overs_are_the_end(self, ledger: Ledger) -> None:
        """A job whose whole worker vanishes each time blocks nobody."""
        run = ledger.running(ledger.ready())
        for lost in range(1, MAX_LOSSES):
            ledger.clock.advance(ledger.rules.lease)
            run = ledger.begin(run.job)
            assert run.job.lost == lost
        ledger.clock.advance(ledger.rules.lease)
        answer = ledger.jobs.begin(run.job.job_id, new_worker(), new_token())
        ended = ledger.job(run.job)
        assert answer == Ended(ended)
        assert ended.error is not None
        assert (ended.status, ended.error.code, ended.lost) == (JobStatus.FAILED, "worker_lost", MAX_LOSSES)

    @pytest.mark.parametrize("kind", FREE_KINDS)
    def test_a_free_ending_resumes_the_attempt(self, ledger: Ledger, kind: FailureKind) -> None:
        """Number, progress and start stay as they were: polls are no attempts."""
        run = ledger.running(ledger.ready())
        started = ledger.now
        ledger.jobs.beat([Beat(job_id=run.job.job_id, token=run.token, progress=40)])
        for _ in range(3):
            ledger.release(run, kind)
            ledger.clock.advance(HOUR)
            run = ledger.begin(run.job)
        assert (run.job.attempts, run.job.progress, run.job.started_at) == (1, 40, started)

    @pytest.mark.parametrize("kind", [FailureKind.TRANSIENT, FailureKind.CRASH, FailureKind.INTERNAL])
    def test_another_ending_costs_an_attempt(self, ledger: Ledger, kind: FailureKind) -> None:
        """The next one starts at nothing."""
        run = ledger.running(ledger.ready())
        ledger.jobs.beat([Beat(job_id=run.job.job_id, token=run.token, progress=40)])
        ledger.release(run, kind)
        ledger.clock.advance(HOUR)
        run = ledger.begin(run.job)
        assert (run.job.attempts, run.job.progress, run.job.started_at) == (2, 0, ledger.now)


class LimitLaws(LedgerContract):
    """Running jobs per processor and per owner."""

    def test_a_full_processor_throttles(self, ledger: Ledger) -> None:
        """Others are free; no attempt is spent."""
        asset, worker = ledger.ready(), new_worker(limits={"enhance": 2})
        for _ in range(2):
            ledger.begin(ledger.submit(asset), worker)
        waiting, other = ledger.submit(asset), ledger.submit(asset, "analyze")
        assert ledger.jobs.begin(waiting.job_id, worker, new_token()) == Throttled()
        assert (ledger.job(waiting).status, ledger.job(waiting).attempts) == (JobStatus.QUEUED, 0)
        ledger.begin(other, worker)

    @pytest.mark.parametrize("ending", ["commit", "release", "fail", "cancel", "loss"])
    def test_each_ending_frees_the_slot(self, ledger: Ledger, ending: str) -> None:
        """However the run ends."""
        asset, worker = ledger.ready(), new_worker(limits={"enhance": 1})
        run, waiting = ledger.begin(ledger.submit(asset), worker), ledger.submit(asset)
        assert ledger.jobs.begin(waiting.job_id, worker, new_token()) == Throttled()
        if ending == "commit":
            ledger.finish(run)
        elif ending == "loss":
            ledger.lose_worker()
        else:
            if ending == "cancel":
                ledger.jobs.cancel(DEFAULT_OWNER, run.job.job_id)
            ledger.release(run, FailureKind.PERMANENT if ending == "fail" else FailureKind.TRANSIENT)
        assert isinstance(ledger.jobs.begin(waiting.job_id, worker, new_token()), Granted)

    def test_a_take_over_needs_no_second_slot(self, ledger: Ledger) -> None:
        """The job has the slot already."""
        worker = new_worker(limits={"enhance": 1})
        run = ledger.begin(ledger.submit(ledger.ready()), worker)
        ledger.clock.advance(ledger.rules.lease)
        ledger.begin(run.job, worker)

    def test_a_full_owner_throttles(self, open_ledger: OpenLedger, clock: FakeClock) -> None:
        """Of any type; other owners are free."""
        ledger = open_ledger(clock, Rules(owner_concurrency=1))
        asset, foreign = ledger.ready(), ledger.ready(SOMEBODY_ELSE)
        run = ledger.running(asset)
        waiting = ledger.submit(asset, "analyze")
        assert ledger.jobs.begin(waiting.job_id, new_worker(), new_token()) == Throttled()
        ledger.running(foreign, "analyze")
        ledger.finish(run)
        ledger.begin(waiting)


class BeatLaws(LedgerContract):
    """Signs of life."""

    def test_a_beat_renews_the_lease(self, ledger: Ledger) -> None:
        """From the moment of the beat on."""
        run = ledger.running(ledger.ready())
        now = ledger.clock.advance(20)
        assert ledger.jobs.beat([Beat(job_id=run.job.job_id, token=run.token)]) == [BeatOk(cancel=False)]
        answer = ledger.jobs.begin(run.job.job_id, new_worker(), new_token())
        assert answer == Busy(now + ledger.rules.lease)

    def test_progress_rides_on_the_beat(self, ledger: Ledger) -> None:
        """It never falls, and what a beat leaves out stays."""
        run = ledger.running(ledger.ready())
        steps: list[tuple[int | None, str | None, tuple[int, str | None]]] = [
            (None, None, (0, None)),
            (10, "decoding", (10, "decoding")),
            (None, None, (10, "decoding")),
            (5, None, (10, "decoding")),
            (60, "limiting", (60, "limiting")),
            (100, None, (100, "limiting")),
        ]
        for progress, stage, expected in steps:
            now = ledger.clock.advance(1)
            ledger.jobs.beat([Beat(job_id=run.job.job_id, token=run.token, progress=progress, stage=stage)])
            job = ledger.job(run.job)
            assert (job.progress, job.stage) == expected
            assert job.updated_at == now

    def test_a_beat_carries_the_cancel_flag(self, ledger: Ledger) -> None:
        """From the moment of the request on; the lease is renewed all the same, and the job says that it stops."""
        run = ledger.running(ledger.ready())
        ledger.jobs.cancel(DEFAULT_OWNER, run.job.job_id)
        for _ in range(5):
            ledger.clock.advance(20)
            beat = Beat(job_id=run.job.job_id, token=run.token, stage="encoding")
            assert ledger.jobs.beat([beat]) == [BeatOk(cancel=True)]
        assert ledger.job(run.job).stage == "cancelling"

    def test_an_expired_lease_is_renewed_where_nobody_took_over(self, ledger: Ledger) -> None:
        """It only permitted to."""
        run = ledger.running(ledger.ready())
        ledger.clock.advance(10 * ledger.rules.lease)
        assert ledger.jobs.beat([Beat(job_id=run.job.job_id, token=run.token)]) == [BeatOk(cancel=False)]
        answer = ledger.jobs.begin(run.job.job_id, new_worker(), new_token())
        assert isinstance(answer, Busy)

    def test_after_its_own_end_a_run_is_done(self, ledger: Ledger) -> None:
        """By whatever way it ended under this token."""
        asset = ledger.ready()
        runs = [ledger.running(asset) for _ in range(3)]
        ledger.finish(runs[0])
        ledger.release(runs[1], FailureKind.PERMANENT)
        ledger.jobs.cancel(DEFAULT_OWNER, runs[2].job.job_id)
        ledger.release(runs[2], FailureKind.INTERRUPTED)
        before = [ledger.job(run.job) for run in runs]
        beats = [Beat(job_id=run.job.job_id, token=run.token, progress=1) for run in runs]
        assert list(ledger.jobs.beat(beats)) == [Done(), Done(), Done()]
        assert [ledger.job(run.job) for run in runs] == before

    def test_a_stale_beat_changes_nothing(self, ledger: Ledger) -> None:
        """Of a wrong token, of a job that waits again, of an unknown one."""
        asset = ledger.ready()
        run, waiting = ledger.running(asset), ledger.running(asset)
        ledger.release(waiting, FailureKind.TRANSIENT)
        before = [ledger.job(run.job), ledger.job(waiting.job)]
        ledger.clock.advance(5)
        beats = [
            Beat(job_id=run.job.job_id, token=new_token(), progress=9),
            Beat(job_id=waiting.job.job_id, token=waiting.token, progress=9),
            Beat(job_id=new_job_id(ledger.now), token=run.token, progress=9),
        ]
        assert list(ledger.jobs.beat(beats)) == [Stale(), Stale(), Stale()]
        assert [ledger.job(run.job), ledger.job(waiting.job)] == before

    def test_many_beats_are_answered_in_their_order(self, ledger: Ledger) -> None:
        """One call for all runs of a worker, also for none."""
        asset = ledger.ready()
        runs = [ledger.running(asset) for _ in range(5)]
        ledger.jobs.cancel(DEFAULT_OWNER, runs[1].job.job_id)
        ledger.finish(runs[3])
        beats = [Beat(job_id=run.job.job_id, token=run.token, progress=10 * n) for n, run in enumerate(runs)]
        beats[2] = attrs.evolve(beats[2], token=new_token())
        assert list(ledger.jobs.beat(beats)) == [
            BeatOk(cancel=False),
            BeatOk(cancel=True),
            Stale(),
            Done(),
            BeatOk(cancel=False),
        ]
        assert [ledger.job(run.job).progress for run in runs] == [0, 10, 0, 100, 40]
        assert list(ledger.jobs.beat([])) == []

    def test_a_run_that_was_prolonged_can_commit(self, ledger: Ledger) -> None:
        """However long it takes."""
        asset = ledger.ready()
        run = ledger.running(asset)
        ledger.live_through(600, run)
        number = ledger.reserve(run)
        answer = ledger.jobs.commit(run.job.job_id, run.token, ledger.publication(run, number))
        assert isinstance(answer, Committed)
        assert ledger.job(run.job).lost == 0
        assert ledger.job(run.job).wait_reason is not WaitReason.RETRY
