"""Which waiting job comes next, found without looking at the others.

The index `job_ready` holds the queued jobs by queue, type, needs and priority, then by time. All with the same
first four are a group: one worker can run either all of them or none. There are few groups however many jobs
wait, each is found by one seek, and so is its first due job. So delayed jobs, jobs of other types and those of a
full processor cost nothing, whether there are ten or a hundred thousand.
"""

import functools
import itertools
import json
import operator
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import NamedTuple

import attrs

from musproj.adapters.local.table import LARGEST
from musproj.domain.ids import JobId
from musproj.domain.job import Job
from musproj.domain.ledger import Rules, Worker
from musproj.domain.times import from_millis, to_millis


class Group(NamedTuple):
    """Queued jobs that differ only in time and owner."""

    queue: str
    type: str
    needs: str
    """As stored: JSON."""
    priority: int

    def suits(self, worker: Worker) -> bool:
        """Tell whether `worker` has what these jobs need."""
        return self.type in worker.types and worker.abilities.issuperset(words(self.needs))


@attrs.frozen
class Full:
    """Who has no free slot."""

    types: Collection[str] = ()
    owners: Collection[str] = ()


_IN_QUEUE = """
    SELECT queue, type, needs, priority FROM job
    WHERE status = 'queued' AND queue = ? AND (type, needs, priority, run_at) > (?, ?, ?, ?)
    ORDER BY type, needs, priority, run_at LIMIT 1
"""
"""The time is compared too, with one that no job has: SQLite seeks to what is equal and walks over it."""
_QUEUES = "SELECT queue FROM job WHERE status = 'queued' AND queue > ? ORDER BY queue LIMIT 1"
_OF_GROUP = "status = 'queued' AND queue = ? AND type = ? AND needs = ? AND priority = ?"
_FIRST_DUE = f"SELECT run_at, id FROM job WHERE {_OF_GROUP} AND run_at <= ?"  # noqa: S608 - our own text
_FIRST_LATER = f"SELECT run_at FROM job WHERE {_OF_GROUP} AND run_at > ? ORDER BY run_at LIMIT 1"  # noqa: S608 - ours
_RUNNING = "SELECT id, type, owner FROM job WHERE status = 'running' AND lease_until > ? AND lease_until <= ?"


def groups(connection: sqlite3.Connection, queue: str | None = None) -> Iterator[Group]:
    """Return the groups of a queue, or of all."""
    for name in _queues(connection) if queue is None else [queue]:
        place: tuple[str, str, int] = ("", "", -LARGEST)
        while row := connection.execute(_IN_QUEUE, (name, *place, LARGEST)).fetchone():
            yield Group(*row)
            place = row[1:]


def next_job(connection: sqlite3.Connection, queue: str, worker: Worker, now: datetime, rules: Rules) -> JobId | None:
    """Return the job that `worker` should run next: by priority, then `run_at`, then id."""
    suiting = [group for group in groups(connection, queue) if group.suits(worker)]
    if not suiting:
        return None
    full = find_full(connection, worker, now, rules)
    suiting.sort(key=_priority, reverse=True)
    for _, level in itertools.groupby(suiting, _priority):
        candidates = (
            _first_due(connection, group, now, full.owners) for group in level if group.type not in full.types
        )
        due = [candidate for candidate in candidates if candidate is not None]
        if due:
            return JobId(min(due)[1])
    return None


def next_run_at(connection: sqlite3.Connection, now: datetime, queue: str | None = None) -> datetime | None:
    """Return when the first of the delayed jobs comes due."""
    times: list[int] = []
    for group in groups(connection, queue):
        row = connection.execute(_FIRST_LATER, (*group, to_millis(now))).fetchone()
        if row is not None:
            times.append(row[0])
    return from_millis(min(times)) if times else None


def find_full(
    connection: sqlite3.Connection, worker: Worker, now: datetime, rules: Rules, *, but: JobId | None = None
) -> Full:
    """Return the types and owners without a free slot, the run of the job `but` left out; counts only limited ones."""
    if not worker.limits and rules.owner_concurrency is None:
        return Full()
    lives = (to_millis(now), to_millis(now + 2 * rules.lease))
    running = [row for row in connection.execute(_RUNNING, lives) if row[0] != but]
    of_type, of_owner = Counter(row[1] for row in running), Counter(row[2] for row in running)
    most = rules.owner_concurrency
    return Full(
        types=[name for name, limit in worker.limits.items() if of_type[name] >= limit],
        owners=[owner for owner, runs in of_owner.items() if most is not None and runs >= most],
    )


def has_slot(connection: sqlite3.Connection, job: Job, worker: Worker, now: datetime, rules: Rules) -> bool:
    """Tell whether the processor and the owner of `job` may run one more."""
    full = find_full(connection, worker, now, rules, but=job.job_id)
    return job.type not in full.types and job.owner not in full.owners


def _first_due(
    connection: sqlite3.Connection, group: Group, now: datetime, full_owners: Collection[str]
) -> tuple[int, str] | None:
    but = f" AND owner NOT IN ({', '.join('?' * len(full_owners))})" if full_owners else ""
    sql = f"{_FIRST_DUE}{but} ORDER BY run_at, id LIMIT 1"
    row = connection.execute(sql, (*group, to_millis(now), *full_owners)).fetchone()
    return None if row is None else (row[0], row[1])


def _queues(connection: sqlite3.Connection) -> Iterator[str]:
    name = ""
    while row := connection.execute(_QUEUES, (name,)).fetchone():
        name = row[0]
        yield name


@functools.lru_cache(maxsize=256)
def words(needs: str) -> frozenset[str]:
    """Return what the stored form of a job's needs names; of an unreadable one nothing, so that it meets a worker."""
    try:
        return frozenset(json.loads(needs))
    except (ValueError, TypeError):
        return frozenset()


_priority = operator.attrgetter("priority")
