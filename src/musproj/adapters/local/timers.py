"""The look at everything that becomes due by itself."""

import sqlite3
from collections.abc import Callable
from datetime import datetime

import attrs

from musproj.adapters.local import rows
from musproj.adapters.local.records import load_job, save_job
from musproj.adapters.local.selection import groups, next_run_at, words
from musproj.domain import ledger
from musproj.domain.ids import JobId
from musproj.domain.job import Job
from musproj.domain.ledger import Rules
from musproj.domain.times import from_millis, to_millis
from musproj.ports.jobs import WORKER_LIFE, LiveWorker, Tick

PAGE = 200
"""Jobs that one transaction moves: no other writer waits longer than for this many (about 20 ms)."""

_LAST_TICK = "tick"
_OFF_LEASE = "status = 'running' AND (lease_until IS NULL OR lease_until <= :now OR lease_until > :far)"
_GROUP = "status = 'queued' AND queue = ? AND type = ? AND needs = ? AND priority = ? AND run_at <= ?"
_REPLACEABLE = "(wait_reason IS NULL OR wait_reason IN ('delay', 'retry'))"
"""Reasons that `no_processor` may stand for; the others say that the next start resumes an attempt."""


def look(connection: sqlite3.Connection, now: datetime, rules: Rules) -> tuple[Tick, bool]:
    """Do one tick; return what it did, and whether more is left for another transaction."""
    ended = _expire(connection, now)
    _tell_who_is_missing(connection, now)
    if _was_away(connection, now, rules):
        tick = Tick(ended=ended, extended=_extend(connection, now, rules))
        return attrs.evolve(tick, next_run_at=next_run_at(connection, now)), ended == PAGE
    lost = _lose(connection, now, rules)
    requeued = sum(not job.is_terminal for job in lost)
    tick = Tick(requeued=requeued, ended=ended + len(lost) - requeued, next_run_at=next_run_at(connection, now))
    return tick, PAGE in (ended, len(lost))


def live_workers(connection: sqlite3.Connection, now: datetime) -> list[LiveWorker]:
    """Return the workers that gave a sign of life lately, by id."""
    found = connection.execute(f"{rows.WORKER} WHERE seen_at > ? ORDER BY id", (to_millis(now - WORKER_LIFE),))
    return [rows.read_worker(row) for row in found.fetchall()]


def _was_away(connection: sqlite3.Connection, now: datetime, rules: Rules) -> bool:
    """Tell whether the last tick is longer ago than a lease; note this one."""
    row = connection.execute("SELECT at FROM timer WHERE name = ?", (_LAST_TICK,)).fetchone()
    connection.execute("INSERT OR REPLACE INTO timer(name, at) VALUES(?, ?)", (_LAST_TICK, to_millis(now)))
    return row is None or now - from_millis(row[0]) > rules.outage


def _extend(connection: sqlite3.Connection, now: datetime, rules: Rules) -> int:
    """Prolong, in one statement, the leases that ran out while the store was away."""
    return connection.execute(
        f"UPDATE job SET lease_until = :until, updated_at = :now WHERE {_OFF_LEASE}",  # noqa: S608 - our own text
        {**_bounds(now, rules), "until": to_millis(now + rules.lease)},
    ).rowcount


def _lose(connection: sqlite3.Connection, now: datetime, rules: Rules) -> list[Job]:
    ids = connection.execute(
        f"SELECT id FROM job WHERE {_OFF_LEASE} LIMIT :page",  # noqa: S608 - our own text
        {**_bounds(now, rules), "page": PAGE},
    ).fetchall()
    return _move(connection, ids, now, lambda job: ledger.lose(job, now=now, rules=rules))


def _expire(connection: sqlite3.Connection, now: datetime) -> int:
    ids = connection.execute(
        "SELECT id FROM job WHERE status = 'queued' AND expires_at <= ? LIMIT ?", (to_millis(now), PAGE)
    ).fetchall()
    return len(_move(connection, ids, now, lambda job: ledger.expire(job, now=now)))


def _move(
    connection: sqlite3.Connection, ids: list[tuple[JobId]], now: datetime, step: Callable[[Job], Job]
) -> list[Job]:
    moved: list[Job] = []
    for (job_id,) in ids:
        job = load_job(connection, job_id)
        assert job is not None
        # One that cannot be read has failed by being loaded.
        moved.append(job if job.is_terminal else save_job(connection, job, step(job), now))
    return moved


def _tell_who_is_missing(connection: sqlite3.Connection, now: datetime) -> None:
    """Mark due jobs that no live worker can run, unmark those that one can."""
    workers = live_workers(connection, now)
    for group in groups(connection):
        needs = words(group.needs)
        is_able = any(group.type in worker.types and worker.abilities.issuperset(needs) for worker in workers)
        to, of = (None, "wait_reason = 'no_processor'") if is_able else ("no_processor", _REPLACEABLE)
        where = (*group, to_millis(now))
        if connection.execute(f"SELECT 1 FROM job WHERE {_GROUP} AND {of} LIMIT 1", where).fetchone():  # noqa: S608
            connection.execute(
                f"UPDATE job SET wait_reason = ?, updated_at = ? WHERE {_GROUP} AND {of}",  # noqa: S608 - our own text
                (to, to_millis(now), *where),
            )


def _bounds(now: datetime, rules: Rules) -> dict[str, int]:
    """Return between what a live lease ends; one further ahead was made by a clock that jumped."""
    return {"now": to_millis(now), "far": to_millis(now + 2 * rules.lease)}
