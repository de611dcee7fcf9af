"""The records of one installation and the lock that makes each port method one transaction."""

import threading
from datetime import datetime

from musproj.domain.asset import GC_GRACE, Asset
from musproj.domain.ids import AssetId, JobId, Owner
from musproj.domain.job import Job, JobStatus
from musproj.domain.version import Attachment, Version
from musproj.errors import AssetNotFoundError, IdempotencyMismatchError
from musproj.ports.assets import IDEMPOTENCY_LIFE, Idempotency
from musproj.ports.jobs import LiveWorker


class IdempotencyKeys:
    """What clients' idempotency keys made, for as long as they are known."""

    def __init__(self) -> None:
        self._made: dict[tuple[Owner, str], tuple[str, str, datetime]] = {}
        """Key → the id of what it made, the hash of the request, and when the key is forgotten."""

    def made_by(self, owner: Owner, idempotency: Idempotency, now: datetime) -> str | None:
        """Return the id of what the key made, or None where it is new.

        Raises:
            IdempotencyMismatchError: it was used with another body.
        """
        target, body_hash, until = self._made.get((owner, idempotency.key), (None, "", now))
        if until <= now:
            return None
        if body_hash != idempotency.body_hash:
            raise IdempotencyMismatchError(key=idempotency.key)
        return target

    def remember(self, owner: Owner, idempotency: Idempotency, target: str, now: datetime) -> None:
        """Note that the key made `target`, and drop those that have expired."""
        self._made = {key: made for key, made in self._made.items() if made[2] > now}
        self._made[owner, idempotency.key] = (target, idempotency.body_hash, now + IDEMPOTENCY_LIFE)


class MemoryState:
    """What the three stores of one installation share; hold `lock` while touching anything.

    Records are frozen, so they go in and out as they are. Each write checks everything first and writes then:
    an error leaves nothing half done.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.assets: dict[AssetId, Asset] = {}
        self.versions: dict[AssetId, dict[int, Version]] = {}
        self.movers: dict[AssetId, set[int]] = {}
        """Versions whose publication moves the head: where an unpinned head goes."""
        self.attachments: dict[AssetId, dict[tuple[int, str], Attachment]] = {}
        self.reuse: dict[tuple[Owner, str], list[tuple[AssetId, int]]] = {}
        """In order of publication."""
        self.jobs: dict[JobId, Job] = {}
        self.asset_keys = IdempotencyKeys()
        self.job_keys = IdempotencyKeys()
        self.garbage: dict[tuple[AssetId, int], datetime] = {}
        self.workers: dict[str, LiveWorker] = {}
        self.last_tick: datetime | None = None
        self.changes = 0
        """Grows with each change of an asset or job."""
        self.chances = 0
        """Grows with each change that may give a worker something to do."""

    # ── assets ──

    def owned_asset(self, owner: Owner, asset_id: AssetId) -> Asset:
        """Return the asset, or raise `AssetNotFoundError` where it is unknown or another owner's."""
        asset = self.assets.get(asset_id)
        if asset is None or asset.owner != owner:
            raise AssetNotFoundError(f"There is no asset {asset_id}.", asset_id=asset_id)
        return asset

    def save_asset(self, asset: Asset) -> Asset:
        """Store the record; return it."""
        self.assets[asset.asset_id] = asset
        self.changes += 1
        return asset

    def publish(self, asset: Asset, version: Version, *, moves_head: bool) -> None:
        """Make `version` visible; `asset` is the record that says so already."""
        self.save_asset(asset)
        self.versions.setdefault(asset.asset_id, {})[version.number] = version
        if moves_head:
            self.movers.setdefault(asset.asset_id, set()).add(version.number)
        if version.provenance is not None:
            found = self.reuse.setdefault((asset.owner, version.provenance.reuse_key), [])
            found.append((asset.asset_id, version.number))

    def attach(self, asset_id: AssetId, attachment: Attachment, now: datetime) -> None:
        """Store the latest of a name; the object of the one before is gc's."""
        place = (attachment.version, attachment.file.name)
        before = self.attachments.setdefault(asset_id, {}).get(place)
        if before is not None and before.file.object_key != attachment.file.object_key:
            self.discard(asset_id, attachment.version, now)
        self.attachments[asset_id][place] = attachment

    def drop_asset(self, asset_id: AssetId) -> None:
        """Forget the asset's records; its jobs stay."""
        del self.assets[asset_id]
        for table in (self.versions, self.movers, self.attachments):
            table.pop(asset_id, None)
        for key, found in list(self.reuse.items()):
            self.reuse[key] = [place for place in found if place[0] != asset_id]
        self.changes += 1

    # ── jobs ──

    def save_job(self, job: Job, now: datetime) -> Job:
        """Store the record; a number that its job will not publish any more goes to gc."""
        before = self.jobs.get(job.job_id)
        self.jobs[job.job_id] = job
        self.changes += 1
        if before is not None and before.status is job.status is JobStatus.RUNNING and before.token == job.token:
            return job  # a beat or a reservation: no work for anybody else
        self.chances += 1
        has_failed = job.is_terminal and job.status is not JobStatus.SUCCEEDED
        ends = before is None or not before.is_terminal
        if ends and has_failed and job.reserved_version is not None:
            self.discard(job.asset_id, job.reserved_version, now)
        return job

    def twin(self, job: Job, *, paid: bool) -> Job | None:
        """Return the identical live job of the same owner, where `paid` else the newest identical succeeded one."""
        key = job.dedupe_key
        if key is None:
            return None
        same = [other for other in self.jobs.values() if other.owner == job.owner and other.dedupe_key == key]
        live = [other for other in same if not other.is_terminal]
        done = [other for other in same if paid and other.status is JobStatus.SUCCEEDED]
        return max(live or done, key=lambda other: other.job_id, default=None)

    def discard(self, asset_id: AssetId, version: int, now: datetime) -> None:
        """Put a prefix on gc's list."""
        self.garbage[asset_id, version] = now + GC_GRACE
