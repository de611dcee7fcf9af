"""The job record and its legal moves.

The record is the truth; a queue only delivers its id. Every method returns a new job. Which move answers a
worker's or a client's wish is decided in `musproj.domain.ledger`.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

import attrs
from attrs.validators import and_, ge, le, min_len

from musproj.domain.canonical import digest
from musproj.domain.ids import AssetId, JobId, Owner
from musproj.domain.remote import RemoteOp, RemotePhase
from musproj.domain.times import aware
from musproj.errors import IllegalTransitionError

KEPT_ATTEMPTS = 10
DEFAULT_LIFETIME = timedelta(days=7)
SINGLE_PORT = "input"


class JobStatus(StrEnum):
    """The five states; everything else is said by other fields."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether a job never leaves this state."""
        return self in TERMINAL


TERMINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})

TRANSITIONS: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.RUNNING, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.RUNNING: frozenset(
        {JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED}
    ),
    JobStatus.SUCCEEDED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
}
"""Legal moves; running → running is a take-over after a lost lease."""


class WaitReason(StrEnum):
    """Why a queued job is not being run at once."""

    DELAY = "delay"
    RETRY = "retry"
    RATE = "rate"
    REMOTE = "remote"
    DRAIN = "drain"
    NO_PROCESSOR = "no_processor"


RESUMES = frozenset({WaitReason.REMOTE, WaitReason.RATE, WaitReason.DRAIN})
"""After these the next start goes on with the same attempt."""


class FailureKind(StrEnum):
    """How an attempt ended, which decides what it costs."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    THROTTLED = "throttled"
    INTERNAL = "internal"
    TIMEOUT = "timeout"
    CRASH = "crash"
    LOST = "lost"
    INTERRUPTED = "interrupted"
    WAITING = "waiting"
    BACKEND = "backend"


@attrs.frozen(kw_only=True)
class JobError:
    """What a job failed of, as users and programs read it."""

    code: str
    message: str
    retryable: bool = False


@attrs.frozen(kw_only=True)
class Attempt:
    """One ended attempt."""

    attempt: int
    kind: FailureKind = attrs.field(converter=FailureKind)
    code: str
    message: str
    at: datetime = attrs.field(validator=aware)
    worker: str | None = None
    seconds: float | None = None


@attrs.frozen(kw_only=True)
class JobInput:
    """The version, and file of it, that one port takes."""

    port: str = SINGLE_PORT
    asset_id: AssetId
    version: int = attrs.field(validator=ge(1))
    file: str | None = None


@attrs.frozen(kw_only=True)
class Job:
    """One request for processing."""

    job_id: JobId
    type: str
    """The processor's name."""
    owner: Owner
    inputs: tuple[JobInput, ...] = attrs.field(validator=min_len(1))
    """In the order of the processor's ports; a version goes to the asset of the first."""
    params: Mapping[str, object] = attrs.field(factory=dict[str, object])
    """Canonical: every default filled in."""
    processor_version: str = ""
    needs: tuple[str, ...] = ()
    """What a worker must have beside the processor: `codecs`, …"""
    created_at: datetime = attrs.field(validator=aware)
    updated_at: datetime = attrs.field(validator=aware)
    expires_at: datetime = attrs.field(validator=aware)
    """A job that still waits then has failed."""
    run_at: datetime = attrs.field(validator=aware)
    """Not before; equal to `created_at` where there is no delay."""
    priority: int = 0
    queue: str = "audio-jobs"
    max_attempts: int = attrs.field(default=5, validator=ge(1))
    retry_of: JobId | None = None
    root_job_id: JobId
    """Itself, or the first of its `retry_of` chain."""
    force: bool = False
    """Never one with an identical live job."""

    status: JobStatus = attrs.field(default=JobStatus.QUEUED, converter=JobStatus)
    wait_reason: WaitReason | None = attrs.field(default=None, converter=attrs.converters.optional(WaitReason))
    progress: int = attrs.field(default=0, validator=and_(ge(0), le(100)))
    """Whole percent; never falls within one attempt."""
    stage: str | None = None
    attempts: int = 0
    failures: int = 0
    """Spent attempts that count against `max_attempts`: neither crashes nor losses."""
    crashes: int = 0
    lost: int = 0
    interrupts: int = 0
    timeouts: int = 0
    token: str | None = None
    """Random, of the present run; compared for equality."""
    lease_until: datetime | None = attrs.field(default=None, validator=aware)
    worker: str | None = None
    cancel_requested_at: datetime | None = attrs.field(default=None, validator=aware)
    reserved_version: int | None = None
    created_version: int | None = None
    result: Mapping[str, object] | None = None
    error: JobError | None = None
    started_at: datetime | None = attrs.field(default=None, validator=aware)
    """Of the present or last attempt."""
    finished_at: datetime | None = attrs.field(default=None, validator=aware)
    history: tuple[Attempt, ...] = ()
    """The last ten ended attempts, oldest first."""
    remote: RemoteOp | None = None
    """What an outside service does for it."""

    @property
    def remote_due(self) -> datetime | None:
        """When somebody has to look at the service: for how far it is, or to clean up."""
        if self.remote is None:
            return None
        if self.is_terminal:
            return self.remote.cleanup_due
        return self.remote.next_poll if self.remote.phase is RemotePhase.SUBMITTED else None

    @property
    def asset_id(self) -> AssetId:
        """The asset of the first port: where a version goes."""
        return self.inputs[0].asset_id

    @property
    def input_version(self) -> int:
        """The version of the first port."""
        return self.inputs[0].version

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self.status.is_terminal

    @property
    def dedupe_key(self) -> str | None:
        """What identical jobs share; None where `force` makes it one of its own."""
        return None if self.force else self.likeness

    @property
    def likeness(self) -> str:
        """What jobs share that ask for the same."""
        inputs = [[i.port, i.asset_id, i.version, i.file] for i in self.inputs]
        return digest([inputs, self.type, self.params])

    def start(self, *, token: str, worker: str, now: datetime, lease: timedelta) -> Self:
        """Return the running job under a new token."""
        resumes = self.wait_reason in RESUMES and self.attempts > 0
        return self._move(
            JobStatus.RUNNING,
            now,
            token=token,
            worker=worker,
            lease_until=now + lease,
            wait_reason=None,
            stage=None,
            attempts=self.attempts if resumes else self.attempts + 1,
            progress=self.progress if resumes else 0,
            started_at=self.started_at if resumes and self.started_at else now,
        )

    def renew(self, *, now: datetime, lease: timedelta, progress: int | None, stage: str | None) -> Self:
        """Return the running job with a longer lease; progress never falls, and one that is to stop says so."""
        shown = stage if stage is not None and self.cancel_requested_at is None else self.stage
        return attrs.evolve(
            self,
            lease_until=now + lease,
            updated_at=now,
            progress=max(self.progress, min(100, progress or 0)),
            stage=shown,
        )

    def reserve(self, number: int) -> Self:
        """Return the job that holds version `number`."""
        return attrs.evolve(self, reserved_version=number)

    def succeed(self, *, now: datetime, created_version: int | None, result: Mapping[str, object] | None) -> Self:
        """Return the succeeded job; what went wrong before is in its history alone."""
        return self._move(
            JobStatus.SUCCEEDED, now, created_version=created_version, result=result, error=None, progress=100, **_ENDED
        )

    def fail(self, error: JobError, *, now: datetime) -> Self:
        """Return the failed job."""
        return self._move(JobStatus.FAILED, now, error=error, **_ENDED)

    def end_cancelled(self, *, now: datetime) -> Self:
        """Return the cancelled job."""
        return self._move(JobStatus.CANCELLED, now, cancel_requested_at=self.cancel_requested_at or now, **_ENDED)

    def request_cancel(self, *, now: datetime) -> Self:
        """Return the running job with the cancel flag set."""
        return attrs.evolve(
            self, cancel_requested_at=self.cancel_requested_at or now, updated_at=now, stage="cancelling"
        )

    def requeue(self, reason: WaitReason | None, *, now: datetime, run_at: datetime, stage: str | None) -> Self:
        """Return the job waiting again, not before `run_at`."""
        return self._move(
            JobStatus.QUEUED, now, wait_reason=reason, run_at=run_at, stage=stage, token=None, lease_until=None,
            worker=None,
        )  # fmt: skip

    def note_remote(self, op: RemoteOp, *, now: datetime, percent: int | None = None) -> Self:
        """Return the job with a later state of its remote operation."""
        return attrs.evolve(self, remote=op, updated_at=now, progress=max(self.progress, min(100, percent or 0)))

    def wait(self, reason: WaitReason | None, *, now: datetime) -> Self:
        """Return the queued job with another reason to wait."""
        return attrs.evolve(self, wait_reason=reason, updated_at=now)

    def remember(self, attempt: Attempt) -> Self:
        """Return the job with one more ended attempt in its history."""
        return attrs.evolve(self, history=(*self.history, attempt)[-KEPT_ATTEMPTS:])

    def _move(self, status: JobStatus, now: datetime, **changes: Any) -> Self:
        if status not in TRANSITIONS[self.status]:
            raise IllegalTransitionError(
                f"Job {self.job_id} is {self.status} and cannot become {status}.", job_id=self.job_id
            )
        if status.is_terminal:
            changes["finished_at"] = now
            if self.remote is not None:
                changes["remote"] = self.remote.ended(
                    succeeded=status is JobStatus.SUCCEEDED, cancelled=status is JobStatus.CANCELLED, now=now
                )
        return attrs.evolve(self, status=status, updated_at=now, **changes)


_ENDED: Mapping[str, None] = {"lease_until": None, "wait_reason": None, "stage": None}
"""The token stays: it is how the worker that committed is told apart from a stale one."""
