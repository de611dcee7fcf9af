from datetime import timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musproj.domain import ledger
from musproj.domain.asset import FIRST_LOOK, GC_GRACE, TOMBSTONE, URL_GRACE
from musproj.domain.job import DEFAULT_LIFETIME, KEPT_ATTEMPTS, FailureKind, Job, JobInput, JobStatus, WaitReason
from musproj.domain.ledger import Failure, Rules
from musproj.testing.clock import NOON
from musproj.testing.records import new_asset, new_job, new_worker

RULES = Rules()
LEASE = RULES.lease
MOMENT = timedelta(milliseconds=1)
WORKER = new_worker()
TOKEN = "0123456789abcdef0123456789abcdef"

kinds = st.sampled_from(FailureKind)


def waiting(**changes) -> Job:
    return new_job(new_asset(NOON), NOON, **changes)


def running(**changes) -> Job:
    return attrs.evolve(waiting().start(token=TOKEN, worker="host:1:boot", now=NOON, lease=LEASE), **changes)


def begin(job, *, now=NOON, worker=WORKER, has_slot=True):
    return ledger.begin(job, worker, token=TOKEN, now=now, rules=RULES, has_slot=has_slot)


def release(job, kind, *, now=NOON, rules=RULES, **facts):
    failure = Failure(kind=kind, code="code", message="Text.", **facts)
    return ledger.release(job, TOKEN, failure, now=now, rules=rules)


# ── leases ──


@pytest.mark.parametrize(
    ("ahead", "is_live"),
    [(-MOMENT, False), (timedelta(0), False), (MOMENT, True), (2 * LEASE, True), (2 * LEASE + MOMENT, False)],
)
def test_a_lease_is_live_up_to_its_end_and_no_further_than_two_leases_ahead(ahead, is_live):
    assert ledger.is_live(running(lease_until=NOON + ahead), NOON, RULES) is is_live


def test_only_a_running_job_has_a_live_lease():
    assert not ledger.is_live(waiting(lease_until=NOON + LEASE), NOON, RULES)
    assert not ledger.is_live(running(lease_until=None), NOON, RULES)


# ── begin ──


def test_begin_grants_a_waiting_job():
    job, answer = begin(waiting())
    assert answer == ledger.Granted(job, TOKEN)
    assert (job.status, job.attempts, job.lease_until) == (JobStatus.RUNNING, 1, NOON + LEASE)


def test_begin_prefers_the_end_over_everything():
    for done in (running().fail(ledger.Failure(kind="crash", code="c", message="m").as_error(retryable=False), now=NOON),
                 running().end_cancelled(now=NOON)):  # fmt: skip
        assert begin(done) == (done, ledger.Finished(done))


def test_begin_prefers_a_cancel_over_the_budget_and_the_deadline():
    job = waiting(cancel_requested_at=NOON, failures=9, expires_at=NOON)
    ended, answer = begin(job)
    assert isinstance(answer, ledger.Ended)
    assert ended.status is JobStatus.CANCELLED


def test_begin_ends_a_job_whose_budget_is_over():
    ended, answer = begin(waiting(crashes=3))
    assert answer == ledger.Ended(ended)
    assert ended.error is not None
    assert (ended.status, ended.error.code) == (JobStatus.FAILED, "worker_lost")


def test_begin_prefers_the_deadline_over_the_delay():
    ended, answer = begin(waiting(expires_at=NOON, delay=timedelta(hours=1)))
    assert isinstance(answer, ledger.Ended)
    assert ended.error is not None
    assert "(delay)" in ended.error.message


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"worker": new_worker(types=[])}, ledger.Unable()),
        ({"has_slot": False}, ledger.Throttled()),
    ],
)
@pytest.mark.parametrize("job", [waiting(), running(lease_until=NOON)], ids=["waiting", "lost"])
def test_a_refused_begin_changes_nothing(job, wish, expected):
    assert begin(job, **wish) == (job, expected)


def test_ability_is_looked_at_before_slots():
    _, answer = begin(waiting(), worker=new_worker(types=[]), has_slot=False)
    assert answer == ledger.Unable()


def test_a_take_over_counts_the_loss_and_remembers_the_worker():
    job, _ = begin(running(lease_until=NOON, started_at=NOON - LEASE))
    assert (job.lost, job.attempts) == (1, 2)
    assert (job.history[0].worker, job.history[0].seconds) == ("host:1:boot", 30.0)
    assert "host:1:boot" in job.history[0].message


# ── beat, holds ──


@pytest.mark.parametrize(
    ("job", "token", "expected"),
    [
        (running(), TOKEN, ledger.BeatOk(cancel=False)),
        (running(cancel_requested_at=NOON), TOKEN, ledger.BeatOk(cancel=True)),
        (running(), "other", ledger.Stale()),
        (running().end_cancelled(now=NOON), TOKEN, ledger.Done()),
        (running().end_cancelled(now=NOON), "other", ledger.Stale()),
        (waiting(token=TOKEN), TOKEN, ledger.Stale()),
    ],
)
def test_a_beat_is_answered_by_token_and_state(job, token, expected):
    after, answer = ledger.beat(job, token, progress=5, stage="x", now=NOON + MOMENT, rules=RULES)
    assert answer == expected
    if isinstance(answer, ledger.BeatOk):
        assert after.lease_until == NOON + MOMENT + LEASE
    else:
        assert after is job


def test_a_run_holds_its_job_whatever_the_clock_says():
    assert ledger.holds(running(lease_until=NOON - timedelta(days=1)), TOKEN)
    assert not ledger.holds(running(), "other")
    assert not ledger.holds(running().end_cancelled(now=NOON), TOKEN)


# ── release ──


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (FailureKind.TRANSIENT, WaitReason.RETRY),
        (FailureKind.INTERNAL, WaitReason.RETRY),
        (FailureKind.TIMEOUT, WaitReason.RETRY),
        (FailureKind.CRASH, WaitReason.RETRY),
        (FailureKind.LOST, WaitReason.RETRY),
        (FailureKind.THROTTLED, WaitReason.RATE),
        (FailureKind.INTERRUPTED, WaitReason.DRAIN),
        (FailureKind.WAITING, WaitReason.REMOTE),
        (FailureKind.BACKEND, WaitReason.RATE),
    ],
)
def test_what_a_job_waits_for_after_each_kind_of_failure(kind, reason):
    job, answer = release(running(), kind)
    assert answer == ledger.Requeued(job)
    assert job.wait_reason is reason
    assert (job.stage == "retrying after code") is (reason is WaitReason.RETRY)
    assert (job.error is None) is (reason is not WaitReason.RETRY)


@given(kinds, st.integers(0, 12), st.integers(0, 12), st.integers(0, 12), st.integers(0, 25), st.integers(0, 3))
def test_a_release_requeues_or_ends_and_spends_at_most_one(kind, failures, crashes, lost, interrupts, timeouts):
    before = running(failures=failures, crashes=crashes, lost=lost, interrupts=interrupts, timeouts=timeouts)
    after, answer = release(before, kind)
    assert isinstance(answer, ledger.Requeued | ledger.Ended)
    assert after.status is (JobStatus.QUEUED if isinstance(answer, ledger.Requeued) else JobStatus.FAILED)
    spent = [
        getattr(after, name) - getattr(before, name)
        for name in ("failures", "crashes", "lost", "interrupts")
    ]  # fmt: skip
    assert sum(spent) == (kind not in {FailureKind.THROTTLED, FailureKind.WAITING, FailureKind.BACKEND})
    assert min(spent) == 0
    assert after.attempts == before.attempts
    assert after.token == (None if isinstance(answer, ledger.Requeued) else TOKEN)


@given(kinds, st.none() | st.timedeltas(timedelta(0), timedelta(days=30)))
def test_a_waiting_job_comes_back_within_the_hour_in_whole_milliseconds(kind, retry_after):
    job, answer = release(running(), kind, retry_after=retry_after)
    if isinstance(answer, ledger.Ended):
        assert kind is FailureKind.PERMANENT
        return
    assert NOON <= job.run_at <= NOON + timedelta(hours=1)
    assert job.run_at.microsecond % 1000 == 0
    if kind is not FailureKind.INTERRUPTED:
        assert job.run_at >= NOON + min(retry_after or timedelta(0), timedelta(hours=1)) - MOMENT


def test_a_cancelled_run_is_not_charged():
    job, answer = release(running(cancel_requested_at=NOON), FailureKind.CRASH)
    assert answer == ledger.Ended(job)
    assert (job.status, job.crashes) == (JobStatus.CANCELLED, 0)
    assert [entry.kind for entry in job.history] == [FailureKind.CRASH]


def test_the_crash_limit_is_a_setting():
    _, answer = release(running(), FailureKind.CRASH, rules=Rules(crash_limit=1))
    assert isinstance(answer, ledger.Ended)


def test_a_stale_release_is_refused():
    job = running(token="other")
    assert release(job, FailureKind.CRASH) == (job, ledger.Stale())


def test_an_attempt_without_a_start_has_no_length():
    job, _ = release(running(started_at=None), FailureKind.CRASH)
    assert job.history[0].seconds is None


def test_crashes_lengthen_the_backoff_like_failures():
    job, _ = release(running(crashes=1, failures=2), FailureKind.CRASH)
    assert timedelta(seconds=20) <= job.run_at - NOON <= timedelta(seconds=40)


def test_a_job_that_is_given_up_names_what_happened_last():
    job, _ = release(running(), FailureKind.CRASH)
    job, _ = begin(job, now=NOON + timedelta(hours=1))
    job, _ = release(job, FailureKind.TRANSIENT, now=NOON + timedelta(hours=1))
    job = attrs.evolve(job, history=(*job.history[:1], attrs.evolve(job.history[1], code="last")), max_attempts=1)
    ended, _ = begin(job, now=NOON + timedelta(hours=2))
    assert ended.error is not None
    assert (ended.error.code, ended.error.message) == ("last", "Text.")


# ── losing, expiring, cancelling ──


def test_a_lost_job_waits_ends_or_is_cancelled():
    again = ledger.lose(running(), now=NOON, rules=RULES)
    assert (again.status, again.run_at, again.lost) == (JobStatus.QUEUED, NOON, 1)
    ended = ledger.lose(running(lost=9), now=NOON, rules=RULES)
    assert ended.error is not None
    assert (ended.status, ended.error.code) == (JobStatus.FAILED, "worker_lost")
    cancelled = ledger.lose(running(cancel_requested_at=NOON), now=NOON, rules=RULES)
    assert (cancelled.status, cancelled.lost) == (JobStatus.CANCELLED, 1)


def test_a_deadline_says_what_the_job_waited_for():
    error = ledger.expire(waiting(wait_reason=WaitReason.NO_PROCESSOR), now=NOON).error
    assert error is not None
    assert error.code == "deadline_exceeded"
    assert "(no_processor)" in error.message
    plain = ledger.expire(waiting(), now=NOON).error
    assert plain is not None
    assert "(" not in plain.message


def test_a_cancel_has_one_answer_in_each_state():
    job, answer = ledger.cancel(waiting(), now=NOON)
    assert answer == ledger.Cancelled(job)
    assert job.cancel_requested_at == NOON
    assert ledger.cancel(job, now=NOON + MOMENT) == (job, ledger.Cancelled(job))
    asked, answer = ledger.cancel(running(), now=NOON)
    assert answer == ledger.CancelRequested(asked)
    again, _ = ledger.cancel(asked, now=NOON + MOMENT)
    assert again.cancel_requested_at == NOON
    done = running().succeed(now=NOON, created_version=2, result=None)
    assert ledger.cancel(done, now=NOON) == (done, ledger.TooLate(done))


# ── the record ──


def test_a_job_is_of_the_asset_of_its_first_port():
    asset, other = new_asset(NOON), new_asset(NOON)
    job = new_job(asset, NOON, inputs=(JobInput(port="a", asset_id=other.asset_id, version=3),
                                       JobInput(port="b", asset_id=asset.asset_id, version=1)))  # fmt: skip
    assert (job.asset_id, job.input_version) == (other.asset_id, 3)


def test_a_success_forgets_the_error_of_an_earlier_attempt():
    job, _ = release(running(), FailureKind.TRANSIENT)
    job, _ = begin(job, now=NOON + timedelta(hours=1))
    assert job.error is not None
    done = job.reserve(7).succeed(now=NOON, created_version=7, result={"a": 1})
    assert (done.error, done.progress, done.result, done.reserved_version) == (None, 100, {"a": 1}, 7)


def test_a_job_that_is_to_stop_says_so_until_it_does():
    asked, _ = ledger.cancel(running(), now=NOON)
    assert asked.renew(now=NOON, lease=LEASE, progress=1, stage="encoding").stage == "cancelling"


def test_a_waiting_job_may_change_its_reason():
    job = waiting().wait(WaitReason.NO_PROCESSOR, now=NOON + MOMENT)
    assert (job.wait_reason, job.updated_at) == (WaitReason.NO_PROCESSOR, NOON + MOMENT)


@pytest.mark.parametrize("reason", [WaitReason.RATE, WaitReason.REMOTE, WaitReason.DRAIN])
def test_a_first_start_is_the_first_attempt_whatever_the_job_waited_for(reason):
    job, _ = begin(waiting(wait_reason=reason))
    assert (job.attempts, job.started_at) == (1, NOON)


def test_the_promised_numbers():
    assert (ledger.MAX_CRASHES, ledger.MAX_LOSSES, ledger.MAX_INTERRUPTS) == (3, 10, 20)
    assert (ledger.MAX_INTERNAL, ledger.MAX_TIMEOUTS, waiting().max_attempts) == (3, 2, 5)
    assert (RULES.lease, RULES.backoff_base) == (timedelta(seconds=30), timedelta(seconds=5))
    assert (timedelta(minutes=15), timedelta(hours=1)) == (ledger.BACKOFF_CAP, ledger.RETRY_AFTER_CAP)
    assert (10, 500, timedelta(days=7)) == (KEPT_ATTEMPTS, ledger.MESSAGE_LIMIT, DEFAULT_LIFETIME)
    assert (timedelta(days=7), timedelta(hours=24), timedelta(days=1)) == (TOMBSTONE, URL_GRACE, GC_GRACE)
    assert timedelta(minutes=2) == FIRST_LOOK


@pytest.mark.parametrize("kind", [*FailureKind])
@given(attempts=st.integers(0, 3))
def test_attempts_never_fall(kind, attempts):
    job, _ = release(running(attempts=attempts), kind)
    if not job.is_terminal:
        again, _ = begin(job, now=NOON + timedelta(hours=2))
        assert again.attempts - attempts in {0, 1}
