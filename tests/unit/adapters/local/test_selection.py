"""A claim costs the same whatever else waits: counted in steps of SQLite's machine, not in time."""

import sqlite3
from collections.abc import Callable
from datetime import timedelta

import attrs
import pytest

from musproj.adapters.local import jobs, records, selection, timers
from musproj.adapters.local.database import LocalDatabase
from musproj.adapters.local.rows import JOBS
from musproj.domain.asset import Asset
from musproj.domain.ids import DEFAULT_OWNER
from musproj.domain.job import JobStatus
from musproj.domain.ledger import Rules
from musproj.ports.assets import AssetFilter
from musproj.ports.jobs import JobFilter
from musproj.testing.ledger import Ledger
from musproj.testing.records import new_job, new_worker

MANY = 10_000
STEPS = 3_000
"""A claim in an empty queue takes some 300; a look at each of the many would take more than 50,000."""
WORKER = new_worker(types=["enhance", "separate"], limits={"separate": 1})


def steps(database: LocalDatabase, query: Callable[[sqlite3.Connection], object]) -> int:
    """Return how many steps SQLite's machine took, to the hundred."""
    return steps_of(database, lambda: database.read(query))


def steps_of(database: LocalDatabase, call: Callable[[], object]) -> int:
    """Return how many steps SQLite's machine took on this thread, to the hundred."""
    taken = 0

    def tell() -> int:
        nonlocal taken
        taken += 1
        return 0

    database.read(lambda connection: connection.set_progress_handler(tell, 100))
    call()
    database.read(lambda connection: connection.set_progress_handler(None, 0))
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


def columns(database: LocalDatabase, table: str = "job") -> list[str]:
    return [row[1] for row in database.read(lambda c: c.execute(f"PRAGMA table_info({table})").fetchall())]


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


def test_ten_thousand_ended_jobs_do_not_slow_the_others_down(ledger: Ledger, database: LocalDatabase) -> None:
    crowd(database, ledger, ledger.ready())
    database.write(lambda c: c.execute("UPDATE job SET status = 'succeeded', dedupe = 'x'"))
    asset = ledger.ready()
    job = ledger.submit(asset, force=False)
    twin = new_job(asset, ledger.now, params=job.params)
    below = new_job(asset, ledger.now).job_id
    of_asset, of_owner = JobFilter(asset_id=asset.asset_id), JobFilter(status=JobStatus.FAILED)
    looks: dict[str, Callable[[sqlite3.Connection], object]] = {
        "live twin": lambda c: records.find_twin(c, twin, paid=False),
        "paid twin": lambda c: records.find_twin(c, attrs.evolve(twin, params={}), paid=True),
        "list": lambda c: listed(c, JobFilter(), below),
        "list of an asset": lambda c: listed(c, of_asset, below),
        "list of a status": lambda c: listed(c, of_owner, below),
        "tick": lambda c: timers.look(c, ledger.now, Rules()),
    }
    taken = {name: steps(database, look) for name, look in looks.items()}
    assert {name: count for name, count in taken.items() if count > STEPS} == {}


def listed(connection: sqlite3.Connection, filters: JobFilter, below: str) -> None:
    sql, values = jobs._listing(DEFAULT_OWNER, filters, below)
    connection.execute(f"{sql} ORDER BY id DESC LIMIT 20", values).fetchall()


def test_ten_thousand_assets_do_not_slow_a_sweep_down(ledger: Ledger, database: LocalDatabase) -> None:
    asset = ledger.ready()
    ledger.publish(asset)
    row = ", ".join("i || id" if name == "id" else name for name in columns(database, "asset"))
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})"
    database.write(lambda c: c.execute(f"{numbers} INSERT INTO asset SELECT {row} FROM n, asset"))
    version = ledger.assets.version(DEFAULT_OWNER, asset.asset_id, 2)
    assert version.provenance is not None
    reuse_key = version.provenance.reuse_key
    calls: dict[str, Callable[[], object]] = {
        "uploads": lambda: ledger.assets.uploads_to_look_at(ledger.now, limit=10),
        "tombstones": lambda: ledger.assets.tombstones(ledger.now, limit=10),
        "garbage": lambda: ledger.assets.gc_due(ledger.now, limit=10),
        "reuse": lambda: ledger.assets.find_reuse(DEFAULT_OWNER, reuse_key),
        "list": lambda: ledger.assets.list(DEFAULT_OWNER, AssetFilter(), limit=20),
    }
    taken = {name: steps_of(database, call) for name, call in calls.items()}
    assert {name: count for name, count in taken.items() if count > STEPS} == {}


def test_needs_that_cannot_be_read_meet_every_worker() -> None:
    assert selection.words("{") == frozenset()
    assert selection.words("7") == frozenset()
