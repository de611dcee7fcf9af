"""Assets and versions in memory."""

from collections.abc import Sequence
from datetime import datetime

import attrs

from musproj.adapters.memory import paging
from musproj.adapters.memory.state import MemoryState
from musproj.domain import ledger
from musproj.domain.asset import Asset, AssetStatus, UploadError
from musproj.domain.cursors import number_of, place_of
from musproj.domain.ids import AssetId, Owner
from musproj.domain.job import Job
from musproj.domain.version import Attachment, Version
from musproj.errors import (
    AssetNotReadyError,
    ConflictError,
    PreconditionFailedError,
    VersionNotFoundError,
)
from musproj.ports.assets import AssetFilter, AssetStore, GcEntry, Idempotency, Page
from musproj.ports.clock import Clock


class MemoryAssetStore(AssetStore):
    """The assets of a `MemoryState`."""

    def __init__(self, state: MemoryState, clock: Clock) -> None:
        self._state = state
        self._clock = clock

    def create(self, asset: Asset, idempotency: Idempotency | None = None) -> tuple[Asset, bool]:
        """Insert the record and, where given, its idempotency key."""
        with self._state.lock:
            known = self._replayed(asset.owner, idempotency)
            if known is not None:
                return known, False
            if asset.asset_id in self._state.assets:
                raise ConflictError(f"There is an asset {asset.asset_id} already.", asset_id=asset.asset_id)
            if idempotency is not None:
                self._state.asset_keys.remember(asset.owner, idempotency, asset.asset_id, self._clock.now())
            return self._state.save_asset(asset), True

    def get(self, owner: Owner, asset_id: AssetId) -> Asset:
        """Look the record up."""
        with self._state.lock:
            return self._state.owned_asset(owner, asset_id)

    def find(self, asset_id: AssetId) -> Asset | None:
        """Look the record up, whoever owns it."""
        with self._state.lock:
            return self._state.assets.get(asset_id)

    def list(self, owner: Owner, filters: AssetFilter, *, limit: int, cursor: str | None = None) -> Page[Asset]:
        """Sort by id, which sorts by time."""
        after = None if cursor is None else place_of(cursor)
        with self._state.lock:
            rows = [
                asset
                for asset in self._state.assets.values()
                if asset.owner == owner and _matches(asset, filters) and (after is None or asset.asset_id < after)
            ]
        rows.sort(key=lambda asset: asset.asset_id, reverse=True)
        return paging.page(rows, limit, lambda asset: asset.asset_id)

    def versions(
        self, owner: Owner, asset_id: AssetId, *, limit: int, cursor: str | None = None, oldest_first: bool = False
    ) -> Page[Version]:
        """Sort by number."""
        after = None if cursor is None else number_of(cursor)
        with self._state.lock:
            self._state.owned_asset(owner, asset_id)
            rows = list(self._state.versions.get(asset_id, {}).values())
        if after is not None:
            rows = [version for version in rows if (version.number > after) is oldest_first and version.number != after]
        rows.sort(key=lambda version: version.number, reverse=not oldest_first)
        rows = [attrs.evolve(version, provenance=None) for version in rows[: limit + 1]]
        return paging.page(rows, limit, lambda version: str(version.number))

    def version(self, owner: Owner, asset_id: AssetId, number: int) -> Version:
        """Look the version up."""
        with self._state.lock:
            self._state.owned_asset(owner, asset_id)
            return self._published(asset_id, number)

    def attachments(self, owner: Owner, asset_id: AssetId, version: int) -> Sequence[Attachment]:
        """Collect the attachments of one version."""
        with self._state.lock:
            self._state.owned_asset(owner, asset_id)
            self._published(asset_id, version)
            found = self._state.attachments.get(asset_id, {})
            return [found[place] for place in sorted(found) if place[0] == version]

    def find_reuse(self, owner: Owner, reuse_key: str) -> tuple[AssetId, int] | None:
        """Return the one published last whose asset still lives."""
        with self._state.lock:
            for asset_id, number in reversed(self._state.reuse.get((owner, reuse_key), [])):
                if self._state.assets[asset_id].status is AssetStatus.READY:
                    return asset_id, number
        return None

    def rename(self, owner: Owner, asset_id: AssetId, name: str | None, *, revision: int | None = None) -> Asset:
        """Change the name."""
        with self._state.lock:
            asset = self._at_revision(owner, asset_id, revision)
            return self._state.save_asset(asset.rename(name))

    def set_head(self, owner: Owner, asset_id: AssetId, number: int | None, *, revision: int | None = None) -> Asset:
        """Pin the head, or let it go where the newest of the versions that move it is."""
        with self._state.lock:
            asset = self._at_revision(owner, asset_id, revision).require_ready()
            if number is None:
                return self._state.save_asset(asset.unpin(max(self._state.movers[asset_id])))
            self._published(asset_id, number)
            return self._state.save_asset(asset.promote(number))

    def delete(self, owner: Owner, asset_id: AssetId, *, now: datetime, revision: int | None = None) -> Asset:
        """Mark the asset and stop its jobs."""
        with self._state.lock:
            asset = self._at_revision(owner, asset_id, revision)
            if asset.status is AssetStatus.DELETED:
                return asset
            for job in list(self._state.jobs.values()):
                if job.asset_id == asset_id and not job.is_terminal:
                    self._state.save_job(ledger.cancel(job, now=now)[0], now)
            return self._state.save_asset(asset.delete(now))

    def undelete(self, owner: Owner, asset_id: AssetId) -> Asset:
        """Unmark the asset."""
        with self._state.lock:
            return self._state.save_asset(self._state.owned_asset(owner, asset_id).undelete())

    # ── confirming an upload ──

    def renew_upload(
        self, owner: Owner, asset_id: AssetId, expires_at: datetime, *, upload_id: str | None = None
    ) -> Asset:
        """Keep the later of the two times, and the first id."""
        with self._state.lock:
            asset = self._state.owned_asset(owner, asset_id)
            return self._state.save_asset(asset.renew_upload(expires_at, upload_id))

    def claim_confirm(self, owner: Owner, asset_id: AssetId, *, token: str, now: datetime, until: datetime) -> Asset:
        """Write the claim where no other one is alive."""
        with self._state.lock:
            asset = self._state.owned_asset(owner, asset_id)
            upload = asset.upload
            is_taken = (
                upload.confirm_token not in (None, token)
                and upload.confirm_until is not None
                and upload.confirm_until > now
            )
            if asset.status is not AssetStatus.PENDING or is_taken:
                return asset
            return self._state.save_asset(asset.with_upload(confirm_token=token, confirm_until=until))

    def confirm(self, owner: Owner, asset_id: AssetId, version: Version, jobs: Sequence[Job]) -> tuple[Asset, bool]:
        """Publish version 1 and insert the jobs."""
        with self._state.lock:
            asset = self._state.owned_asset(owner, asset_id)
            if asset.status is AssetStatus.READY:
                return asset, False
            if asset.status is AssetStatus.DELETED:
                raise AssetNotReadyError(f"Asset {asset_id} is deleted.", asset_id=asset_id)
            ready = asset.confirm()
            self._state.publish(ready, version, moves_head=True)
            for job in jobs:
                if job.job_id not in self._state.jobs and self._state.twin(job, paid=False) is None:
                    self._state.save_job(job, self._clock.now())
            return ready, True

    def fail_confirm(self, owner: Owner, asset_id: AssetId, token: str, error: UploadError) -> Asset:
        """Write the error and give the claim back."""
        with self._state.lock:
            asset = self._state.owned_asset(owner, asset_id)
            if asset.status is not AssetStatus.PENDING or asset.upload.confirm_token != token:
                return asset
            return self._state.save_asset(asset.with_upload(error=error, confirm_token=None, confirm_until=None))

    def uploads_to_look_at(self, now: datetime, *, limit: int) -> Sequence[Asset]:
        """Hand out what is due, the longest due first."""
        with self._state.lock:
            due = [
                (asset.upload.next_look, asset)
                for asset in self._state.assets.values()
                if asset.status is AssetStatus.PENDING
                and asset.upload.next_look is not None
                and asset.upload.next_look <= now
            ]
            due.sort(key=lambda row: (row[0], row[1].asset_id))
            return [
                self._state.save_asset(asset.with_upload(next_look=now + (now - asset.created_at)))
                for _, asset in due[:limit]
            ]

    def forget_upload(self, asset_id: AssetId) -> None:
        """Drop the pending record."""
        self._drop(asset_id, AssetStatus.PENDING)

    # ── garbage ──

    def gc_due(self, now: datetime, *, limit: int, after: GcEntry | None = None) -> Sequence[GcEntry]:
        """Sort by time."""
        with self._state.lock:
            rows = [
                GcEntry(asset_id=asset_id, version=version, due_at=due_at)
                for (asset_id, version), due_at in self._state.garbage.items()
                if due_at <= now
            ]
        rows = [entry for entry in rows if after is None or _place_of(entry) > _place_of(after)]
        return sorted(rows, key=_place_of)[:limit]

    def gc_done(self, entry: GcEntry) -> None:
        """Drop the entry unless the prefix was put on the list anew."""
        with self._state.lock:
            place = (entry.asset_id, entry.version)
            if self._state.garbage.get(place) == entry.due_at:
                del self._state.garbage[place]

    def tombstones(self, now: datetime, *, limit: int, after: Asset | None = None) -> Sequence[Asset]:
        """Sort by the time of the purge."""
        behind = (after.purge_at, after.asset_id) if after and after.purge_at else None
        with self._state.lock:
            rows = [
                ((asset.purge_at, asset.asset_id), asset)
                for asset in self._state.assets.values()
                if asset.purge_at and asset.purge_at <= now
            ]
        rows.sort(key=lambda row: row[0])
        return [asset for place, asset in rows if behind is None or place > behind][:limit]

    def purge(self, asset_id: AssetId) -> None:
        """Drop the deleted record."""
        self._drop(asset_id, AssetStatus.DELETED)

    def listed_keys(self, asset_id: AssetId, version: int) -> frozenset[str]:
        """Collect the keys of files and attachments."""
        with self._state.lock:
            published = self._state.versions.get(asset_id, {}).get(version)
            files = [file.object_key for file in published.files] if published else []
            attached = self._state.attachments.get(asset_id, {}).items()
            return frozenset([*files, *(found.file.object_key for place, found in attached if place[0] == version)])

    # ── below the methods of the port ──

    def _replayed(self, owner: Owner, idempotency: Idempotency | None) -> Asset | None:
        made = idempotency and self._state.asset_keys.made_by(owner, idempotency, self._clock.now())
        return self._state.assets.get(AssetId(made)) if made else None

    def _published(self, asset_id: AssetId, number: int) -> Version:
        version = self._state.versions.get(asset_id, {}).get(number)
        if version is None:
            raise VersionNotFoundError(f"Asset {asset_id} has no version {number}.", asset_id=asset_id, version=number)
        return version

    def _at_revision(self, owner: Owner, asset_id: AssetId, revision: int | None) -> Asset:
        asset = self._state.owned_asset(owner, asset_id)
        if revision is not None and revision != asset.revision:
            raise PreconditionFailedError(
                f"Asset {asset_id} changed since it was read.", asset_id=asset_id, revision=asset.revision
            )
        return asset

    def _drop(self, asset_id: AssetId, status: AssetStatus) -> None:
        with self._state.lock:
            asset = self._state.assets.get(asset_id)
            if asset is not None and asset.status is status:
                self._state.drop_asset(asset_id)


def _place_of(entry: GcEntry) -> tuple[datetime, AssetId, int]:
    return entry.due_at, entry.asset_id, entry.version


def _matches(asset: Asset, filters: AssetFilter) -> bool:
    if filters.status is None and asset.status is AssetStatus.DELETED:
        return False
    return (
        (filters.status is None or asset.status is filters.status)
        and (filters.created_after is None or asset.created_at >= filters.created_after)
        and (filters.created_before is None or asset.created_at < filters.created_before)
    )
