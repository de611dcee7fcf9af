"""The steps that the methods of the stores are made of; each belongs to the transaction of its caller."""

import logging
import sqlite3
from datetime import datetime

from musproj.adapters.local import rows
from musproj.adapters.local.rows import ASSETS, JOBS
from musproj.adapters.local.table import LARGEST, as_json
from musproj.domain.asset import GC_GRACE, Asset
from musproj.domain.ids import AssetId, JobId, Owner
from musproj.domain.job import Job, JobStatus
from musproj.domain.times import to_millis
from musproj.domain.version import Attachment, Version
from musproj.errors import AssetNotFoundError, CorruptRecordError, VersionNotFoundError

log = logging.getLogger(__name__)

# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────


def find_job(connection: sqlite3.Connection, job_id: JobId) -> Job | None:
    """Return the job, or None; one that cannot be read is shown as failed."""
    row = connection.execute(f"{JOBS.select} WHERE id = ?", (job_id,)).fetchone()
    return None if row is None else rows.read_job(connection, row)


def load_job(connection: sqlite3.Connection, job_id: JobId) -> Job | None:
    """Return the job for a change, or None; one that cannot be read becomes failed, so that it blocks nobody."""
    row = connection.execute(f"{JOBS.select} WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        return None
    try:
        return JOBS.load(row)
    except CorruptRecordError as exc:
        log.error("A job cannot be read and has failed: %s", exc, extra={"action": "job_unreadable", "job": job_id})  # noqa: TRY400 - no bug
        failed = rows.read_job(connection, row)
        JOBS.overwrite(connection, failed)
        note_remote_due(connection, failed)
        return failed


def save_job(connection: sqlite3.Connection, before: Job, after: Job, now: datetime) -> Job:
    """Write a changed job; the number that an unsuccessful one held goes to gc."""
    JOBS.update(connection, before, after)
    if after.remote_due != before.remote_due:
        note_remote_due(connection, after)
    has_failed = after.is_terminal and after.status is not JobStatus.SUCCEEDED
    if has_failed and not before.is_terminal and after.reserved_version is not None:
        discard(connection, after.asset_id, after.reserved_version, now)
    return after


def note_remote_due(connection: sqlite3.Connection, job: Job) -> None:
    """Write when somebody has to look at the job's service, or that nobody has to."""
    if job.remote is None or job.remote_due is None:
        connection.execute("DELETE FROM remote WHERE job_id = ?", (job.job_id,))
        return
    connection.execute(
        "INSERT OR REPLACE INTO remote(job_id, service, due) VALUES(?, ?, ?)",
        (job.job_id, job.remote.service, to_millis(job.remote_due)),
    )


def find_twin(connection: sqlite3.Connection, job: Job, *, paid: bool) -> Job | None:
    """Return the identical live job of the same owner, or, where `paid`, the newest identical succeeded one."""
    key = job.dedupe_key
    if key is None:
        return None
    row = connection.execute(
        f"{JOBS.select} WHERE owner = ? AND dedupe = ? AND status IN ('queued', 'running')", (job.owner, key)
    ).fetchone()
    if row is None and paid:
        row = connection.execute(
            f"""
            {JOBS.select} WHERE asset_id = ? AND +owner = ? AND dedupe = ? AND +status = 'succeeded'
            ORDER BY id DESC LIMIT 1
            """,  # the plus keeps SQLite from following the owner's index, where the asset's is far shorter
            (job.asset_id, job.owner, key),
        ).fetchone()
    return None if row is None else rows.read_job(connection, row)


# ── assets ───────────────────────────────────────────────────────────────────────────────────────


def find_asset(connection: sqlite3.Connection, asset_id: AssetId) -> Asset | None:
    """Return the asset, whoever owns it, or None."""
    row = connection.execute(f"{ASSETS.select} WHERE id = ?", (asset_id,)).fetchone()
    return None if row is None else ASSETS.load(row)


def owned_asset(connection: sqlite3.Connection, owner: Owner, asset_id: AssetId) -> Asset:
    """Return the asset.

    Raises:
        AssetNotFoundError: unknown, or another owner's.
    """
    asset = find_asset(connection, asset_id)
    if asset is None or asset.owner != owner:
        raise AssetNotFoundError(f"There is no asset {asset_id}.", asset_id=asset_id)
    return asset


def asset_lives(connection: sqlite3.Connection, asset_id: AssetId) -> bool:
    """Tell whether the asset is there and not deleted."""
    sql = "SELECT 1 FROM asset WHERE id = ? AND status <> 'deleted'"
    return connection.execute(sql, (asset_id,)).fetchone() is not None


def save_asset(connection: sqlite3.Connection, before: Asset, after: Asset) -> Asset:
    """Write a changed asset; return it."""
    ASSETS.update(connection, before, after)
    return after


def has_version(connection: sqlite3.Connection, asset_id: AssetId, number: int) -> bool:
    """Tell whether this number was published."""
    found = connection.execute(
        "SELECT 1 FROM version WHERE asset_id = ? AND n = ?", (asset_id, min(number, LARGEST))
    ).fetchone()
    return found is not None


def require_version(connection: sqlite3.Connection, asset_id: AssetId, number: int) -> None:
    """Do nothing where this number was published.

    Raises:
        VersionNotFoundError: it was not.
    """
    if not has_version(connection, asset_id, number):
        raise VersionNotFoundError(f"Asset {asset_id} has no version {number}.", asset_id=asset_id, version=number)


def publish(connection: sqlite3.Connection, job: Job, version: Version, *, moves_head: bool) -> None:
    """Make the version of `job` visible."""
    asset = owned_asset(connection, job.owner, job.asset_id)
    rows.insert_version(connection, asset, version, job_id=job.job_id, moves_head=moves_head)
    save_asset(connection, asset, asset.publish(version.number, moves_head=moves_head))


def attach(connection: sqlite3.Connection, asset_id: AssetId, attachment: Attachment, now: datetime) -> None:
    """Store the latest of a name; the object of the one before goes to gc."""
    place = (asset_id, attachment.version, attachment.file.name)
    key = attachment.file.object_key
    before = connection.execute(
        "SELECT object_key FROM attachment WHERE asset_id = ? AND n = ? AND name = ?", place
    ).fetchone()
    if before is not None and before[0] != key:
        discard(connection, asset_id, attachment.version, now)
    connection.execute(
        "INSERT OR REPLACE INTO attachment(asset_id, n, name, object_key, record) VALUES(?, ?, ?, ?, ?)",
        (*place, key, as_json(attachment)),
    )


def discard(connection: sqlite3.Connection, asset_id: AssetId, version: int, now: datetime) -> None:
    """Put a prefix on gc's list, due after the grace, anew where it is there already."""
    connection.execute(
        "INSERT OR REPLACE INTO gc_due(asset_id, n, due_at) VALUES(?, ?, ?)",
        (asset_id, version, to_millis(now + GC_GRACE)),
    )
