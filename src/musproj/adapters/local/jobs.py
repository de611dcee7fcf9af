"""Jobs in a `LocalDatabase`."""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from musproj.adapters.local import idempotency as keys
from musproj.adapters.local import paging, records, rows, runs, timers
from musproj.adapters.local.changes import LocalFeed
from musproj.adapters.local.database import LocalDatabase
from musproj.adapters.local.host import boot_id
from musproj.adapters.local.rows import JOBS
from musproj.adapters.local.table import LARGEST, as_json
from musproj.domain import ledger
from musproj.domain.cursors import place_of
from musproj.domain.ids import JobId, Owner
from musproj.domain.job import Job, JobStatus
from musproj.domain.ledger import Rules, Worker
from musproj.domain.remote import RemoteOp
from musproj.domain.times import to_millis
from musproj.errors import JobNotFoundError
from musproj.ports.assets import Idempotency, Page
from musproj.ports.changes import ChangeFeed
from musproj.ports.clock import Clock
from musproj.ports.jobs import (
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

T = TypeVar("T")

FORGET_WORKER = timedelta(days=1)


class LocalJobStore(JobStore):
    """Jobs and their laws, each step one transaction of SQLite."""

    def __init__(self, database: LocalDatabase, clock: Clock, rules: Rules) -> None:
        """Use `database`, which the caller opened and closes."""
        self._database = database
        self._clock = clock
        self._rules = rules

    def submit(self, job: Job, idempotency: Idempotency | None = None, *, paid: bool = False) -> SubmitAnswer:
        """Look for the key, then at the inputs, then for a twin."""
        return self._database.write(partial(self._submit, job=job, idempotency=idempotency, paid=paid))

    def get(self, owner: Owner, job_id: JobId) -> Job:
        """Look the record up."""
        job = self.find(job_id)
        if job is None or job.owner != owner:
            raise JobNotFoundError(f"There is no job {job_id}.", job_id=job_id)
        return job

    def find(self, job_id: JobId) -> Job | None:
        """Look the record up."""
        return self._database.read(partial(records.find_job, job_id=job_id))

    def list(self, owner: Owner, filters: JobFilter, *, limit: int, cursor: str | None = None) -> Page[Job]:
        """Follow an index by id, which sorts by time."""
        sql, values = _listing(owner, filters, None if cursor is None else place_of(cursor))
        values.append(min(limit + 1, LARGEST))

        def read(connection: sqlite3.Connection) -> Page[Job]:
            found = connection.execute(f"{sql} ORDER BY id DESC LIMIT ?", values).fetchall()
            return paging.page(found, limit, lambda shown: [rows.read_job(connection, row) for row in shown])

        return self._database.read(read)

    def begin(self, job_id: JobId, worker: Worker, token: str) -> ledger.BeginAnswer:
        """Ask the ledger."""
        return self._database.write(
            lambda connection: runs.begin(connection, job_id, worker, token, now=self._clock.now(), rules=self._rules)
        )

    def beat(self, beats: Sequence[Beat]) -> Sequence[ledger.BeatAnswer]:
        """Ask the ledger for each; wait as long as a lease, and wake no worker."""
        return self._database.write(
            lambda connection: runs.beat(connection, beats, now=self._clock.now(), rules=self._rules),
            wakes=False,
            patience=self._rules.lease.total_seconds(),
        )

    def reserve(self, job_id: JobId, token: str, *, above: int = 0) -> ledger.ReserveAnswer:
        """Take the asset's next number, unless the job has one."""
        return self._database.write(
            lambda connection: runs.reserve(connection, job_id, token, above=above, now=self._clock.now()), wakes=False
        )

    def commit(self, job_id: JobId, token: str, publication: Publication) -> ledger.CommitAnswer:
        """Publish and finish in the same transaction."""
        return self._database.write(
            lambda connection: runs.commit(connection, job_id, token, publication, now=self._clock.now())
        )

    def release(self, job_id: JobId, token: str, failure: ledger.Failure) -> ledger.ReleaseAnswer:
        """Ask the ledger."""
        return self._database.write(
            lambda connection: runs.release(
                connection, job_id, token, failure, now=self._clock.now(), rules=self._rules
            )
        )

    def note(self, job_id: JobId, token: str, op: RemoteOp) -> ledger.NoteAnswer:
        """Ask the ledger."""
        return self._database.write(
            lambda connection: runs.change(
                connection, job_id, self._clock.now(), lambda job, now: ledger.note(job, token, op, now=now)
            ),
            wakes=False,
        )

    def park(self, job_id: JobId, token: str, op: RemoteOp, *, until: datetime, stage: str) -> ledger.ParkAnswer:
        """Ask the ledger."""

        def decide(job: Job, now: datetime) -> tuple[Job, ledger.ParkAnswer]:
            return ledger.park(job, token, op, until=until, stage=stage, now=now)

        return self._database.write(lambda connection: runs.change(connection, job_id, self._clock.now(), decide))

    def hear(self, job_id: JobId, op: RemoteOp, *, percent: int | None = None) -> ledger.HearAnswer:
        """Ask the ledger."""

        def decide(job: Job, now: datetime) -> tuple[Job, ledger.HearAnswer]:
            return ledger.hear(job, op, percent=percent, now=now)

        return self._database.write(lambda connection: runs.change(connection, job_id, self._clock.now(), decide))

    def remotes(self, *, limit: int, service: str | None = None, only_due: bool = False) -> Sequence[Job]:
        """Follow the index of what is due."""
        conditions: list[tuple[str, object]] = [] if service is None else [("service = ?", service)]
        if service is None or only_due:
            conditions.append(("due <= ?", to_millis(self._clock.now())))
        where = " AND ".join(text for text, _ in conditions)
        sql = f"{JOBS.select} JOIN remote ON remote.job_id = job.id WHERE {where} ORDER BY due, id LIMIT ?"
        values = [*(value for _, value in conditions), limit]

        def read(connection: sqlite3.Connection) -> list[Job]:
            found = [rows.read_job(connection, row) for row in connection.execute(sql, values).fetchall()]
            return [job for job in found if job.remote_due is not None]  # of one that cannot be read it is not known

        return self._database.read(read)

    def cancel(self, owner: Owner, job_id: JobId) -> ledger.CancelAnswer:
        """Ask the ledger."""
        return self._database.write(partial(self._cancel, owner=owner, job_id=job_id))

    def tick(self) -> Tick:
        """Look in transactions of limited size, until one leaves nothing."""
        tick, more = Tick(), True
        while more:
            seen, more = self._database.write(
                lambda connection: timers.look(connection, self._clock.now(), self._rules)
            )
            tick = Tick(
                requeued=tick.requeued + seen.requeued,
                ended=tick.ended + seen.ended,
                extended=tick.extended + seen.extended,
                next_run_at=seen.next_run_at,
            )
        return tick

    def announce(self, worker: LiveWorker) -> None:
        """Store what the worker says of itself, and the kernel it runs under."""
        values = (
            worker.worker_id,
            worker.host,
            boot_id(),
            worker.pid,
            as_json(worker.types),
            as_json(worker.abilities),
            worker.concurrency,
            to_millis(worker.seen_at),
        )

        def put(connection: sqlite3.Connection) -> None:
            long_gone = to_millis(worker.seen_at - FORGET_WORKER)
            connection.execute("DELETE FROM worker WHERE seen_at < ?", (long_gone,))
            connection.execute(
                """
                INSERT OR REPLACE INTO worker(id, host, boot, pid, types, abilities, concurrency, seen_at)
                VALUES(?, ?, ?, ?, ?, ?, ?, ?)
                """,
                values,
            )

        self._database.write(put, wakes=False)

    def withdraw(self, worker_id: str) -> None:
        """Forget the worker."""
        self._database.write(
            lambda connection: connection.execute("DELETE FROM worker WHERE id = ?", (worker_id,)), wakes=False
        )

    def workers(self) -> Sequence[LiveWorker]:
        """Filter by the last sign of life."""
        return self._database.read(lambda connection: timers.live_workers(connection, self._clock.now()))

    def counts(self, owner: Owner | None = None) -> Mapping[JobStatus, int]:
        """Count by the index."""
        where, values = ("", ()) if owner is None else (" WHERE owner = ?", (owner,))
        sql = f"SELECT status, count(*) FROM job{where} GROUP BY status"  # noqa: S608 - our own text
        found = dict(self._database.read(lambda connection: connection.execute(sql, values).fetchall()))
        return {status: found.get(status.value, 0) for status in JobStatus}

    def listen(self, *, only_stops: bool = False) -> ChangeFeed:  # noqa: ARG002 - one number tells of everything
        """Hear of every change."""
        return LocalFeed(self._database, lambda: self._database.changes)

    # ── below the methods of the port ──

    def _submit(
        self, connection: sqlite3.Connection, job: Job, idempotency: Idempotency | None, *, paid: bool
    ) -> SubmitAnswer:
        now = self._clock.now()
        made = idempotency and keys.made_by(connection, job.owner, "job", idempotency, now)
        known = made and records.find_job(connection, JobId(made))
        if known:
            return Existing(known, replayed=True)
        for taken in job.inputs:
            records.owned_asset(connection, job.owner, taken.asset_id).require_ready()
            records.require_version(connection, taken.asset_id, taken.version)
        twin = records.find_job(connection, job.job_id) or records.find_twin(connection, job, paid=paid)
        if idempotency is not None:
            keys.remember(connection, job.owner, "job", idempotency, (twin or job).job_id, now)
        if twin is not None:
            return Existing(twin, replayed=False)
        JOBS.insert(connection, job)
        if job.remote_due is not None:
            records.note_remote_due(connection, job)
        return Created(job)

    def _cancel(self, connection: sqlite3.Connection, owner: Owner, job_id: JobId) -> ledger.CancelAnswer:
        job = records.load_job(connection, job_id)
        if job is None or job.owner != owner:
            return ledger.Missing()
        now = self._clock.now()
        after, answer = ledger.cancel(job, now=now)
        if after is not job:
            records.save_job(connection, job, after, now)
        return answer


def _listing(owner: Owner, filters: JobFilter, below: str | None) -> tuple[str, list[object]]:
    # The plus keeps SQLite from following the owner's index, where the asset's is far shorter.
    conditions: list[tuple[str, object | None]] = [
        ("owner = ?" if filters.asset_id is None else "+owner = ?", owner),
        ("asset_id = ?", filters.asset_id),
        ("status = ?", filters.status and filters.status.value),
        ("created_at >= ?", filters.created_after and to_millis(filters.created_after)),
        ("created_at < ?", filters.created_before and to_millis(filters.created_before)),
        ("id < ?", below),
    ]
    used = [(text, value) for text, value in conditions if value is not None]
    return f"{JOBS.select} WHERE {' AND '.join(text for text, _ in used)}", [value for _, value in used]
