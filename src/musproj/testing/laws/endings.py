"""Release and cancel: what an ending costs, and who is told."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import attrs
import pytest

from musproj.domain.ids import DEFAULT_OWNER, new_job_id, new_token
from musproj.domain.job import KEPT_ATTEMPTS, FailureKind, Job, JobStatus, WaitReason
from musproj.domain.ledger import (
    MAX_CRASHES,
    MAX_INTERNAL,
    MAX_INTERRUPTS,
    MAX_TIMEOUTS,
    MESSAGE_LIMIT,
    RETRY_AFTER_CAP,
    CancelAnswer,
    Cancelled,
    CancelledFirst,
    CancelRequested,
    CommitAnswer,
    Committed,
    Ended,
    Failure,
    Finished,
    Granted,
    Missing,
    NotDue,
    Requeued,
    Stale,
    TooLate,
)
from musproj.testing.contract import LedgerContract
from musproj.testing.ledger import Ledger
from musproj.testing.records import SOMEBODY_ELSE, new_worker
from musproj.testing.threads import at_once

HOUR = timedelta(hours=1)
COUNTERS = ("failures", "crashes", "lost", "interrupts", "timeouts")


class ReleaseLaws(LedgerContract):
    """Each way to end has its own budget."""

    def test_a_permanent_failure_ends_the_job(self, ledger: Ledger) -> None:
        """At once, with its code for users and programs."""
        run = ledger.running(ledger.ready())
        now = ledger.clock.advance(5)
        answer = ledger.release(run, FailureKind.PERMANENT, "audio_corrupt")
        job = ledger.job(run.job)
        assert answer == Ended(job)
        assert job.error is not None
        assert (job.status, job.error.code, job.error.retryable) == (JobStatus.FAILED, "audio_corrupt", False)
        assert (job.finished_at, job.created_version) == (now, None)
        (entry,) = job.history
        assert (entry.attempt, entry.kind, entry.code, entry.at) == (1, FailureKind.PERMANENT, "audio_corrupt", now)
        assert (entry.worker, entry.seconds) == (run.job.worker, 5.0)

    @pytest.mark.parametrize(
        ("kind", "budget", "spent"),
        [
            (FailureKind.TRANSIENT, 5, {"failures": 5}),
            (FailureKind.INTERNAL, MAX_INTERNAL, {"failures": MAX_INTERNAL}),
            (FailureKind.TIMEOUT, MAX_TIMEOUTS, {"failures": MAX_TIMEOUTS, "timeouts": MAX_TIMEOUTS}),
            (FailureKind.CRASH, MAX_CRASHES, {"crashes": MAX_CRASHES}),
            (FailureKind.INTERRUPTED, MAX_INTERRUPTS, {"interrupts": MAX_INTERRUPTS}),
        ],
    )
    def test_a_budget_is_spent_by_its_own_kind(
        self, ledger: Ledger, kind: FailureKind, budget: int, spent: dict[str, int]
    ) -> None:
        """The job waits again until its budget is over, then it has failed."""
        run = ledger.running(ledger.ready())
        for _ in range(budget - 1):
            answer = ledger.release(run, kind, "code")
            assert answer == Requeued(ledger.job(run.job))
            ledger.clock.advance(HOUR)
            run = ledger.begin(run.job)
        answer = ledger.release(run, kind, "code")
        job = ledger.job(run.job)
        assert answer == Ended(job)
        assert job.error is not None
        assert (job.status, job.error.code) == (JobStatus.FAILED, "code")
        assert {name: getattr(job, name) for name in COUNTERS} == dict.fromkeys(COUNTERS, 0) | spent

    @pytest.mark.parametrize("kind", [FailureKind.THROTTLED, FailureKind.WAITING, FailureKind.BACKEND])
    def test_waiting_costs_nothing(self, ledger: Ledger, kind: FailureKind) -> None:
        """As often as it takes."""
        run = ledger.running(ledger.ready())
        for _ in range(30):
            assert isinstance(ledger.release(run, kind), Requeued)
            ledger.clock.advance(60)
            run = ledger.begin(run.job)
        assert [getattr(run.job, name) for name in COUNTERS] == [0] * len(COUNTERS)
        assert (run.job.attempts, run.job.history, run.job.error) == (1, (), None)

    def test_a_job_may_have_a_smaller_budget(self, ledger: Ledger) -> None:
        """Its own `max_attempts`; crashes are counted apart."""
        run = ledger.running(ledger.ready(), max_attempts=1)
        assert isinstance(ledger.release(run, FailureKind.CRASH), Requeued)
        ledger.clock.advance(HOUR)
        assert isinstance(ledger.release(ledger.begin(run.job), FailureKind.TRANSIENT), Ended)

    def test_a_drained_job_is_due_at_once(self, ledger: Ledger) -> None:
        """A deploy costs its users nothing."""
        run = ledger.running(ledger.ready())
        assert isinstance(ledger.release(run, FailureKind.INTERRUPTED), Requeued)
        job = ledger.job(run.job)
        assert (job.status, job.wait_reason, job.run_at) == (JobStatus.QUEUED, WaitReason.DRAIN, ledger.now)
        assert (job.token, job.worker, job.lease_until) == (None, None, None)
        claimed = ledger.queue.claim(new_worker())
        assert claimed is not None
        assert claimed.job.job_id == run.job.job_id

    def test_a_failed_attempt_backs_off(self, ledger: Ledger) -> None:
        """Twice as long each time, with jitter; what went wrong is shown meanwhile."""
        run = ledger.running(ledger.ready())
        for failed in range(4):
            ledger.release(run, FailureKind.TRANSIENT, "checksum_mismatch")
            job = ledger.job(run.job)
            full = ledger.rules.backoff_base * 2**failed
            assert full / 2 <= job.run_at - ledger.now <= full
            assert job.error is not None
            assert (job.wait_reason, job.error.code) == (WaitReason.RETRY, "checksum_mismatch")
            assert job.error.retryable
            self.due_then(ledger, job, job.run_at)
            run = ledger.begin(job)

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [
            (FailureKind.TRANSIENT, WaitReason.RETRY),
            (FailureKind.THROTTLED, WaitReason.RATE),
            (FailureKind.WAITING, WaitReason.REMOTE),
            (FailureKind.BACKEND, WaitReason.RATE),
        ],
    )
    def test_a_service_may_say_when(self, ledger: Ledger, kind: FailureKind, reason: WaitReason) -> None:
        """What it asks for is honoured, up to an hour."""
        for asked, granted in ((timedelta(minutes=20), timedelta(minutes=20)), (timedelta(days=3), RETRY_AFTER_CAP)):
            run = ledger.running(ledger.ready())
            ledger.release(run, kind, retry_after=asked)
            job = ledger.job(run.job)
            assert (job.wait_reason, job.run_at) == (reason, ledger.now + granted)
            self.due_then(ledger, job, ledger.now + granted)
            ledger.finish(ledger.begin(job))

    def test_a_release_ends_a_cancelled_job(self, ledger: Ledger) -> None:
        """Whatever it was released for."""
        for kind in (FailureKind.INTERRUPTED, FailureKind.TRANSIENT, FailureKind.PERMANENT, FailureKind.CRASH):
            run = ledger.running(ledger.ready())
            ledger.jobs.cancel(DEFAULT_OWNER, run.job.job_id)
            answer = ledger.release(run, kind)
            job = ledger.job(run.job)
            assert answer == Ended(job)
            assert (job.status, job.finished_at) == (JobStatus.CANCELLED, ledger.now)

    def test_a_stale_release_changes_nothing(self, ledger: Ledger) -> None:
        """Nor does a repeated one: it costs once."""
        run = ledger.running(ledger.ready())
        other = attrs.evolve(run, token=new_token())
        assert ledger.release(other, FailureKind.PERMANENT) == Stale()
        assert ledger.job(run.job) == run.job
        ledger.release(run, FailureKind.CRASH)
        before = ledger.job(run.job)
        assert ledger.release(run, FailureKind.CRASH) == Stale()
        assert ledger.job(run.job) == before
        unknown = Failure(kind=FailureKind.CRASH, code="c", message="m")
        assert ledger.jobs.release(new_job_id(ledger.now), run.token, unknown) == Stale()

    def test_only_the_end_gives_the_number_to_gc(self, ledger: Ledger) -> None:
        """A job that waits again keeps it; without a number there is nothing to collect."""
        asset = ledger.ready()
        run = ledger.running(asset)
        number = ledger.reserve(run)
        ledger.release(run, FailureKind.INTERRUPTED)
        assert ledger.garbage() == set()
        ledger.release(ledger.begin(run.job), FailureKind.PERMANENT)
        assert ledger.garbage() == {(asset.asset_id, number)}
        ledger.release(ledger.running(ledger.ready()), FailureKind.PERMANENT)
        assert ledger.garbage() == {(asset.asset_id, number)}

    def test_the_last_ten_attempts_are_kept(self, ledger: Ledger) -> None:
        """Oldest first, with short messages."""
        run = ledger.running(ledger.ready(), max_attempts=20)
        for _ in range(KEPT_ATTEMPTS + 2):
            failure = Failure(kind=FailureKind.TRANSIENT, code="code", message="é" * 2 * MESSAGE_LIMIT)
            ledger.jobs.release(run.job.job_id, run.token, failure)
            ledger.clock.advance(HOUR)
            run = ledger.begin(run.job)
        history = ledger.job(run.job).history
        assert [entry.attempt for entry in history] == list(range(3, KEPT_ATTEMPTS + 3))
        assert {len(entry.message) for entry in history} == {MESSAGE_LIMIT}

    def due_then(self, ledger: Ledger, job: Job, then: datetime) -> None:
        """The job can be begun from `then` on, not before."""
        ledger.clock.set(then - timedelta(milliseconds=1))
        assert ledger.jobs.begin(job.job_id, new_worker(), new_token()) == NotDue(then)
        assert ledger.queue.claim(new_worker()) is None
        ledger.clock.set(then)


class CancelLaws(LedgerContract):
    """One winner in every state."""

    def test_a_waiting_job_is_cancelled_at_once(self, ledger: Ledger) -> None:
        """Due, delayed, or between two attempts; its late delivery is only acknowledged."""
        asset = ledger.ready()
        run = ledger.running(asset)
        ledger.release(run, FailureKind.TRANSIENT)
        for job in (ledger.submit(asset), ledger.submit(asset, delay=HOUR), run.job):
            now = ledger.clock.advance(1)
            answer = ledger.jobs.cancel(DEFAULT_OWNER, job.job_id)
            ended = ledger.job(job)
            assert answer == Cancelled(ended)
            assert (ended.status, ended.finished_at) == (JobStatus.CANCELLED, now)
            assert ledger.jobs.begin(job.job_id, new_worker(), new_token()) == Finished(ended)
        ledger.clock.advance(2 * HOUR)
        assert ledger.queue.claim(new_worker()) is None

    def test_a_running_job_is_told(self, ledger: Ledger) -> None:
        """It runs on until its worker lets go; the first request counts."""
        run = ledger.running(ledger.ready())
        first = ledger.clock.advance(1)
        assert ledger.jobs.cancel(DEFAULT_OWNER, run.job.job_id) == CancelRequested(ledger.job(run.job))
        ledger.clock.advance(1)
        assert ledger.jobs.cancel(DEFAULT_OWNER, run.job.job_id) == CancelRequested(ledger.job(run.job))
        job = ledger.job(run.job)
        assert (job.status, job.cancel_requested_at, job.stage) == (JobStatus.RUNNING, first, "cancelling")
        assert job.token == run.token

    def test_an_ended_job_stays_as_it_ended(self, ledger: Ledger) -> None:
        """Too late, but for one that was cancelled already."""
        asset = ledger.ready()
        failed, cancelled = ledger.running(asset), ledger.submit(asset)
        ledger.release(failed, FailureKind.PERMANENT)
        ledger.jobs.cancel(DEFAULT_OWNER, cancelled.job_id)
        ended = [ledger.publish(asset), ledger.job(failed.job), ledger.job(cancelled)]
        ledger.clock.advance(60)
        answers = [ledger.jobs.cancel(DEFAULT_OWNER, job.job_id) for job in ended]
        assert answers == [TooLate(ended[0]), TooLate(ended[1]), Cancelled(ended[2])]
        assert [ledger.job(job) for job in ended] == ended

    def test_nobody_cancels_the_jobs_of_others(self, ledger: Ledger) -> None:
        """A foreign id is an unknown id."""
        job = ledger.submit(ledger.ready())
        assert ledger.jobs.cancel(SOMEBODY_ELSE, job.job_id) == Missing()
        assert ledger.jobs.cancel(DEFAULT_OWNER, new_job_id(ledger.now)) == Missing()
        assert ledger.job(job) == job

    def test_a_cancelled_job_leaves_its_number_to_gc(self, ledger: Ledger) -> None:
        """Also where it was waiting for its next attempt."""
        asset = ledger.ready()
        run = ledger.running(asset)
        number = ledger.reserve(run)
        ledger.release(run, FailureKind.TRANSIENT)
        ledger.jobs.cancel(DEFAULT_OWNER, run.job.job_id)
        assert ledger.garbage() == {(asset.asset_id, number)}

    def test_a_cancel_can_come_before_the_first_beat(self, ledger: Ledger) -> None:
        """A lost worker's job that was to be cancelled ends by the timer."""
        run = ledger.running(ledger.ready())
        ledger.jobs.cancel(DEFAULT_OWNER, run.job.job_id)
        ledger.lose_worker()
        assert ledger.job(run.job).status is JobStatus.CANCELLED


class CancelRaceLaws(LedgerContract):
    """Cancel against commit, at one moment."""

    race_rounds = 200
    """How many races are run; a fast adapter may run more."""

    def test_cancel_and_commit_never_both_win(self, ledger: Ledger) -> None:
        """The job succeeded with its version, or was cancelled without one."""
        asset = ledger.ready()
        published = [1]
        for turn in range(self.race_rounds):
            run = ledger.running(asset)
            number = ledger.reserve(run)
            if self.commit_wins(ledger, run, number, commit_starts=turn % 2 == 0):
                published.append(number)
        assert ledger.numbers(asset) == published
        assert ledger.asset(asset).version_count == len(published)

    def commit_wins(self, ledger: Ledger, run: Granted, number: int, *, commit_starts: bool) -> bool:
        """Race once; everything that shows the outcome must show the same one."""
        commit: Callable[[], CommitAnswer | CancelAnswer] = partial(
            ledger.jobs.commit, run.job.job_id, run.token, ledger.publication(run, number)
        )
        cancel: Callable[[], CommitAnswer | CancelAnswer] = partial(ledger.jobs.cancel, DEFAULT_OWNER, run.job.job_id)
        answers = at_once([commit, cancel] if commit_starts else [cancel, commit])
        committed, cancelled = answers if commit_starts else reversed(answers)
        job = ledger.job(run.job)
        if isinstance(committed, Committed):
            assert cancelled == TooLate(job)
            assert (job.status, job.created_version) == (JobStatus.SUCCEEDED, number)
            return True
        assert committed == CancelledFirst(job)
        assert isinstance(cancelled, CancelRequested)
        assert (job.status, job.created_version) == (JobStatus.CANCELLED, None)
        return False
