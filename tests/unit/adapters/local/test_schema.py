"""How an older file becomes a present one."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from musproj.adapters.local import schema
from musproj.adapters.local.assets import LocalAssetStore
from musproj.adapters.local.database import LocalDatabase
from musproj.adapters.local.jobs import LocalJobStore
from musproj.adapters.local.queue import LocalJobQueue
from musproj.domain.job import JobStatus
from musproj.domain.ledger import Rules
from musproj.errors import BackendUnavailableError
from musproj.testing.clock import FakeClock
from musproj.testing.ledger import Ledger
from musproj.testing.threads import at_once

EXPANDING = ("ALTER TABLE job ADD COLUMN mood TEXT", "CREATE INDEX job_mood ON job(mood) WHERE mood IS NOT NULL")


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Act as a program that knows more migrations."""

    def switch(*more: tuple[str, ...]) -> None:
        monkeypatch.setattr(schema, "MIGRATIONS", (schema._FIRST, *more))
        monkeypatch.setattr(schema, "CURRENT", 1 + len(more))

    return switch


def facts(path: Path) -> tuple[int, list[str]]:
    connection = sqlite3.connect(path)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master ORDER BY name")]
    connection.close()
    return version, names


def test_an_older_file_is_brought_up_with_jobs_in_flight(
    ledger: Ledger, database: LocalDatabase, path: Path, clock: FakeClock, release: Callable[..., None]
) -> None:
    asset = ledger.ready()
    running, waiting = ledger.running(asset), ledger.submit(asset)
    release(EXPANDING)
    rules = Rules()
    with LocalDatabase.open(path, clock=clock) as newer:
        assert facts(path)[0] == 2
        # The older program goes on working on the expanded file, the newer one sees what it does.
        ledger.finish(running)
        assert LocalJobStore(newer, clock, rules).counts()[JobStatus.SUCCEEDED] == 1
        assert [entry.job_id for entry in [LocalJobStore(newer, clock, rules).find(waiting.job_id)] if entry] == [
            waiting.job_id
        ]
        later = ledger.submit(asset)
        assert LocalJobQueue(newer, clock, rules).depth() == 2
        assert LocalAssetStore(newer, clock).get(asset.owner, asset.asset_id).latest_version == 2
    assert ledger.job(later).status is JobStatus.QUEUED


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    database: LocalDatabase, path: Path, clock: FakeClock, release: Callable[..., None]
) -> None:
    before = facts(path)
    release(EXPANDING, ("ALTER TABLE nowhere ADD COLUMN a",))
    with pytest.raises(BackendUnavailableError, match="no such table: nowhere"):
        LocalDatabase.open(path, clock=clock)
    assert facts(path) == before


def test_several_that_open_an_older_file_at_once_migrate_it_once(
    database: LocalDatabase, path: Path, clock: FakeClock, release: Callable[..., None]
) -> None:
    release(EXPANDING)
    for opened in at_once([lambda: LocalDatabase.open(path, clock=clock)] * 8):
        opened.close()
    assert facts(path)[0] == 2


def test_several_that_open_a_new_file_at_once_make_it_once(path: Path, clock: FakeClock) -> None:
    for opened in at_once([lambda: LocalDatabase.open(path, clock=clock)] * 8):
        assert "in order" in opened.check()
        opened.close()
    assert facts(path)[0] == schema.CURRENT


def test_the_schema_itself_refuses_a_second_version_of_a_job(ledger: Ledger, database: LocalDatabase) -> None:
    job = ledger.publish(ledger.ready())
    with pytest.raises(BackendUnavailableError, match=r"UNIQUE constraint failed: version\.job_id"):
        database.write(lambda c: c.execute("UPDATE version SET job_id = ? WHERE n = 1", (job.job_id,)))


def test_the_schema_itself_refuses_two_live_twins(ledger: Ledger, database: LocalDatabase) -> None:
    asset = ledger.ready()
    ledger.submit(asset, force=False)
    other = ledger.submit(asset)
    with pytest.raises(BackendUnavailableError, match=r"UNIQUE constraint failed: job\.owner, job\.dedupe"):
        database.write(
            lambda c: c.execute("UPDATE job SET dedupe = (SELECT max(dedupe) FROM job) WHERE id = ?", (other.job_id,))
        )
