"""Garbage: compare object keys with records, delete what provably belongs to nobody."""

from collections.abc import Iterator
from datetime import timedelta

import attrs

from musproj.domain.asset import URL_GRACE, Asset, AssetStatus
from musproj.domain.ids import JobId
from musproj.domain.keys import KEY_PREFIX, asset_prefix, object_key, parse_file_key, version_prefix
from musproj.errors import CorruptRecordError
from musproj.ports.assets import AssetStore, GcEntry
from musproj.ports.clock import Clock
from musproj.ports.jobs import JobStore
from musproj.ports.storage import MultipartUploads, OpenUpload, Storage, StoredObject

GRACE = timedelta(days=1)
"""No object, and no upload in parts, younger than this is touched."""
PAGE = 100


@attrs.frozen(kw_only=True)
class Removal:
    """One object that gc removed, or would, or leaves alone, and why."""

    key: str
    size_bytes: int
    reason: str
    removed: bool
    is_garbage: bool = False
    """Whether it goes: removed now, or by the same collection without `dry_run`."""


@attrs.frozen(kw_only=True)
class GcReport:
    """What a collection found."""

    removals: tuple[Removal, ...]

    @property
    def freed_bytes(self) -> int:
        """Bytes of the removed objects."""
        return sum(removal.size_bytes for removal in self.removals if removal.removed)


@attrs.frozen(kw_only=True)
class Collector:
    """The only one who deletes objects."""

    assets: AssetStore
    jobs: JobStore
    storage: Storage
    clock: Clock
    grace: timedelta = GRACE
    multipart: MultipartUploads | None = None

    def collect(self, *, dry_run: bool = False, orphans: bool = False) -> GcReport:
        """Work off what is due.

        An object whose job record is missing may be the only copy of something that was published before a
        failover lost its record: it is reported, and removed only with `orphans`.
        """
        removals = [*self._tombstones(dry_run=dry_run)]
        removals += self._prefixes(dry_run=dry_run, orphans=orphans)
        removals += self._open_uploads(dry_run=dry_run)
        return GcReport(removals=tuple(removals))

    def _tombstones(self, *, dry_run: bool) -> Iterator[Removal]:
        now, last = self.clock.now(), None
        while page := self.assets.tombstones(now, limit=PAGE, after=last):
            for asset in page:
                yield from self._purge(asset, dry_run=dry_run)
            last = page[-1]

    def _purge(self, asset: Asset, *, dry_run: bool) -> Iterator[Removal]:
        for stored in self.storage.list(asset_prefix(asset.asset_id)):
            yield self._remove(stored, "its asset was deleted", dry_run=dry_run)
        if not dry_run:
            self.assets.purge(asset.asset_id)

    def _prefixes(self, *, dry_run: bool, orphans: bool) -> Iterator[Removal]:
        now, last = self.clock.now(), None
        while page := self.assets.gc_due(now, limit=PAGE, after=last):
            for entry in page:
                yield from self._look_at(entry, dry_run=dry_run, orphans=orphans)
            last = page[-1]

    def _look_at(self, entry: GcEntry, *, dry_run: bool, orphans: bool) -> Iterator[Removal]:
        is_done = True
        for stored in self._unlisted(entry):
            removal = self._judge(stored, dry_run=dry_run, orphans=orphans)
            is_done = is_done and removal.removed
            yield removal
        if is_done and not dry_run:
            self.assets.gc_done(entry)

    def _unlisted(self, entry: GcEntry) -> Iterator[StoredObject]:
        listed = self.assets.listed_keys(entry.asset_id, entry.version)
        for stored in self.storage.list(version_prefix(entry.asset_id, entry.version)):
            if stored.key not in listed:
                yield self.storage.stat(stored.key)

    def _judge(self, stored: StoredObject, *, dry_run: bool, orphans: bool) -> Removal:
        maker = stored.metadata.get("musproj-job")
        job = self.jobs.find(JobId(maker)) if maker else None
        if stored.modified_at is not None and stored.modified_at > self.clock.now() - self.grace:
            return _kept(stored, "younger than a day")
        if job is None and not orphans:
            return _kept(stored, "its job is unknown; --orphans removes it")
        if job is not None and not job.is_terminal:
            return _kept(stored, f"job {job.job_id} still runs")
        parts = parse_file_key(stored.key)
        if parts is None:
            return _kept(stored, "no key of ours")
        return self._remove(stored, "no record names it", dry_run=dry_run)

    def _open_uploads(self, *, dry_run: bool) -> Iterator[Removal]:
        if self.multipart is None:
            return
        for opened in self.multipart.abandoned(KEY_PREFIX, self.clock.now() - self.grace):
            if self._is_awaited(opened):
                continue
            if not dry_run:
                self.multipart.abort(object_key(opened.key), opened.upload_id)
            reason = "parts of an upload that was never completed"
            yield Removal(key=opened.key, size_bytes=0, reason=reason, removed=not dry_run, is_garbage=True)

    def _is_awaited(self, opened: OpenUpload) -> bool:
        """Tell whether a client may still send parts: their URLs live for up to a week."""
        parts = parse_file_key(opened.key)
        if parts is None:
            return True  # no upload of ours
        try:
            asset = self.assets.find(parts.asset_id)
        except CorruptRecordError:
            return True
        if asset is None or asset.status is not AssetStatus.PENDING:
            return False
        # Whichever of its uploads this is: stores do not promise that a list names one as its start did.
        return self.clock.now() <= asset.upload.expires_at + URL_GRACE

    def _remove(self, stored: StoredObject, reason: str, *, dry_run: bool) -> Removal:
        if not dry_run:
            self.storage.delete(stored.key)
        return Removal(
            key=stored.key, size_bytes=stored.size_bytes, reason=reason, removed=not dry_run, is_garbage=True
        )


def _kept(stored: StoredObject, reason: str) -> Removal:
    return Removal(key=stored.key, size_bytes=stored.size_bytes, reason=reason, removed=False)
