"""A claim costs the same whatever else waits: counted in steps of SQLite's machine, not in time."""

import sqlite3
from collections.abc import Callable
from datetime import timedelta

import pytest

from musproj.adapters.local import selection
from musproj.adapters.local.database import LocalDatabase
from musproj.adapters.local.rows import JOBS
from musproj.domain.asset import Asset
from musproj.domain.ledger import Rules
from musproj.testing.ledger import Ledger
from musproj.testing.records import new_job, new_worker

MANY = 10_000
STEPS = 3_000
"""A claim in an empty queue takes some 300; a look at each of the many would take more than 50,000."""
WORKER = new_worker(types=["enhance", "separate"], limits={"separate": 1})


def steps(database: LocalDatabase, query: Callable[[sqlite3.Connection], object]) -> int:
    """Return how many hundred steps SQLite's machine took, times a hundred."""
    taken = 0

    def tell() -> int:
        nonlocal taken
        taken += 1
        return 0

    def run(connection: sqlite3.Connection) -> None:
        connection.set_progress_handler(tell, 100)
        query(connection)
        connection.set_progress_handler(None, 0)

    database.read(run)
    return 100 * taken


def crowd(database: LocalDatabase, ledger: Ledger, asset: Asset, **changes: object) -> None:
    """Let ten thousand jobs wait."""
    job = new_job(asset, ledger.now, **{"force": True, **changes})
    row = ", ".join("?1 || id" if name == "id" else name for name in columns(database))

    def insert(connection: sqlite3.Connection) -> None:
        JOBS.insert(connection, job)
        connection.execute(
            f"""
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY - 1})
            INSERT INTO job SELECT {row.replace("?1", "i")} FROM n, job WHERE id = ?
            """,
            (job.job_id,),
        )

    database.write(insert)


def columns(database: LocalDatabase) -> list[str]:
    return [row[1] for row in database.read(lambda c: c.execute("PRAGMA table_info(job)").fetchall())]


CROWDS = {
    "the same": {},
    "delayed": {"delay": timedelta(hours=1), "priority": 5},
    "of another type": {"job_type": "transcode", "priority": 5},
    "with other needs": {"needs": ("codecs",), "priority": 5},
    "of another queue": {"queue": "another", "priority": 5},
    "of a full processor": {"job_type": "separate", "priority": 5},
}


@pytest.mark.parametrize("crowd_is", CROWDS)
def test_ten_thousand_others_do_not_slow_a_claim_down(ledger: Ledger, database: LocalDatabase, crowd_is: str) -> None:
    asset = ledger.ready()
    ledger.running(asset, "separate")
    crowd(database, ledger, asset, **CROWDS[crowd_is])
    mine = ledger.submit(asset, priority=1)

    def look(connection: sqlite3.Connection) -> None:
        assert selection.next_job(connection, "audio-jobs", WORKER, ledger.now, Rules()) == mine.job_id

    assert steps(database, look) < STEPS
    assert steps(database, lambda c: selection.next_run_at(c, ledger.now)) < STEPS


def test_a_thousand_running_jobs_do_not_slow_a_claim_down_where_nothing_is_limited(
    ledger: Ledger, database: LocalDatabase
) -> None:
    asset = ledger.ready()
    crowd(database, ledger, asset)
    database.write(lambda c: c.execute("UPDATE job SET status = 'running', lease_until = run_at + 30000"))
    mine = ledger.submit(asset)
    free = new_worker(types=["enhance"])

    def look(connection: sqlite3.Connection) -> None:
        assert selection.next_job(connection, "audio-jobs", free, ledger.now, Rules()) == mine.job_id

    assert steps(database, look) < STEPS


QUERIES = {
    "live twin": "SELECT 1 FROM job WHERE owner = ? AND dedupe = ? AND status IN ('queued', 'running')",
    "expiry": "SELECT id FROM job WHERE status = 'queued' AND expires_at <= ? LIMIT ?",
    "leases": "SELECT id FROM job WHERE status = 'running' AND lease_until <= ?",
    "jobs of an owner": "SELECT id FROM job WHERE owner = ? AND id < ? ORDER BY id DESC LIMIT 20",
    "failed jobs of an owner": "SELECT id FROM job WHERE owner = ? AND status = ? AND id < ? ORDER BY id DESC LIMIT 20",
    "jobs of an asset": "SELECT id FROM job WHERE +owner = ? AND asset_id = ? AND id < ? ORDER BY id DESC LIMIT 20",
    "assets of an owner": "SELECT id FROM asset WHERE owner = ? AND status <> ? AND id < ? ORDER BY id DESC LIMIT 20",
    "uploads": "SELECT id FROM asset WHERE status = 'pending' AND next_look <= ? ORDER BY next_look, id LIMIT ?",
    "tombstones": "SELECT id FROM asset WHERE status = 'deleted' AND purge_at <= ? ORDER BY purge_at, id LIMIT ?",
    "reuse": "SELECT n FROM version WHERE owner = ? AND reuse = ? ORDER BY rowid DESC LIMIT 1",
    "garbage": "SELECT n FROM gc_due WHERE due_at <= ? ORDER BY due_at, asset_id, n LIMIT ?",
}


@pytest.mark.parametrize("name", QUERIES)
def test_no_query_walks_over_a_table_or_sorts_it(database: LocalDatabase, name: str) -> None:
    sql = QUERIES[name]
    values = (None,) * sql.count("?")
    plan = database.read(lambda c: c.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall())
    told = [row[3] for row in plan]
    assert not [line for line in told if line.startswith(("SCAN", "USE TEMP B-TREE FOR ORDER BY"))], told


def test_needs_that_cannot_be_read_meet_every_worker() -> None:
    assert selection.words("{") == frozenset()
    assert selection.words("7") == frozenset()
