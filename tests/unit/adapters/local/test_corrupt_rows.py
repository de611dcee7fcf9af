"""A row that cannot be read costs its own record and no other."""

import json
from collections.abc import Callable

import pytest

from musproj.adapters.local.database import LocalDatabase
from musproj.domain import ledger as laws
from musproj.domain.asset import AssetStatus
from musproj.domain.ids import DEFAULT_OWNER, new_token
from musproj.domain.job import FailureKind, Job, JobStatus
from musproj.errors import CorruptRecordError
from musproj.ports.assets import AssetFilter
from musproj.ports.jobs import Beat, JobFilter, Publication
from musproj.testing.ledger import Ledger
from musproj.testing.records import new_worker

GARBAGE = [
    ("params", "{not json"),
    ("inputs", "[]"),
    ("inputs", '[{"asset_id": "ast_1"}]'),
    ("history", "7"),
    ("needs", "{"),
    ("error", '"text"'),
    ("progress", 4000),
    ("run_at", 1 << 62),
    ("wait_reason", "boredom"),
    ("max_attempts", 0),
]


def spoil(database: LocalDatabase, job: Job, column: str, value: object) -> None:
    database.write(lambda c: c.execute(f"UPDATE job SET {column} = ? WHERE id = ?", (value, job.job_id)))


def stored(database: LocalDatabase, job: Job) -> tuple[str, str]:
    row = database.read(lambda c: c.execute("SELECT status, error FROM job WHERE id = ?", (job.job_id,)).fetchone())
    return row[0], json.loads(row[1])["code"]


@pytest.mark.parametrize(("column", "value"), GARBAGE)
class TestAnyColumn:
    def test_a_reader_sees_a_failed_job(
        self, ledger: Ledger, database: LocalDatabase, column: str, value: object
    ) -> None:
        asset = ledger.ready()
        job, other = ledger.submit(asset), ledger.submit(asset)
        spoil(database, job, column, value)
        found = ledger.jobs.get(DEFAULT_OWNER, job.job_id)
        assert (found.status, found.job_id, found.asset_id) == (JobStatus.FAILED, job.job_id, asset.asset_id)
        assert found.error is not None
        assert (found.error.code, found.error.retryable) == ("corrupt_record", False)
        page = ledger.jobs.list(DEFAULT_OWNER, JobFilter(), limit=10)
        assert [shown.job_id for shown in page.items] == [other.job_id, job.job_id]

    def test_a_worker_goes_on_with_the_next(
        self, ledger: Ledger, database: LocalDatabase, column: str, value: object
    ) -> None:
        asset = ledger.ready()
        job, other = ledger.submit(asset), ledger.submit(asset)
        spoil(database, job, column, value)
        run = ledger.queue.claim(new_worker())
        assert run is not None
        assert run.job.job_id == other.job_id
        assert ledger.queue.claim(new_worker()) is None
        if column != "run_at":  # that one is not due, so nobody has met it
            assert stored(database, job) == ("failed", "corrupt_record")
            assert ledger.jobs.get(DEFAULT_OWNER, job.job_id).status is JobStatus.FAILED

    def test_every_call_ends_it_and_answers(
        self, ledger: Ledger, database: LocalDatabase, column: str, value: object
    ) -> None:
        asset = ledger.ready()
        job, token = ledger.submit(asset), new_token()
        calls: list[tuple[Callable[[], object], type]] = [
            (lambda: ledger.jobs.begin(job.job_id, new_worker(), token), laws.Finished),
            (lambda: ledger.jobs.beat([Beat(job_id=job.job_id, token=token)])[0], laws.Stale),
            (lambda: ledger.jobs.reserve(job.job_id, token), laws.Stale),
            (lambda: ledger.jobs.commit(job.job_id, token, Publication()), laws.Stale),
            (lambda: ledger.release(laws.Granted(job, token), FailureKind.CRASH), laws.Stale),
            (lambda: ledger.jobs.cancel(DEFAULT_OWNER, job.job_id), laws.TooLate),
        ]
        for call, answer in calls:
            database.write(lambda c: c.execute("UPDATE job SET status = 'queued' WHERE id = ?", (job.job_id,)))
            spoil(database, job, column, value)
            assert isinstance(call(), answer)
            assert stored(database, job) == ("failed", "corrupt_record")


def test_a_run_whose_record_is_spoiled_is_told_to_stop(ledger: Ledger, database: LocalDatabase) -> None:
    run = ledger.running(ledger.ready())
    spoil(database, run.job, "params", "?")
    assert isinstance(ledger.jobs.beat([Beat(job_id=run.job.job_id, token=run.token)])[0], laws.Done)
    assert stored(database, run.job) == ("failed", "corrupt_record")


def test_the_tick_goes_on(ledger: Ledger, database: LocalDatabase) -> None:
    asset = ledger.ready()
    runs = [ledger.running(asset) for _ in range(3)]
    spoil(database, runs[0].job, "inputs", "?")
    waiting = [ledger.submit(asset, "separate") for _ in range(2)]
    spoil(database, waiting[0], "params", "?")
    database.write(lambda c: c.execute("UPDATE job SET expires_at = 0 WHERE status = 'queued'"))
    ledger.lose_worker()
    assert [ledger.job(run.job).status for run in runs] == [JobStatus.FAILED, JobStatus.QUEUED, JobStatus.QUEUED]
    codes = [ledger.job(job).error for job in waiting]
    assert [error and error.code for error in codes] == ["corrupt_record", "deadline_exceeded"]


def test_an_asset_that_cannot_be_read_hides_no_other(ledger: Ledger, database: LocalDatabase) -> None:
    assets = [ledger.pending() for _ in range(5)]
    database.write(lambda c: c.execute("UPDATE asset SET upload = '{' WHERE id = ?", (assets[2].asset_id,)))
    with pytest.raises(CorruptRecordError):
        ledger.assets.get(DEFAULT_OWNER, assets[2].asset_id)
    shown, cursor = [], None
    while True:
        page = ledger.assets.list(DEFAULT_OWNER, AssetFilter(status=AssetStatus.PENDING), limit=1, cursor=cursor)
        shown += [asset.asset_id for asset in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    good = [asset.asset_id for asset in assets if asset is not assets[2]]
    assert shown == good[::-1]
    ledger.clock.advance(3600)
    swept = ledger.assets.uploads_to_look_at(ledger.now, limit=10)
    assert [asset.asset_id for asset in swept] == good


def test_a_version_that_cannot_be_read_is_told(ledger: Ledger, database: LocalDatabase) -> None:
    asset = ledger.ready()
    job = ledger.publish(asset)
    for column in ("files", "provenance"):
        database.write(lambda c, column=column: c.execute(f"UPDATE version SET {column} = '[' WHERE n = 2"))
        with pytest.raises(CorruptRecordError):
            ledger.assets.version(DEFAULT_OWNER, asset.asset_id, job.created_version or 0)
    assert ledger.assets.version(DEFAULT_OWNER, asset.asset_id, 1).number == 1
