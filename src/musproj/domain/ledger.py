"""The laws of the job record: which wish is granted, and what it costs.

Pure decisions over one `Job`, the same for every store: an adapter loads the record, asks here, and writes
what comes back, all in one transaction. The answers are values, not exceptions, because each is expected.
"""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta

import attrs

from musproj.domain.job import Attempt, FailureKind, Job, JobError, JobStatus, WaitReason
from musproj.domain.remote import RemoteOp, RemotePhase
from musproj.domain.times import whole_millis
from musproj.errors import DeadlineExceededError, WorkerLostError

MESSAGE_LIMIT = 500
MAX_CRASHES = 3
MAX_LOSSES = 10
MAX_INTERRUPTS = 20
MAX_INTERNAL = 3
MAX_TIMEOUTS = 2
BACKOFF_BASE = timedelta(seconds=5)
BACKOFF_CAP = timedelta(minutes=15)
RETRY_AFTER_CAP = timedelta(hours=1)


@attrs.frozen(kw_only=True)
class Rules:
    """The settings that the laws depend on."""

    lease: timedelta = timedelta(seconds=30)
    owner_concurrency: int | None = None
    """Running jobs per owner; None: no limit."""
    backoff_base: timedelta = BACKOFF_BASE
    crash_limit: int = MAX_CRASHES
    longest_tick: timedelta | None = None
    """The longest time between two looks at the timers, where it is not well below the lease."""

    @property
    def outage(self) -> timedelta:
        """A gap between two ticks that is longer than this tells that the store was away, not the workers."""
        return self.lease if self.longest_tick is None else max(self.lease, 2 * self.longest_tick)


@attrs.frozen(kw_only=True)
class Worker:
    """Who asks for a job, and what it is able to run."""

    worker_id: str
    """`<host>:<pid>:<boot>`."""
    types: frozenset[str]
    """Processors installed here."""
    abilities: frozenset[str] = frozenset()
    """What a job's `needs` may name: `codecs`, …"""
    limits: Mapping[str, int] = attrs.field(factory=dict[str, int])
    """Type → running jobs of it in the whole installation."""

    def can_run(self, job: Job) -> bool:
        """Tell whether this worker has all that `job` needs."""
        return job.type in self.types and self.abilities.issuperset(job.needs)


@attrs.frozen(kw_only=True)
class Failure:
    """How a run ended when it did not end well."""

    kind: FailureKind
    code: str
    message: str
    retry_after: timedelta | None = None

    def as_error(self, *, retryable: bool) -> JobError:
        """Return what the job record shows of it."""
        return JobError(code=self.code, message=self.message[:MESSAGE_LIMIT], retryable=retryable)


# ── answers ──────────────────────────────────────────────────────────────────────────────────────


@attrs.frozen
class Granted:
    """The job runs under this token now."""

    job: Job
    token: str


@attrs.frozen
class Finished:
    """The job has ended; just acknowledge the delivery."""

    job: Job


@attrs.frozen
class Ended:
    """The wish ended the job: it was to be cancelled, or its time or budget was over."""

    job: Job


@attrs.frozen
class Busy:
    """Somebody holds a live lease."""

    until: datetime


@attrs.frozen
class NotDue:
    """It is to run later."""

    run_at: datetime


@attrs.frozen
class Throttled:
    """Its processor or its owner has no free slot."""


@attrs.frozen
class Unable:
    """This worker lacks something that the job needs."""


@attrs.frozen
class Missing:
    """There is no such job."""


BeginAnswer = Granted | Finished | Ended | Busy | NotDue | Throttled | Unable | Missing


@attrs.frozen
class BeatOk:
    """The lease is renewed."""

    cancel: bool


@attrs.frozen
class Done:
    """The job ended under this very token; let the child exit by itself."""


@attrs.frozen
class Stale:
    """Another run holds the job, or nobody; drop everything and touch nothing."""


BeatAnswer = BeatOk | Done | Stale


@attrs.frozen
class Reserved:
    """This number is the job's."""

    number: int


@attrs.frozen
class AssetDeleted:
    """The asset was deleted meanwhile."""


ReserveAnswer = Reserved | AssetDeleted | Stale


@attrs.frozen
class Committed:
    """The effect of the job, now or by an earlier commit of the same run."""

    job: Job
    again: bool = False


@attrs.frozen
class NumberTaken:
    """A version of this number exists already; reserve a higher one."""


@attrs.frozen
class CancelledFirst:
    """The cancel was faster; the job ended as cancelled."""

    job: Job


CommitAnswer = Committed | NumberTaken | CancelledFirst | AssetDeleted | Stale


@attrs.frozen
class Requeued:
    """The job waits again."""

    job: Job


ReleaseAnswer = Requeued | Ended | Stale


@attrs.frozen
class Cancelled:
    """The job is cancelled, now or before."""

    job: Job


@attrs.frozen
class CancelRequested:
    """The running job was told to stop."""

    job: Job


@attrs.frozen
class TooLate:
    """The job had ended otherwise."""

    job: Job


CancelAnswer = Cancelled | CancelRequested | TooLate | Missing


@attrs.frozen
class Noted:
    """The remote operation is recorded as it was told."""

    job: Job


@attrs.frozen
class Moved:
    """The operation was changed meanwhile: go on from there."""

    op: RemoteOp


NoteAnswer = Noted | Moved | Stale
ParkAnswer = Requeued | Moved | Ended | Stale
HearAnswer = Noted | Stale


# ── laws ─────────────────────────────────────────────────────────────────────────────────────────


def is_live(job: Job, now: datetime, rules: Rules) -> bool:
    """Tell whether somebody's lease holds; one further ahead than two leases was made by a clock that jumped."""
    return (
        job.status is JobStatus.RUNNING
        and job.lease_until is not None
        and now < job.lease_until <= now + 2 * rules.lease
    )


def begin(
    job: Job, worker: Worker, *, token: str, now: datetime, rules: Rules, has_slot: bool
) -> tuple[Job, BeginAnswer]:
    """Decide whether `worker` may run `job`; only `Granted` and `Ended` change it."""
    if job.is_terminal:
        return job, Finished(job)
    if is_live(job, now, rules):
        assert job.lease_until is not None
        return job, Busy(job.lease_until)
    before = job
    if job.status is JobStatus.RUNNING:
        job = count_loss(job, now=now)
    if job.cancel_requested_at is not None:
        ended = job.end_cancelled(now=now)
        return ended, Ended(ended)
    if _is_worn_out(job, rules):
        ended = _give_up(job, now)
        return ended, Ended(ended)
    if job.status is JobStatus.QUEUED and job.expires_at <= now:
        ended = expire(job, now=now)
        return ended, Ended(ended)
    if job.status is JobStatus.QUEUED and job.run_at > now:
        return job, NotDue(job.run_at)
    if not worker.can_run(job):
        return before, Unable()
    if not has_slot:
        return before, Throttled()
    started = job.start(token=token, worker=worker.worker_id, now=now, lease=rules.lease)
    return started, Granted(started, token)


def beat(
    job: Job, token: str, *, progress: int | None, stage: str | None, now: datetime, rules: Rules
) -> tuple[Job, BeatAnswer]:
    """Renew the lease of the run that holds `token`."""
    if job.token != token:
        return job, Stale()
    if job.is_terminal:
        return job, Done()
    if job.status is not JobStatus.RUNNING:
        return job, Stale()
    renewed = job.renew(now=now, lease=rules.lease, progress=progress, stage=stage)
    return renewed, BeatOk(cancel=job.cancel_requested_at is not None)


def holds(job: Job, token: str) -> bool:
    """Tell whether the run with `token` still owns `job`; the clock has no say."""
    return job.status is JobStatus.RUNNING and job.token == token


def release(job: Job, token: str, failure: Failure, *, now: datetime, rules: Rules) -> tuple[Job, ReleaseAnswer]:
    """Take a run that did not end well off its worker: the job waits again, or its budget is spent."""
    if not holds(job, token):
        return job, Stale()
    job = _remember(job, failure, now)
    if job.cancel_requested_at is not None:
        ended = job.end_cancelled(now=now)
        return ended, Ended(ended)
    job = _spend(job, failure.kind)
    if not _may_run_again(job, failure.kind, rules):
        ended = job.fail(failure.as_error(retryable=False), now=now)
        return ended, Ended(ended)
    reason, run_at = _when_again(job, failure, now, rules)
    stage = f"retrying after {failure.code}" if reason is WaitReason.RETRY else None
    waiting = job.requeue(reason, now=now, run_at=run_at, stage=stage)
    if failure.kind not in _COST_NO_ATTEMPT:
        waiting = attrs.evolve(waiting, error=failure.as_error(retryable=True))
    return waiting, Requeued(waiting)


def lose(job: Job, *, now: datetime, rules: Rules) -> Job:
    """Return the job whose lease ran out: waiting again, or ended where flag or budget says so."""
    job = count_loss(job, now=now)
    if job.cancel_requested_at is not None:
        return job.end_cancelled(now=now)
    if _is_worn_out(job, rules):
        return _give_up(job, now)
    stage = f"retrying after {WorkerLostError.code}"
    return job.requeue(WaitReason.RETRY, now=now, run_at=_old_place(job, now), stage=stage)


def count_loss(job: Job, *, now: datetime) -> Job:
    """Return the running job with one more loss on its account."""
    failure = Failure(kind=FailureKind.LOST, code=WorkerLostError.code, message=f"The worker {job.worker} vanished.")
    return _spend(_remember(job, failure, now), FailureKind.LOST)


def expire(job: Job, *, now: datetime) -> Job:
    """Return the queued job as failed, because it waited too long."""
    reason = f" ({job.wait_reason})" if job.wait_reason else ""
    return job.fail(
        JobError(
            code=DeadlineExceededError.code,
            message=f"It still waited{reason} at {job.expires_at:%Y-%m-%d %H:%M} UTC.",
        ),
        now=now,
    )


def cancel(job: Job, *, now: datetime) -> tuple[Job, CancelAnswer]:
    """Cancel a waiting job at once, tell a running one to stop."""
    if job.status is JobStatus.CANCELLED:
        return job, Cancelled(job)
    if job.is_terminal:
        return job, TooLate(job)
    if job.status is JobStatus.QUEUED:
        ended = job.end_cancelled(now=now)
        return ended, Cancelled(ended)
    asked = job.request_cancel(now=now)
    return asked, CancelRequested(asked)


def note(job: Job, token: str, op: RemoteOp, *, now: datetime) -> tuple[Job, NoteAnswer]:
    """Record what the run with `token` is about to ask of a service, or was answered."""
    if not holds(job, token):
        return job, Stale()
    if job.remote is not None and job.remote == op:
        return job, Noted(job)  # the same once more: the reply was lost
    if job.remote is not None and job.remote.rev + 1 != op.rev:
        return job, Moved(job.remote)
    noted = job.note_remote(op, now=now)
    return noted, Noted(noted)


def park(job: Job, token: str, op: RemoteOp, *, until: datetime, stage: str, now: datetime) -> tuple[Job, ParkAnswer]:
    """Take a run off its worker that has nothing to do but to wait for a service; it costs no attempt."""
    if job.status is JobStatus.QUEUED and job.remote == op:
        return job, Requeued(job)  # the same once more: the reply was lost
    if not holds(job, token):
        return job, Stale()
    if job.remote is not None and job.remote != op and job.remote.rev + 1 != op.rev:
        return job, Moved(job.remote)
    job = job.note_remote(op, now=now)
    if job.cancel_requested_at is not None:
        ended = job.end_cancelled(now=now)
        return ended, Ended(ended)
    waiting = job.requeue(WaitReason.REMOTE, now=now, run_at=whole_millis(until), stage=stage)
    return waiting, Requeued(waiting)


def hear(job: Job, op: RemoteOp, *, percent: int | None, now: datetime) -> tuple[Job, HearAnswer]:
    """Record what was heard from a service without a lease; a job with something to do is due at once."""
    if job.remote == op:
        return job, Noted(job)  # the same once more: the reply was lost
    if job.remote is None or job.remote.rev + 1 != op.rev:
        return job, Stale()
    heard = job.note_remote(op, now=now, percent=None if job.is_terminal else percent)
    is_parked = job.status is JobStatus.QUEUED and job.wait_reason is WaitReason.REMOTE
    if is_parked and op.phase is not RemotePhase.SUBMITTED:
        heard = attrs.evolve(heard, run_at=min(job.run_at, whole_millis(now)))
    return heard, Noted(heard)


def backoff(failures: int, rules: Rules) -> timedelta:
    """Return how long to wait after `failures` failed attempts: exponential with jitter in [½, 1]."""
    full: timedelta = min(BACKOFF_CAP, rules.backoff_base * 2 ** min(max(failures - 1, 0), 16))
    return full * random.uniform(0.5, 1)  # noqa: S311 - jitter, no secret


_COST_NO_ATTEMPT = frozenset({FailureKind.THROTTLED, FailureKind.INTERRUPTED, FailureKind.WAITING, FailureKind.BACKEND})
"""The next run goes on with the same attempt; of interruptions, a job has `MAX_INTERRUPTS`, of the others no limit."""

_REASONS = {
    FailureKind.THROTTLED: WaitReason.RATE,
    FailureKind.INTERRUPTED: WaitReason.DRAIN,
    FailureKind.WAITING: WaitReason.REMOTE,
    FailureKind.BACKEND: WaitReason.RATE,
}


def _remember(job: Job, failure: Failure, now: datetime) -> Job:
    if failure.kind in _COST_NO_ATTEMPT:
        return job
    seconds = (now - job.started_at).total_seconds() if job.started_at else None
    return job.remember(
        Attempt(
            attempt=job.attempts,
            kind=failure.kind,
            code=failure.code,
            message=failure.message[:MESSAGE_LIMIT],
            at=now,
            worker=job.worker,
            seconds=seconds,
        )
    )


def _spend(job: Job, kind: FailureKind) -> Job:
    if kind is FailureKind.CRASH:
        return attrs.evolve(job, crashes=job.crashes + 1)
    if kind is FailureKind.LOST:
        return attrs.evolve(job, lost=job.lost + 1)
    if kind is FailureKind.INTERRUPTED:
        return attrs.evolve(job, interrupts=job.interrupts + 1)
    if kind in _COST_NO_ATTEMPT:
        return job
    timeouts = job.timeouts + (kind is FailureKind.TIMEOUT)
    return attrs.evolve(job, failures=job.failures + 1, timeouts=timeouts)


def _may_run_again(job: Job, kind: FailureKind, rules: Rules) -> bool:
    if kind is FailureKind.PERMANENT:
        return False
    if kind is FailureKind.INTERRUPTED:
        return job.interrupts < MAX_INTERRUPTS
    if kind in _COST_NO_ATTEMPT:
        return True
    if kind is FailureKind.TIMEOUT and job.timeouts >= MAX_TIMEOUTS:
        return False
    if kind is FailureKind.INTERNAL and job.failures >= MAX_INTERNAL:
        return False
    return not _is_worn_out(job, rules)


def _is_worn_out(job: Job, rules: Rules) -> bool:
    return job.crashes >= rules.crash_limit or job.lost >= MAX_LOSSES or job.failures >= job.max_attempts


def _give_up(job: Job, now: datetime) -> Job:
    last = job.history[-1] if job.history else None
    code = last.code if last else WorkerLostError.code
    return job.fail(JobError(code=code, message=last.message if last else "The worker vanished."), now=now)


def _old_place(job: Job, now: datetime) -> datetime:
    """Return the time at which the job stands in line again: before all that were submitted after it."""
    return min(job.run_at, now)


def _when_again(job: Job, failure: Failure, now: datetime, rules: Rules) -> tuple[WaitReason | None, datetime]:
    asked = min(failure.retry_after or timedelta(0), RETRY_AFTER_CAP)
    if failure.kind is FailureKind.INTERRUPTED:
        return WaitReason.DRAIN, _old_place(job, now)
    if failure.kind in _COST_NO_ATTEMPT:
        return _REASONS[failure.kind], whole_millis(now + max(asked, rules.backoff_base))
    return WaitReason.RETRY, whole_millis(now + max(asked, backoff(job.failures + job.crashes, rules)))
