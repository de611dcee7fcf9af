"""Assets and versions in a `LocalDatabase`."""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from musproj.adapters.local import idempotency as keys
from musproj.adapters.local import paging, records, rows
from musproj.adapters.local.database import LocalDatabase
from musproj.adapters.local.rows import ASSETS, JOBS
from musproj.adapters.local.table import LARGEST, Row
from musproj.domain import ledger
from musproj.domain.asset import Asset, AssetStatus, UploadError
from musproj.domain.cursors import number_of, place_of
from musproj.domain.ids import AssetId, JobId, Owner
from musproj.domain.job import Job
from musproj.domain.times import from_millis, to_millis
from musproj.domain.version import Attachment, Version
from musproj.errors import (
    AssetNotReadyError,
    ConflictError,
    PreconditionFailedError,
    VersionNotFoundError,
)
from musproj.ports.assets import AssetFilter, AssetStore, GcEntry, Idempotency, Page
from musproj.ports.clock import Clock


class LocalAssetStore(AssetStore):
    """Assets, versions and attachments, each step one transaction of SQLite."""

    def __init__(self, database: LocalDatabase, clock: Clock) -> None:
        """Use `database`, which the caller opened and closes."""
        self._database = database
        self._clock = clock

    def create(self, asset: Asset, idempotency: Idempotency | None = None) -> tuple[Asset, bool]:
        """Insert the record and, where given, its idempotency key."""

        def insert(connection: sqlite3.Connection) -> tuple[Asset, bool]:
            now = self._clock.now()
            made = idempotency and keys.made_by(connection, asset.owner, "asset", idempotency, now)
            known = made and records.find_asset(connection, AssetId(made))
            if known:
                return known, False
            if records.find_asset(connection, asset.asset_id) is not None:
                raise ConflictError(f"There is an asset {asset.asset_id} already.", asset_id=asset.asset_id)
            if idempotency is not None:
                keys.remember(connection, asset.owner, "asset", idempotency, asset.asset_id, now)
            ASSETS.insert(connection, asset)
            return asset, True

        return self._database.write(insert, wakes=False)

    def get(self, owner: Owner, asset_id: AssetId) -> Asset:
        """Look the record up."""
        return self._database.read(partial(records.owned_asset, owner=owner, asset_id=asset_id))

    def find(self, asset_id: AssetId) -> Asset | None:
        """Look the record up, whoever owns it."""
        return self._database.read(partial(records.find_asset, asset_id=asset_id))

    def list(self, owner: Owner, filters: AssetFilter, *, limit: int, cursor: str | None = None) -> Page[Asset]:
        """Follow an index by id, which sorts by time."""
        sql, values = _listing(owner, filters, None if cursor is None else place_of(cursor))
        values.append(min(limit + 1, LARGEST))

        found = self._database.read(
            lambda connection: connection.execute(f"{sql} ORDER BY id DESC LIMIT ?", values).fetchall()
        )
        return paging.page(found, limit, ASSETS.load_all)

    def versions(
        self, owner: Owner, asset_id: AssetId, *, limit: int, cursor: str | None = None, oldest_first: bool = False
    ) -> Page[Version]:
        """Follow the key by number."""
        beyond, order = (">", "ASC") if oldest_first else ("<", "DESC")
        place = number_of(cursor) if cursor is not None else (0 if oldest_first else LARGEST)
        sql = f"{rows.VERSION} WHERE asset_id = ? AND n {beyond} ? ORDER BY n {order} LIMIT ?"

        def read(connection: sqlite3.Connection) -> list[Row]:
            records.owned_asset(connection, owner, asset_id)
            return connection.execute(sql, (asset_id, place, min(limit + 1, LARGEST))).fetchall()

        found = self._database.read(read, snapshot=True)
        return paging.page(found, limit, lambda shown: [rows.read_version(row) for row in shown])

    def version(self, owner: Owner, asset_id: AssetId, number: int) -> Version:
        """Look the version up."""

        def read(connection: sqlite3.Connection) -> Version:
            records.owned_asset(connection, owner, asset_id)
            sql = f"{rows.VERSION_WITH_PROVENANCE} WHERE asset_id = ? AND n = ?"
            row = connection.execute(sql, (asset_id, min(number, LARGEST))).fetchone()
            if row is None:
                raise VersionNotFoundError(
                    f"Asset {asset_id} has no version {number}.", asset_id=asset_id, version=number
                )
            return rows.read_version(row)

        return self._database.read(read, snapshot=True)

    def attachments(self, owner: Owner, asset_id: AssetId, version: int) -> Sequence[Attachment]:
        """Read the attachments of one version."""

        def read(connection: sqlite3.Connection) -> Sequence[Attachment]:
            records.owned_asset(connection, owner, asset_id)
            records.require_version(connection, asset_id, version)
            sql = "SELECT record FROM attachment WHERE asset_id = ? AND n = ? ORDER BY name"
            return [rows.read_attachment(row) for row in connection.execute(sql, (asset_id, version)).fetchall()]

        return self._database.read(read, snapshot=True)

    def find_reuse(self, owner: Owner, reuse_key: str) -> tuple[AssetId, int] | None:
        """Follow the index; a version's rowid tells the order of publication."""
        row = self._database.read(
            lambda connection: connection.execute(
                """
                SELECT asset_id, n FROM version JOIN asset ON asset.id = version.asset_id
                WHERE version.owner = ? AND reuse = ? AND asset.status = 'ready'
                ORDER BY version.rowid DESC LIMIT 1
                """,
                (owner, reuse_key),
            ).fetchone()
        )
        return None if row is None else (AssetId(row[0]), row[1])

    def rename(self, owner: Owner, asset_id: AssetId, name: str | None, *, revision: int | None = None) -> Asset:
        """Change the name."""
        return self._change(owner, asset_id, lambda _, asset: asset.rename(name), revision)

    def set_head(self, owner: Owner, asset_id: AssetId, number: int | None, *, revision: int | None = None) -> Asset:
        """Pin the head, or let it go where the newest of the versions that move it is."""

        def move(connection: sqlite3.Connection, asset: Asset) -> Asset:
            asset.require_ready()
            if number is not None:
                records.require_version(connection, asset_id, number)
                return asset.promote(number)
            sql = "SELECT n FROM version WHERE asset_id = ? AND moves_head = 1 ORDER BY n DESC LIMIT 1"
            return asset.unpin(connection.execute(sql, (asset_id,)).fetchone()[0])

        return self._change(owner, asset_id, move, revision)

    def delete(self, owner: Owner, asset_id: AssetId, *, now: datetime, revision: int | None = None) -> Asset:
        """Mark the asset and stop its jobs."""

        def mark(connection: sqlite3.Connection, asset: Asset) -> Asset:
            if asset.status is not AssetStatus.DELETED:
                _stop_jobs(connection, asset_id, now)
            return asset.delete(now)

        return self._change(owner, asset_id, mark, revision)

    def undelete(self, owner: Owner, asset_id: AssetId) -> Asset:
        """Unmark the asset."""
        return self._change(owner, asset_id, lambda _, asset: asset.undelete())

    # ── confirming an upload ──

    def renew_upload(
        self, owner: Owner, asset_id: AssetId, expires_at: datetime, *, upload_id: str | None = None
    ) -> Asset:
        """Keep the later of the two times, and the first id."""
        return self._change(owner, asset_id, lambda _, asset: asset.renew_upload(expires_at, upload_id))

    def claim_confirm(self, owner: Owner, asset_id: AssetId, *, token: str, now: datetime, until: datetime) -> Asset:
        """Write the claim where no other one is alive."""

        def claim(_: sqlite3.Connection, asset: Asset) -> Asset:
            held_by, held_until = asset.upload.confirm_token, asset.upload.confirm_until
            is_taken = held_by not in (None, token) and held_until is not None and held_until > now
            if asset.status is not AssetStatus.PENDING or is_taken:
                return asset
            return asset.with_upload(confirm_token=token, confirm_until=until)

        return self._change(owner, asset_id, claim)

    def confirm(self, owner: Owner, asset_id: AssetId, version: Version, jobs: Sequence[Job]) -> tuple[Asset, bool]:
        """Publish version 1 and insert the jobs."""

        def publish(connection: sqlite3.Connection) -> tuple[Asset, bool]:
            asset = records.owned_asset(connection, owner, asset_id)
            if asset.status is AssetStatus.READY:
                return asset, False
            if asset.status is AssetStatus.DELETED:
                raise AssetNotReadyError(f"Asset {asset_id} is deleted.", asset_id=asset_id)
            rows.insert_version(connection, asset, version, job_id=None, moves_head=True)
            for job in jobs:
                if not (records.find_job(connection, job.job_id) or records.find_twin(connection, job, paid=False)):
                    JOBS.insert(connection, job)
            return records.save_asset(connection, asset, asset.confirm()), True

        return self._database.write(publish)

    def fail_confirm(self, owner: Owner, asset_id: AssetId, token: str, error: UploadError) -> Asset:
        """Write the error and give the claim back."""

        def fail(_: sqlite3.Connection, asset: Asset) -> Asset:
            if asset.status is not AssetStatus.PENDING or asset.upload.confirm_token != token:
                return asset
            return asset.with_upload(error=error, confirm_token=None, confirm_until=None)

        return self._change(owner, asset_id, fail)

    def uploads_to_look_at(self, now: datetime, *, limit: int) -> Sequence[Asset]:
        """Hand out what is due, the longest due first; look with a read before."""
        due = f"{ASSETS.select} WHERE status = 'pending' AND next_look <= ? ORDER BY next_look, id LIMIT ?"

        def read(connection: sqlite3.Connection) -> list[Asset]:
            return ASSETS.load_all(connection.execute(due, (to_millis(now), min(limit, LARGEST))).fetchall())

        def push(connection: sqlite3.Connection) -> list[Asset]:
            return [
                records.save_asset(connection, asset, asset.with_upload(next_look=now + (now - asset.created_at)))
                for asset in read(connection)
            ]

        return self._database.write(push, wakes=False) if self._database.read(read) else []

    def forget_upload(self, asset_id: AssetId) -> None:
        """Drop the pending record."""
        self._drop(asset_id, AssetStatus.PENDING)

    # ── garbage ──

    def gc_due(self, now: datetime, *, limit: int, after: GcEntry | None = None) -> Sequence[GcEntry]:
        """Follow the index by time."""
        sql = """
            SELECT asset_id, n, due_at FROM gc_due WHERE due_at <= ? AND (due_at, asset_id, n) > (?, ?, ?)
            ORDER BY due_at, asset_id, n LIMIT ?
        """
        behind = (to_millis(after.due_at), after.asset_id, after.version) if after else (-LARGEST, "", 0)
        values = (to_millis(now), *behind, min(limit, LARGEST))
        found = self._database.read(lambda connection: connection.execute(sql, values).fetchall())
        return [GcEntry(asset_id=AssetId(row[0]), version=row[1], due_at=from_millis(row[2])) for row in found]

    def gc_done(self, entry: GcEntry) -> None:
        """Drop the entry unless the prefix was put on the list anew."""
        values = (entry.asset_id, entry.version, to_millis(entry.due_at))
        self._database.write(
            lambda connection: connection.execute(
                "DELETE FROM gc_due WHERE asset_id = ? AND n = ? AND due_at = ?", values
            ),
            wakes=False,
        )

    def tombstones(self, now: datetime, *, limit: int, after: Asset | None = None) -> Sequence[Asset]:
        """Follow the index by the time of the purge."""
        sql = f"""
            {ASSETS.select} WHERE status = 'deleted' AND purge_at <= ? AND (purge_at, id) > (?, ?)
            ORDER BY purge_at, id LIMIT ?
        """
        behind = (to_millis(after.purge_at), after.asset_id) if after and after.purge_at else (-LARGEST, "")
        values = (to_millis(now), *behind, min(limit, LARGEST))
        found = self._database.read(lambda connection: connection.execute(sql, values).fetchall())
        return ASSETS.load_all(found)

    def purge(self, asset_id: AssetId) -> None:
        """Drop the deleted record."""
        self._drop(asset_id, AssetStatus.DELETED)

    def listed_keys(self, asset_id: AssetId, version: int) -> frozenset[str]:
        """Collect the keys of files and attachments."""

        def read(connection: sqlite3.Connection) -> frozenset[str]:
            place = (asset_id, version)
            keys = connection.execute(
                "SELECT object_key FROM attachment WHERE asset_id = ? AND n = ?", place
            ).fetchall()
            row = connection.execute(f"{rows.VERSION} WHERE asset_id = ? AND n = ?", place).fetchone()
            files = rows.read_version(row).files if row else ()
            return frozenset([*(file.object_key for file in files), *(key for (key,) in keys)])

        return self._database.read(read, snapshot=True)

    # ── below the methods of the port ──

    def _change(
        self,
        owner: Owner,
        asset_id: AssetId,
        change: Callable[[sqlite3.Connection, Asset], Asset],
        revision: int | None = None,
    ) -> Asset:
        def work(connection: sqlite3.Connection) -> Asset:
            asset = records.owned_asset(connection, owner, asset_id)
            if revision is not None and revision != asset.revision:
                raise PreconditionFailedError(
                    f"Asset {asset_id} changed since it was read.", asset_id=asset_id, revision=asset.revision
                )
            return records.save_asset(connection, asset, change(connection, asset))

        return self._database.write(work)

    def _drop(self, asset_id: AssetId, status: AssetStatus) -> None:
        def drop(connection: sqlite3.Connection) -> None:
            sql = "DELETE FROM asset WHERE id = ? AND status = ?"
            if connection.execute(sql, (asset_id, status.value)).rowcount:
                connection.execute("DELETE FROM version WHERE asset_id = ?", (asset_id,))
                connection.execute("DELETE FROM attachment WHERE asset_id = ?", (asset_id,))

        self._database.write(drop, wakes=False)


def _stop_jobs(connection: sqlite3.Connection, asset_id: AssetId, now: datetime) -> None:
    sql = "SELECT id FROM job WHERE asset_id = ? AND status IN ('queued', 'running')"
    for (job_id,) in connection.execute(sql, (asset_id,)).fetchall():
        job = records.load_job(connection, JobId(job_id))
        if job is not None:
            records.save_job(connection, job, ledger.cancel(job, now=now)[0], now)


def _listing(owner: Owner, filters: AssetFilter, below: str | None) -> tuple[str, list[object]]:
    status = "status <> ?" if filters.status is None else "status = ?"
    conditions: list[tuple[str, object | None]] = [
        ("owner = ?", owner),
        (status, (filters.status or AssetStatus.DELETED).value),
        ("created_at >= ?", filters.created_after and to_millis(filters.created_after)),
        ("created_at < ?", filters.created_before and to_millis(filters.created_before)),
        ("id < ?", below),
    ]
    used = [(text, value) for text, value in conditions if value is not None]
    return f"{ASSETS.select} WHERE {' AND '.join(text for text, _ in used)}", [value for _, value in used]
