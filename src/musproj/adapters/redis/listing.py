"""Pages of jobs, newest first: ids sort by time, so an index of equal scores is in order."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from musproj.adapters.redis.backend import RedisBackend
from musproj.adapters.redis.job_reads import find_jobs
from musproj.domain.cursors import cursor_of, place_of
from musproj.domain.ids import JobId, Owner, new_job_id
from musproj.domain.job import TERMINAL, Job
from musproj.ports.assets import Page
from musproj.ports.jobs import JobFilter

CHUNK = 100
"""Ids read at once where most of them may be left out."""
LONGEST_WAIT = timedelta(days=8)
"""A job's id may be older than its record, by as long as an upload can be confirmed after its request."""
_TIME_CHARACTERS = 10
_MOMENT = timedelta(milliseconds=1)


def list_jobs(backend: RedisBackend, owner: Owner, filters: JobFilter, *, limit: int, cursor: str | None) -> Page[Job]:
    """Return a page.

    Raises:
        InvalidCursorError: the cursor is malformed.
    """
    below = None if cursor is None else place_of(cursor)
    found: list[Job] = []
    for job in _walk(backend, owner, filters, below, limit + 1):
        if len(found) == limit:
            return Page(tuple(found), cursor_of(found[-1].job_id))
        found.append(job)
    return Page(tuple(found), None)


def _walk(backend: RedisBackend, owner: Owner, filters: JobFilter, below: str | None, wanted: int) -> Iterator[Job]:
    index = _index(backend, owner, filters)
    is_exact = filters == JobFilter() or filters == JobFilter(status=filters.status)
    count = wanted if is_exact else max(wanted, CHUNK)
    high = _highest(filters, below)
    low = _lowest(filters)
    while True:
        (reply,) = backend.read(("ZRANGE", index, high, low, "BYLEX", "REV", "LIMIT", 0, count))
        ids = [JobId(part.decode("utf-8", "replace")) for part in reply]
        jobs = find_jobs(backend, ids)
        _drop(backend, owner, index, [job_id for job_id, stored in zip(ids, jobs, strict=True) if stored is None])
        for stored in jobs:
            if stored is not None and _matches(stored.job, owner, filters):
                yield stored.job
        if len(ids) < count:
            return
        high = f"({ids[-1]}"


def _index(backend: RedisBackend, owner: Owner, filters: JobFilter) -> str:
    if filters.asset_id is not None:
        return backend.keys.asset_jobs(filters.asset_id)
    return backend.keys.owner_jobs(owner, filters.status)


def _highest(filters: JobFilter, below: str | None) -> str:
    """Return where to begin: ids are no younger than their records."""
    places = [below] if below is not None else []
    if filters.created_before is not None:
        places.append(first_id_of("job_", filters.created_before + _MOMENT))
    return f"({min(places)}" if places else "+"


def _lowest(filters: JobFilter) -> str:
    after = filters.created_after
    return "-" if after is None else f"[{first_id_of('job_', after - LONGEST_WAIT)}"


def first_id_of(prefix: str, at: datetime) -> str:
    """Return what no id with that prefix of that moment sorts before."""
    return prefix + new_job_id(at).removeprefix("job_")[:_TIME_CHARACTERS]


def _matches(job: Job, owner: Owner, filters: JobFilter) -> bool:
    return (
        job.owner == owner
        and (filters.asset_id is None or job.asset_id == filters.asset_id)
        and (filters.status is None or job.status is filters.status)
        and (filters.created_after is None or job.created_at >= filters.created_after)
        and (filters.created_before is None or job.created_at < filters.created_before)
    )


def _drop(backend: RedisBackend, owner: Owner, index: str, gone: list[JobId]) -> None:
    """Take jobs whose time is over out of the lists; their records have expired."""
    if not gone:
        return
    keys = backend.keys
    for other in {index, keys.owner_jobs(owner)}:
        backend.connection.execute([("ZREM", other, *gone)])
    for status in TERMINAL:
        (dropped,) = backend.connection.execute([("ZREM", keys.owner_jobs(owner, status), *gone)])
        if dropped:
            backend.connection.execute([("HINCRBY", keys.job_counts, status, -dropped)])
