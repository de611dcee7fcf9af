"""The life of one run: begin, beat, reserve, commit, release; each in the transaction of its caller."""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from musproj.adapters.local.records import (
    asset_lives,
    attach,
    discard,
    has_version,
    load_job,
    owned_asset,
    publish,
    save_asset,
    save_job,
)
from musproj.adapters.local.selection import has_slot
from musproj.domain import ledger
from musproj.domain.ids import JobId
from musproj.domain.job import Job, JobStatus
from musproj.domain.ledger import Failure, Rules, Worker
from musproj.ports.jobs import Beat, Publication

A = TypeVar("A")


def begin(
    connection: sqlite3.Connection, job_id: JobId, worker: Worker, token: str, *, now: datetime, rules: Rules
) -> ledger.BeginAnswer:
    """Grant the job to `worker` or say why not."""
    job = load_job(connection, job_id)
    if job is None:
        return ledger.Missing()
    is_free = has_slot(connection, job, worker, now, rules)
    after, answer = ledger.begin(job, worker, token=token, now=now, rules=rules, has_slot=is_free)
    if isinstance(answer, ledger.Granted | ledger.Ended):
        save_job(connection, job, after, now)
    return answer


def beat(
    connection: sqlite3.Connection, beats: Sequence[Beat], *, now: datetime, rules: Rules
) -> list[ledger.BeatAnswer]:
    """Renew the leases of several runs."""
    return [_beat(connection, beat, now, rules) for beat in beats]


def _beat(connection: sqlite3.Connection, beat: Beat, now: datetime, rules: Rules) -> ledger.BeatAnswer:
    job = load_job(connection, beat.job_id)
    if job is None:
        return ledger.Stale()
    after, answer = ledger.beat(job, beat.token, progress=beat.progress, stage=beat.stage, now=now, rules=rules)
    if after is not job:
        save_job(connection, job, after, now)
    return answer


def reserve(
    connection: sqlite3.Connection, job_id: JobId, token: str, *, above: int, now: datetime
) -> ledger.ReserveAnswer:
    """Give the job its asset's next number, unless it has one."""
    job = load_job(connection, job_id)
    if job is None or not ledger.holds(job, token):
        return ledger.Stale()
    if not asset_lives(connection, job.asset_id):
        return ledger.AssetDeleted()
    held = job.reserved_version
    if held is not None and held > above:
        return ledger.Reserved(held)
    if held is not None:
        discard(connection, job.asset_id, held, now)
    asset = owned_asset(connection, job.owner, job.asset_id)
    after, number = asset.reserve(above)
    save_asset(connection, asset, after)
    save_job(connection, job, job.reserve(number), now)
    return ledger.Reserved(number)


def commit(
    connection: sqlite3.Connection, job_id: JobId, token: str, publication: Publication, *, now: datetime
) -> ledger.CommitAnswer:
    """Check token, number, flag, asset and number again, in this order; then publish."""
    job = load_job(connection, job_id)
    if job is None or job.token != token:
        return ledger.Stale()
    if job.status is JobStatus.SUCCEEDED:
        return ledger.Committed(job, again=True)
    if job.status is JobStatus.CANCELLED:
        return ledger.CancelledFirst(job)
    version = publication.version
    if not ledger.holds(job, token) or (version and version.number != job.reserved_version):
        return ledger.Stale()
    if job.cancel_requested_at is not None:
        return ledger.CancelledFirst(save_job(connection, job, job.end_cancelled(now=now), now))
    if not asset_lives(connection, job.asset_id):
        return ledger.AssetDeleted()
    if version and has_version(connection, job.asset_id, version.number):
        return ledger.NumberTaken()
    if version:
        publish(connection, job, version, moves_head=publication.moves_head)
    for attachment in publication.attachments:
        attach(connection, job.asset_id, attachment, now)
    number = version.number if version else None
    done = job.succeed(now=now, created_version=number, result=publication.result)
    return ledger.Committed(save_job(connection, job, done, now))


def release(
    connection: sqlite3.Connection, job_id: JobId, token: str, failure: Failure, *, now: datetime, rules: Rules
) -> ledger.ReleaseAnswer:
    """Take the run off its worker."""
    return change(connection, job_id, now, lambda job, at: ledger.release(job, token, failure, now=at, rules=rules))


def change(
    connection: sqlite3.Connection, job_id: JobId, now: datetime, decide: Callable[[Job, datetime], tuple[Job, A]]
) -> A | ledger.Stale:
    """Write the job that `decide` returns, where it differs; an unknown one is nobody's."""
    job = load_job(connection, job_id)
    if job is None:
        return ledger.Stale()
    after, answer = decide(job, now)
    if after is not job:
        save_job(connection, job, after, now)
    return answer
