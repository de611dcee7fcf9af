"""Jobs in memory."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from musproj.adapters.memory import paging
from musproj.adapters.memory.feed import MemoryFeed
from musproj.adapters.memory.state import MemoryState
from musproj.adapters.memory.timers import look_at_timers
from musproj.domain import ledger
from musproj.domain.asset import Asset, AssetStatus
from musproj.domain.cursors import place_of
from musproj.domain.ids import JobId, Owner
from musproj.domain.job import Job, JobStatus
from musproj.domain.ledger import Rules, Worker
from musproj.domain.remote import RemoteOp
from musproj.domain.version import Version
from musproj.errors import JobNotFoundError, VersionNotFoundError
from musproj.ports.assets import Idempotency, Page
from musproj.ports.changes import ChangeFeed
from musproj.ports.clock import Clock
from musproj.ports.jobs import (
    WORKER_LIFE,
    Beat,
    Created,
    Existing,
    JobFilter,
    JobStore,
    LiveWorker,
    Publication,
    SubmitAnswer,
    Tick,
)

A = TypeVar("A")


class MemoryJobStore(JobStore):
    """The jobs of a `MemoryState`."""

    def __init__(self, state: MemoryState, clock: Clock, rules: Rules) -> None:
        self._state = state
        self._clock = clock
        self._rules = rules

    def submit(self, job: Job, idempotency: Idempotency | None = None, *, paid: bool = False) -> SubmitAnswer:
        """Look for the key, then at the inputs, then for a twin."""
        with self._state.lock:
            known = self._replayed(job.owner, idempotency)
            if known is not None:
                return Existing(known, replayed=True)
            self._check_inputs(job)
            twin = self._state.jobs.get(job.job_id) or self._state.twin(job, paid=paid)
            answer: SubmitAnswer = Existing(twin, replayed=False) if twin else Created(job)
            if idempotency is not None:
                self._state.job_keys.remember(job.owner, idempotency, answer.job.job_id, self._clock.now())
            if isinstance(answer, Created):
                self._state.save_job(job, self._clock.now())
            return answer

    def get(self, owner: Owner, job_id: JobId) -> Job:
        """Look the record up."""
        job = self.find(job_id)
        if job is None or job.owner != owner:
            raise JobNotFoundError(f"There is no job {job_id}.", job_id=job_id)
        return job

    def find(self, job_id: JobId) -> Job | None:
        """Look the record up."""
        with self._state.lock:
            return self._state.jobs.get(job_id)

    def list(self, owner: Owner, filters: JobFilter, *, limit: int, cursor: str | None = None) -> Page[Job]:
        """Sort by id, which sorts by time."""
        after = None if cursor is None else place_of(cursor)
        with self._state.lock:
            rows = [
                job
                for job in self._state.jobs.values()
                if job.owner == owner and _matches(job, filters) and (after is None or job.job_id < after)
            ]
        rows.sort(key=lambda job: job.job_id, reverse=True)
        return paging.page(rows, limit, lambda job: job.job_id)

    def begin(self, job_id: JobId, worker: Worker, token: str) -> ledger.BeginAnswer:
        """Ask the ledger."""
        with self._state.lock:
            return begin(self._state, self._rules, job_id, worker, token, self._clock.now())

    def beat(self, beats: Sequence[Beat]) -> Sequence[ledger.BeatAnswer]:
        """Ask the ledger for each."""
        with self._state.lock:
            now = self._clock.now()
            return [self._beat(beat, now) for beat in beats]

    def reserve(self, job_id: JobId, token: str, *, above: int = 0) -> ledger.ReserveAnswer:
        """Take the asset's next number, unless the job has one."""
        with self._state.lock:
            job = self._state.jobs.get(job_id)
            if job is None or not ledger.holds(job, token):
                return ledger.Stale()
            asset = self._live_asset(job)
            if asset is None:
                return ledger.AssetDeleted()
            dropped = job.reserved_version
            if dropped is not None and dropped > above:
                return ledger.Reserved(dropped)
            now = self._clock.now()
            if dropped is not None:
                self._state.discard(asset.asset_id, dropped, now)
            asset, number = asset.reserve(above)
            self._state.save_asset(asset)
            self._state.save_job(job.reserve(number), now)
            return ledger.Reserved(number)

    def commit(self, job_id: JobId, token: str, publication: Publication) -> ledger.CommitAnswer:
        """Check token, number, flag, asset and number again, in this order; then publish."""
        with self._state.lock:
            job = self._state.jobs.get(job_id)
            if job is None or job.token != token:
                return ledger.Stale()
            if job.status is JobStatus.SUCCEEDED:
                return ledger.Committed(job, again=True)
            if job.status is JobStatus.CANCELLED:
                return ledger.CancelledFirst(job)
            version = publication.version
            if not ledger.holds(job, token) or (version and version.number != job.reserved_version):
                return ledger.Stale()
            now = self._clock.now()
            if job.cancel_requested_at is not None:
                return ledger.CancelledFirst(self._state.save_job(job.end_cancelled(now=now), now))
            asset = self._live_asset(job)
            if asset is None:
                return ledger.AssetDeleted()
            if version and version.number in self._state.versions[asset.asset_id]:
                return ledger.NumberTaken()
            return ledger.Committed(self._publish(job, asset, version, publication, now))

    def release(self, job_id: JobId, token: str, failure: ledger.Failure) -> ledger.ReleaseAnswer:
        """Ask the ledger."""
        return self._change(job_id, lambda job, now: ledger.release(job, token, failure, now=now, rules=self._rules))

    def note(self, job_id: JobId, token: str, op: RemoteOp) -> ledger.NoteAnswer:
        """Ask the ledger."""
        return self._change(job_id, lambda job, now: ledger.note(job, token, op, now=now))

    def park(self, job_id: JobId, token: str, op: RemoteOp, *, until: datetime, stage: str) -> ledger.ParkAnswer:
        """Ask the ledger."""
        return self._change(job_id, lambda job, now: ledger.park(job, token, op, until=until, stage=stage, now=now))

    def hear(self, job_id: JobId, op: RemoteOp, *, percent: int | None = None) -> ledger.HearAnswer:
        """Ask the ledger."""
        return self._change(job_id, lambda job, now: ledger.hear(job, op, percent=percent, now=now))

    def remotes(self, *, limit: int, service: str | None = None, only_due: bool = False) -> Sequence[Job]:
        """Look at every job."""
        with self._state.lock:
            now = self._clock.now()
            found = [
                (job.remote_due, job)
                for job in self._state.jobs.values()
                if job.remote and job.remote_due and service in (None, job.remote.service)
            ]
        due = [entry for entry in found if (service is not None and not only_due) or entry[0] <= now]
        return [job for _, job in sorted(due, key=lambda entry: (entry[0], entry[1].job_id))[:limit]]

    def cancel(self, owner: Owner, job_id: JobId) -> ledger.CancelAnswer:
        """Ask the ledger."""
        with self._state.lock:
            job = self._state.jobs.get(job_id)
            if job is None or job.owner != owner:
                return ledger.Missing()
            now = self._clock.now()
            after, answer = ledger.cancel(job, now=now)
            if after is not job:
                self._state.save_job(after, now)
            return answer

    def tick(self) -> Tick:
        """Look at every job that has not ended."""
        with self._state.lock:
            return look_at_timers(self._state, self._rules, self._clock.now())

    def announce(self, worker: LiveWorker) -> None:
        """Store what the worker says of itself."""
        with self._state.lock:
            self._state.workers[worker.worker_id] = worker

    def withdraw(self, worker_id: str) -> None:
        """Forget the worker."""
        with self._state.lock:
            self._state.workers.pop(worker_id, None)

    def workers(self) -> Sequence[LiveWorker]:
        """Filter by the last sign of life."""
        with self._state.lock:
            since = self._clock.now() - WORKER_LIFE
            rows = [worker for worker in self._state.workers.values() if worker.seen_at > since]
        return sorted(rows, key=lambda worker: worker.worker_id)

    def counts(self, owner: Owner | None = None) -> Mapping[JobStatus, int]:
        """Count."""
        found = dict.fromkeys(JobStatus, 0)
        with self._state.lock:
            for job in self._state.jobs.values():
                found[job.status] += owner is None or job.owner == owner
        return found

    def listen(self, *, only_stops: bool = False) -> ChangeFeed:  # noqa: ARG002 - one number tells of everything
        """Compare the counter of changes."""
        return MemoryFeed(lambda: self._state.changes)

    # ── below the methods of the port ──

    def _change(self, job_id: JobId, decide: Callable[[Job, datetime], tuple[Job, A]]) -> A | ledger.Stale:
        with self._state.lock:
            job = self._state.jobs.get(job_id)
            if job is None:
                return ledger.Stale()
            now = self._clock.now()
            after, answer = decide(job, now)
            if after is not job:
                self._state.save_job(after, now)
            return answer

    def _replayed(self, owner: Owner, idempotency: Idempotency | None) -> Job | None:
        made = idempotency and self._state.job_keys.made_by(owner, idempotency, self._clock.now())
        return self._state.jobs[JobId(made)] if made else None

    def _check_inputs(self, job: Job) -> None:
        for taken in job.inputs:
            self._state.owned_asset(job.owner, taken.asset_id).require_ready()
            if taken.version not in self._state.versions[taken.asset_id]:
                raise VersionNotFoundError(
                    f"Asset {taken.asset_id} has no version {taken.version}.",
                    asset_id=taken.asset_id,
                    version=taken.version,
                )

    def _beat(self, beat: Beat, now: datetime) -> ledger.BeatAnswer:
        job = self._state.jobs.get(beat.job_id)
        if job is None:
            return ledger.Stale()
        after, answer = ledger.beat(
            job, beat.token, progress=beat.progress, stage=beat.stage, now=now, rules=self._rules
        )
        if after is not job:
            self._state.save_job(after, now)
        return answer

    def _live_asset(self, job: Job) -> Asset | None:
        asset = self._state.assets.get(job.asset_id)
        return None if asset is None or asset.status is AssetStatus.DELETED else asset

    def _publish(self, job: Job, asset: Asset, version: Version | None, publication: Publication, now: datetime) -> Job:
        if version is not None:
            published = asset.publish(version.number, moves_head=publication.moves_head)
            self._state.publish(published, version, moves_head=publication.moves_head)
        for attachment in publication.attachments:
            self._state.attach(asset.asset_id, attachment, now)
        number = version.number if version else None
        return self._state.save_job(job.succeed(now=now, created_version=number, result=publication.result), now)


def begin(
    state: MemoryState, rules: Rules, job_id: JobId, worker: Worker, token: str, now: datetime
) -> ledger.BeginAnswer:
    """Grant the job or say why not; the caller holds the lock."""
    job = state.jobs.get(job_id)
    if job is None:
        return ledger.Missing()
    after, answer = ledger.begin(
        job, worker, token=token, now=now, rules=rules, has_slot=has_slot(state, rules, job, worker, now)
    )
    if isinstance(answer, ledger.Granted | ledger.Ended):
        state.save_job(after, now)
    return answer


def has_slot(state: MemoryState, rules: Rules, job: Job, worker: Worker, now: datetime) -> bool:
    """Tell whether the job's processor and its owner may run one more."""
    others = [
        other for other in state.jobs.values() if other.job_id != job.job_id and ledger.is_live(other, now, rules)
    ]
    of_type = sum(other.type == job.type for other in others)
    of_owner = sum(other.owner == job.owner for other in others)
    type_limit = worker.limits.get(job.type)
    return (type_limit is None or of_type < type_limit) and (
        rules.owner_concurrency is None or of_owner < rules.owner_concurrency
    )


def _matches(job: Job, filters: JobFilter) -> bool:
    return (
        (filters.asset_id is None or job.asset_id == filters.asset_id)
        and (filters.status is None or job.status is filters.status)
        and (filters.created_after is None or job.created_at >= filters.created_after)
        and (filters.created_before is None or job.created_at < filters.created_before)
    )
