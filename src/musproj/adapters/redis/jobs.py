"""Jobs in Redis."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from musproj.adapters.redis import runs, timers
from musproj.adapters.redis.backend import RedisBackend
from musproj.adapters.redis.connection import Command
from musproj.adapters.redis.feeds import Line, RedisFeed
from musproj.adapters.redis.job_reads import find_jobs, read_jobs
from musproj.adapters.redis.listing import list_jobs
from musproj.adapters.redis.submission import Submission
from musproj.adapters.redis.workers import Workers
from musproj.domain import ledger
from musproj.domain.ids import JobId, Owner
from musproj.domain.job import TERMINAL, Job, JobStatus
from musproj.domain.ledger import Worker
from musproj.domain.remote import RemoteOp
from musproj.domain.times import to_millis
from musproj.errors import JobNotFoundError
from musproj.ports.assets import Idempotency, Page
from musproj.ports.changes import ChangeFeed
from musproj.ports.jobs import Beat, JobFilter, JobStore, LiveWorker, Publication, SubmitAnswer, Tick


class RedisJobStore(JobStore):
    """Jobs and their laws: each change is decided here and applied by one script."""

    def __init__(self, backend: RedisBackend) -> None:
        """Use `backend`, which the caller opened and closes."""
        self._backend = backend
        self._workers = Workers(backend)

    def submit(self, job: Job, idempotency: Idempotency | None = None, *, paid: bool = False) -> SubmitAnswer:
        """Look for the key, then at the inputs, then for a twin, all in one call."""
        return Submission(backend=self._backend, job=job, idempotency=idempotency, paid=paid).submit()

    def get(self, owner: Owner, job_id: JobId) -> Job:
        """Look the record up."""
        job = self.find(job_id)
        if job is None or job.owner != owner:
            raise JobNotFoundError(f"There is no job {job_id}.", job_id=job_id)
        return job

    def find(self, job_id: JobId) -> Job | None:
        """Look the record up."""
        (stored,) = find_jobs(self._backend, [job_id])
        return None if stored is None else stored.job

    def list(self, owner: Owner, filters: JobFilter, *, limit: int, cursor: str | None = None) -> Page[Job]:
        """Follow an index by id, which sorts by time."""
        return list_jobs(self._backend, owner, filters, limit=limit, cursor=cursor)

    def begin(self, job_id: JobId, worker: Worker, token: str) -> ledger.BeginAnswer:
        """Ask the ledger."""
        answer = self._backend.change(partial(runs.begin, self._backend, job_id, worker, token))
        assert answer is not None
        return answer

    def beat(self, beats: Sequence[Beat]) -> Sequence[ledger.BeatAnswer]:
        """Read all records at once, and ask the ledger for each."""
        if not beats:
            return []
        now, found = read_jobs(self._backend, [beat.job_id for beat in beats])
        return [
            self._backend.change(partial(runs.beat, self._backend, beat, [(now, stored)]))
            for beat, stored in zip(beats, found, strict=True)
        ]

    def reserve(self, job_id: JobId, token: str, *, above: int = 0) -> ledger.ReserveAnswer:
        """Take the asset's next number, unless the job has one."""
        return self._backend.change(partial(runs.reserve, self._backend, job_id, token, above=above))

    def commit(self, job_id: JobId, token: str, publication: Publication) -> ledger.CommitAnswer:
        """Publish and finish in the same call."""
        decide = partial(runs.commit, self._backend, job_id, token, publication)
        return self._backend.change(decide, is_acknowledged=True)

    def release(self, job_id: JobId, token: str, failure: ledger.Failure) -> ledger.ReleaseAnswer:
        """Ask the ledger."""
        return self._backend.change(partial(runs.release, self._backend, job_id, token, failure))

    def note(self, job_id: JobId, token: str, op: RemoteOp) -> ledger.NoteAnswer:
        """Ask the ledger; what may be a call that costs money follows, so a replica shall know of it."""
        decide = partial(runs.note, self._backend, job_id, token, op)
        return self._backend.change(decide, is_acknowledged=True)

    def park(self, job_id: JobId, token: str, op: RemoteOp, *, until: datetime, stage: str) -> ledger.ParkAnswer:
        """Ask the ledger."""
        decide = partial(runs.park, self._backend, job_id, token, op, until=until, stage=stage)
        return self._backend.change(decide, is_acknowledged=True)

    def hear(self, job_id: JobId, op: RemoteOp, *, percent: int | None = None) -> ledger.HearAnswer:
        """Ask the ledger."""
        return self._backend.change(partial(runs.hear, self._backend, job_id, op, percent=percent))

    def remotes(self, *, limit: int, service: str | None = None, only_due: bool = False) -> Sequence[Job]:
        """Follow the sets of what is due."""
        keys = self._backend.keys
        if service is None:
            now, (services,) = self._backend.read_at(("SMEMBERS", keys.services))
            until, names = str(to_millis(now)), sorted(name.decode() for name in services)
        else:
            until, names = str(to_millis(self._backend.read_at()[0])) if only_due else "+inf", [service]
        if not names:
            return []
        replies = self._backend.read(
            *(("ZRANGEBYSCORE", keys.remotes(name), "-inf", until, "LIMIT", 0, limit) for name in names)
        )
        places = [(name, JobId(found.decode())) for name, reply in zip(names, replies, strict=True) for found in reply]
        due: list[tuple[datetime, Job]] = []
        for (name, job_id), stored in zip(places, find_jobs(self._backend, [i for _, i in places]), strict=True):
            if stored is not None and stored.job.remote_due is not None:
                due.append((stored.job.remote_due, stored.job))
            else:
                runs.forget_remote(self._backend, name, job_id, stored)
        return [job for _, job in sorted(due, key=lambda entry: (entry[0], entry[1].job_id))[:limit]]

    def cancel(self, owner: Owner, job_id: JobId) -> ledger.CancelAnswer:
        """Ask the ledger."""
        return self._backend.change(partial(runs.cancel, self._backend, owner, job_id))

    def tick(self) -> Tick:
        """Look in pages, until one leaves nothing."""
        return timers.tick(self._backend, self._workers)

    def announce(self, worker: LiveWorker) -> None:
        """Store what the worker says of itself."""
        self._workers.announce(worker)

    def withdraw(self, worker_id: str) -> None:
        """Forget the worker."""
        self._workers.withdraw(worker_id)

    def workers(self) -> Sequence[LiveWorker]:
        """Filter by the last sign of life."""
        return self._workers.living()

    def counts(self, owner: Owner | None = None) -> Mapping[JobStatus, int]:
        """Count by the sets that the jobs are in."""
        return self._counts() if owner is None else self._counts_of(owner)

    def listen(self, *, only_stops: bool = False) -> ChangeFeed:
        """Subscribe to every change, or to that of jobs that are to stop."""
        keys = self._backend.keys
        return RedisFeed(self._backend.connection, keys.stops if only_stops else keys.changes)

    # ── for the queue that shares this Redis ──

    def begin_delivery(self, job_id: JobId, delivery: int, worker: Worker, token: str) -> ledger.BeginAnswer | None:
        """Begin the job that came by this delivery; None where a newer one replaced it.

        One that cannot begin now is put where it waits: for its time, a slot or an able worker.
        """
        return self._backend.change(partial(runs.begin, self._backend, job_id, worker, token, delivery))

    def take_parked(self, queue: str, worker: Worker) -> str | None:
        """Take the first delivery that `worker` can run of those that the worker that had it could not."""
        return runs.take_parked(self._backend, queue, worker)

    def deliver_due(self) -> bool:
        """Deliver the jobs whose time has come, without waiting for a tick; tell whether there were any."""
        return timers.deliver_due(self._backend, self._workers)

    def next_run_at(self) -> datetime | None:
        """Return when the first of the delayed jobs comes due."""
        return timers.next_run_at(self._backend)

    def find_stored(self, job_ids: Sequence[JobId]) -> Sequence[tuple[Job, int] | None]:
        """Return each job with the number of its last delivery, None for one that is unknown."""
        return [
            None if stored is None else (stored.job, stored.delivery) for stored in find_jobs(self._backend, job_ids)
        ]

    def open_line(self) -> Line:
        """Open a connection for one that waits."""
        return Line(self._backend.connection, [("CLIENT", "ID")])

    # ── below the methods of the port ──

    def _counts(self) -> Mapping[JobStatus, int]:
        keys = self._backend.keys
        ended = sorted(TERMINAL)
        commands: list[Command] = [("ZCARD", key) for key in (keys.timers, keys.delayed, keys.delivered)]
        running, delayed, delivered, of_ended = self._backend.read(*commands, ("HMGET", keys.job_counts, *ended))
        counts = {JobStatus.QUEUED: delayed + delivered, JobStatus.RUNNING: running}
        return counts | {status: int(count or 0) for status, count in zip(ended, of_ended, strict=True)}

    def _counts_of(self, owner: Owner) -> Mapping[JobStatus, int]:
        keys = [self._backend.keys.owner_jobs(owner, status) for status in JobStatus]
        replies = self._backend.read(*[("ZCARD", key) for key in keys])
        return dict(zip(JobStatus, replies, strict=True))
