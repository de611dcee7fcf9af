"""Reading job records: one, several at once, and one that is to be changed."""

import logging
from collections.abc import Sequence
from datetime import datetime

import attrs

from musproj.adapters.redis.backend import RedisBackend
from musproj.adapters.redis.connection import Command
from musproj.adapters.redis.job_changes import add_repair
from musproj.adapters.redis.job_records import Raw, StoredJob, load, to_raw
from musproj.adapters.redis.plan import Applied, Plan
from musproj.domain.ids import JobId
from musproj.domain.job import Job
from musproj.domain.times import to_millis
from musproj.errors import BackendUnavailableError, CorruptRecordError, SchemaTooNewError

log = logging.getLogger(__name__)

_REPAIRS = 20


def find_jobs(backend: RedisBackend, job_ids: Sequence[JobId]) -> list[StoredJob | None]:
    """Return the records, None for each that is not there; one that cannot be read is shown as failed."""
    if not job_ids:
        return []
    try:
        replies = backend.read(*_commands(backend, job_ids))
    except CorruptRecordError:
        return [_find_beside_others(backend, job_id) for job_id in job_ids]
    return _loaded(backend, job_ids, replies)


def read_jobs(backend: RedisBackend, job_ids: Sequence[JobId]) -> tuple[datetime, list[StoredJob | None]]:
    """Return the time and the records, as `find_jobs`."""
    try:
        now, replies = backend.read_at(*_commands(backend, job_ids))
    except CorruptRecordError:
        now, _ = backend.read_at()
        return now, find_jobs(backend, job_ids)
    return now, _loaded(backend, job_ids, replies)


def read_for_change(
    backend: RedisBackend, job_id: JobId, *, is_newer_welcome: bool = False
) -> tuple[datetime, StoredJob | None]:
    """Return the time and the record; one that cannot be read becomes failed, so that it blocks nobody.

    Raises:
        SchemaTooNewError: a newer program wrote it.
    """
    for _ in range(_REPAIRS):
        now, (reply,) = backend.read_at(("HGETALL", backend.keys.job(job_id)))
        stored = _load(backend, job_id, to_raw(reply))
        if stored is not None and stored.is_newer and is_newer_welcome:
            return now, stored
        if stored is not None and stored.is_newer:
            raise SchemaTooNewError(
                f"Job {job_id} was written by a newer musproj.",
                hint="Upgrade this program; the job waits.",
                job_id=job_id,
            )
        if stored is None or not stored.is_corrupt:
            return now, stored
        repaired = _repair(backend, stored, to_raw(reply), now)
        if repaired is not None:
            return now, repaired
    raise BackendUnavailableError(f"Others changed the record of {job_id} all the time.", hint="Try again.")


def as_submitted(backend: RedisBackend, job: Job, now: datetime) -> Job:
    """Return a job that was to run at once as due: the clock that it was submitted by may be ahead of the server's."""
    if backend.clock is not None or job.run_at > job.created_at or job.run_at <= now:
        return job
    return attrs.evolve(job, run_at=now)


def _repair(backend: RedisBackend, corrupt: StoredJob, raw: Raw, now: datetime) -> StoredJob | None:
    """Write the failed job that the record is taken for; None where somebody changed it meanwhile."""
    job_id = corrupt.job.job_id
    plan = Plan(at=to_millis(now))
    revision = raw.get("rev")
    if revision is None or revision.isdecimal():
        plan.require(backend.keys.job(job_id), "rev", revision)
    else:  # bytes that no text stands for; nobody changes such a record but by this repair
        plan.require_presence(backend.keys.job(job_id), present=True)
    add_repair(plan, backend, corrupt, raw.get("status"))
    if not isinstance(plan.apply(backend.connection), Applied):
        return None
    told = corrupt.job.error.message if corrupt.job.error else ""
    log.error("A job has failed: %s", told, extra={"action": "job_unreadable", "job": job_id})
    return attrs.evolve(corrupt, revision=corrupt.revision + 1, is_corrupt=False)


def _find_beside_others(backend: RedisBackend, job_id: JobId) -> StoredJob | None:
    """Return one of several records; where there is something else under its key, it hides no other."""
    try:
        return _loaded(backend, [job_id], backend.read(*_commands(backend, [job_id])))[0]
    except CorruptRecordError:
        return None


def _commands(backend: RedisBackend, job_ids: Sequence[JobId]) -> list[Command]:
    return [("HGETALL", backend.keys.job(job_id)) for job_id in job_ids]


def _loaded(
    backend: RedisBackend, job_ids: Sequence[JobId], replies: Sequence[Sequence[bytes]]
) -> list[StoredJob | None]:
    return [_load(backend, job_id, to_raw(reply)) for job_id, reply in zip(job_ids, replies, strict=True)]


def _load(backend: RedisBackend, job_id: JobId, raw: Raw) -> StoredJob | None:
    """Load a record; most have no ended attempts, so these are asked for only where the record tells of some."""
    if not raw:
        return None
    if "attemptsKept" not in raw:
        return load(job_id, raw)
    keys = backend.keys
    commands: list[Command] = [("HGETALL", keys.job(job_id)), ("LRANGE", keys.attempts(job_id), 0, -1)]
    reply, history = backend.connection.execute(commands, atomic=True)
    return load(job_id, to_raw(reply), history) if reply else None
