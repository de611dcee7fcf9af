"""Where the job records are, and their laws in force: every method one transaction."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import attrs

from musproj.domain.ids import AssetId, JobId, Owner
from musproj.domain.job import Job, JobStatus
from musproj.domain.ledger import (
    BeatAnswer,
    BeginAnswer,
    CancelAnswer,
    CommitAnswer,
    Failure,
    HearAnswer,
    NoteAnswer,
    ParkAnswer,
    ReleaseAnswer,
    ReserveAnswer,
    Worker,
)
from musproj.domain.remote import RemoteOp
from musproj.domain.version import Attachment, Version
from musproj.ports.assets import Idempotency, Page
from musproj.ports.changes import ChangeFeed

WORKER_LIFE = timedelta(minutes=1)
"""A worker whose last sign of life is older is taken for gone."""


@attrs.frozen
class Created:
    """A new job waits."""

    job: Job


@attrs.frozen
class Existing:
    """This job was there already."""

    job: Job
    replayed: bool
    """By its idempotency key; else an identical live (paid: finished) job."""


SubmitAnswer = Created | Existing


@attrs.frozen(kw_only=True)
class JobFilter:
    """Which jobs a list shows."""

    asset_id: AssetId | None = None
    status: JobStatus | None = None
    created_after: datetime | None = None
    """Inclusive."""
    created_before: datetime | None = None
    """Exclusive."""


@attrs.frozen(kw_only=True)
class Beat:
    """One sign of life of a run."""

    job_id: JobId
    token: str
    progress: int | None = None
    """Whole percent."""
    stage: str | None = None


@attrs.frozen(kw_only=True)
class Publication:
    """What a commit makes visible: a version, attachments, or only a result."""

    version: Version | None = None
    moves_head: bool = False
    attachments: tuple[Attachment, ...] = ()
    result: Mapping[str, object] | None = None


@attrs.frozen(kw_only=True)
class Tick:
    """What one look at the timers did."""

    requeued: int = 0
    """Jobs of lost workers that wait again."""
    ended: int = 0
    """Jobs whose time or budget was over."""
    extended: int = 0
    """Leases prolonged because the store, not their workers, had been away."""
    next_run_at: datetime | None = None
    """When the next delayed job comes due."""


@attrs.frozen(kw_only=True)
class LiveWorker:
    """A worker that gave a sign of life within `WORKER_LIFE`."""

    worker_id: str
    host: str
    pid: int
    types: frozenset[str]
    abilities: frozenset[str]
    concurrency: int
    seen_at: datetime


class JobStore(Protocol):
    """Jobs and their laws (`musproj.domain.ledger`).

    Every method is one transaction, durable on return, and usable from several threads. Expected outcomes are
    answers, not exceptions. Every method raises `BackendUnavailableError` when the store cannot be reached; the
    outcome is then unknown, and a repeat tells.
    """

    __slots__ = ()

    @abstractmethod
    def submit(self, job: Job, idempotency: Idempotency | None = None, *, paid: bool = False) -> SubmitAnswer:
        """Store the job and put it into the queue, or return the one that is there already.

        An identical live job (`Job.dedupe_key`) is the answer; where `paid`, an identical succeeded one too; so is
        the very record where it was stored before, which makes a repeat safe. Each input's asset must be the job's
        owner's and ready, each version published; checked in the transaction.

        Raises:
            AssetNotFoundError: an input is unknown, or another owner's.
            AssetNotReadyError: an input's asset is pending or deleted.
            VersionNotFoundError: an input's version was not published.
            IdempotencyMismatchError: the key was used with another body.
        """

    @abstractmethod
    def get(self, owner: Owner, job_id: JobId) -> Job:
        """Return the record.

        Raises:
            JobNotFoundError: unknown, or another owner's.
        """

    @abstractmethod
    def find(self, job_id: JobId) -> Job | None:
        """Return the record whoever owns it: for workers and gc."""

    @abstractmethod
    def list(self, owner: Owner, filters: JobFilter, *, limit: int, cursor: str | None = None) -> Page[Job]:
        """Return a page, newest first.

        Raises:
            InvalidCursorError: the cursor is malformed.
        """

    @abstractmethod
    def begin(self, job_id: JobId, worker: Worker, token: str) -> BeginAnswer:
        """Grant the job to `worker` under the new `token`, or say why not."""

    @abstractmethod
    def beat(self, beats: Sequence[Beat]) -> Sequence[BeatAnswer]:
        """Renew leases and write progress, all in one transaction; answers in the same order."""

    @abstractmethod
    def reserve(self, job_id: JobId, token: str, *, above: int = 0) -> ReserveAnswer:
        """Return the job's version number, the same on each call.

        Where `above` is at least that number, it is dropped (its prefix goes to gc) and a higher one reserved.
        """

    @abstractmethod
    def commit(self, job_id: JobId, token: str, publication: Publication) -> CommitAnswer:
        """Publish and finish in one step: the only place where a version becomes visible.

        A version must carry the reserved number. Repeating it with the same token gives the first one's answer.
        The prefix of an attachment that is replaced goes to gc.
        """

    @abstractmethod
    def release(self, job_id: JobId, token: str, failure: Failure) -> ReleaseAnswer:
        """Take the run off its worker: the job waits again, fails, or is cancelled, as failure and flag say.

        A job that ends here with a reserved number puts its prefix on gc's list.
        """

    @abstractmethod
    def note(self, job_id: JobId, token: str, op: RemoteOp) -> NoteAnswer:
        """Record the next state of a run's remote operation; durable, on a replica too where there is one."""

    @abstractmethod
    def park(self, job_id: JobId, token: str, op: RemoteOp, *, until: datetime, stage: str) -> ParkAnswer:
        """Record it and take the run off its worker, in one step: the job waits for the service, at most `until`."""

    @abstractmethod
    def hear(self, job_id: JobId, op: RemoteOp, *, percent: int | None = None) -> HearAnswer:
        """Record what was heard of an operation without holding the job; `Stale` where another state is recorded.

        A parked job whose service is done with it waits no longer.
        """

    @abstractmethod
    def remotes(self, *, limit: int, service: str | None = None, only_due: bool = False) -> Sequence[Job]:
        """Return the jobs whose `remote_due` has come, the earliest first.

        Of a `service`, all that have one, unless `only_due`.
        """

    @abstractmethod
    def cancel(self, owner: Owner, job_id: JobId) -> CancelAnswer:
        """Cancel a waiting job, tell a running one to stop; `Missing` also for another owner's."""

    @abstractmethod
    def tick(self) -> Tick:
        """Look at the timers: lost leases, expired jobs, jobs that no live worker (`workers`) can run.

        Where the last tick is longer ago than `Rules.outage`, or there was none, the store was away: due leases are
        prolonged once instead. `no_processor` stands only for reasons that cost an attempt anyway: a job that is to
        resume one keeps its reason.
        Safe from several processes at once; each lost lease is counted once.
        """

    @abstractmethod
    def announce(self, worker: LiveWorker) -> None:
        """Note that a worker lives; `worker_id` is its key."""

    @abstractmethod
    def withdraw(self, worker_id: str) -> None:
        """Note that a worker ended; of an unknown one, nothing happens."""

    @abstractmethod
    def workers(self) -> Sequence[LiveWorker]:
        """Return the workers that gave a sign of life within `WORKER_LIFE`, by id."""

    @abstractmethod
    def counts(self, owner: Owner | None = None) -> Mapping[JobStatus, int]:
        """Return how many jobs are in each state."""

    @abstractmethod
    def listen(self, *, only_stops: bool = False) -> ChangeFeed:
        """Open a feed that tells when any job or asset may have changed; the caller closes it.

        With `only_stops` it need tell no more than that a running job may have been asked to stop.
        """
