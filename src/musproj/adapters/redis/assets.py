"""Assets and versions in Redis."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from musproj.adapters.redis import asset_changes, asset_reads, garbage, sweep
from musproj.adapters.redis.asset_reads import read_asset, read_beside, read_owned
from musproj.adapters.redis.backend import CHANGED, RedisBackend, Settled, Step
from musproj.adapters.redis.client_keys import ClientKey
from musproj.adapters.redis.confirmation import confirm
from musproj.adapters.redis.deletion import delete
from musproj.adapters.redis.job_records import to_raw
from musproj.adapters.redis.plan import Plan
from musproj.adapters.redis.version_reads import attachments_of, has_version, versions_page
from musproj.adapters.redis.version_records import from_fields, object_keys
from musproj.domain.asset import Asset, AssetStatus, UploadError
from musproj.domain.ids import AssetId, Owner
from musproj.domain.job import Job
from musproj.domain.times import to_millis
from musproj.domain.version import Attachment, Version
from musproj.errors import ConflictError, PreconditionFailedError, VersionNotFoundError
from musproj.ports.assets import AssetFilter, AssetStore, GcEntry, Idempotency, Page


class RedisAssetStore(AssetStore):
    """Assets and their laws: each change is decided here and applied by one script."""

    def __init__(self, backend: RedisBackend) -> None:
        """Use `backend`, which the caller opened and closes."""
        self._backend = backend

    def create(self, asset: Asset, idempotency: Idempotency | None = None) -> tuple[Asset, bool]:
        """Insert the record and, where given, its idempotency key."""
        client = None if idempotency is None else ClientKey(self._backend, asset.owner, "asset", idempotency)
        return self._backend.change(partial(self._create, asset, client), is_acknowledged=True)

    def get(self, owner: Owner, asset_id: AssetId) -> Asset:
        """Look the record up."""
        return read_owned(self._backend, owner, asset_id)[1]

    def find(self, asset_id: AssetId) -> Asset | None:
        """Look the record up, whoever owns it."""
        return read_asset(self._backend, asset_id)[1]

    def list(self, owner: Owner, filters: AssetFilter, *, limit: int, cursor: str | None = None) -> Page[Asset]:
        """Follow an index by id, which sorts by time."""
        return asset_reads.list_assets(self._backend, owner, filters, limit=limit, cursor=cursor)

    def versions(
        self, owner: Owner, asset_id: AssetId, *, limit: int, cursor: str | None = None, oldest_first: bool = False
    ) -> Page[Version]:
        """Cut the page out of the sorted numbers before a version is read."""
        return versions_page(self._backend, owner, asset_id, limit=limit, cursor=cursor, oldest_first=oldest_first)

    def version(self, owner: Owner, asset_id: AssetId, number: int) -> Version:
        """Read the version with its provenance."""
        keys = self._backend.keys
        fields, provenance = read_beside(
            self._backend,
            owner,
            asset_id,
            ("HGETALL", keys.version(asset_id, number)),
            ("HGET", keys.provenance(asset_id), number),
        )
        if not fields:
            raise _unpublished(asset_id, number)
        return from_fields(asset_id, to_raw(fields), provenance)

    def attachments(self, owner: Owner, asset_id: AssetId, version: int) -> Sequence[Attachment]:
        """Choose those of one version."""
        keys = self._backend.keys
        is_there, found = read_beside(
            self._backend,
            owner,
            asset_id,
            ("EXISTS", keys.version(asset_id, version)),
            ("HGETALL", keys.attachments(asset_id)),
        )
        if not is_there:
            raise _unpublished(asset_id, version)
        return attachments_of(found, version)

    def find_reuse(self, owner: Owner, reuse_key: str) -> tuple[AssetId, int] | None:
        """Return the one published last whose asset still lives."""
        (places,) = self._backend.read(("LRANGE", self._backend.keys.reuse(owner, reuse_key), 0, -1))
        for place in reversed(places):
            asset_id, _, number = place.decode().rpartition(":")
            (status,) = self._backend.read(("HGET", self._backend.keys.asset(AssetId(asset_id)), "status"))
            if status == b"ready":
                return AssetId(asset_id), int(number)
        return None

    def rename(self, owner: Owner, asset_id: AssetId, name: str | None, *, revision: int | None = None) -> Asset:
        """Change the name."""
        return self._changed(owner, asset_id, lambda asset, _: asset.rename(name), revision=revision)

    def set_head(self, owner: Owner, asset_id: AssetId, number: int | None, *, revision: int | None = None) -> Asset:
        """Pin the head, or let it go where the newest of the versions that move it is."""

        def decide() -> Step[Asset]:
            keys = self._backend.keys
            newest = ("ZRANGE", keys.movers(asset_id), -1, -1)
            now, asset, (movers,) = read_owned(self._backend, owner, asset_id, newest)
            _require_revision(asset, revision)
            asset.require_ready()
            if number is None:
                return self._step(asset, asset.unpin(int(movers[0])), now)
            if not has_version(self._backend, asset_id, number):
                raise _unpublished(asset_id, number)
            return self._step(asset, asset.promote(number), now)

        return self._backend.change(decide)

    def delete(self, owner: Owner, asset_id: AssetId, *, now: datetime, revision: int | None = None) -> Asset:
        """Mark the asset and stop its jobs."""
        return delete(self._backend, owner, asset_id, now=now, revision=revision)

    def undelete(self, owner: Owner, asset_id: AssetId) -> Asset:
        """Unmark the asset."""
        return self._changed(owner, asset_id, lambda asset, _: asset.undelete())

    # ── confirming an upload ──

    def renew_upload(
        self, owner: Owner, asset_id: AssetId, expires_at: datetime, *, upload_id: str | None = None
    ) -> Asset:
        """Keep the later of the two times, and the first id."""
        return self._changed(owner, asset_id, lambda asset, _: asset.renew_upload(expires_at, upload_id))

    def claim_confirm(self, owner: Owner, asset_id: AssetId, *, token: str, now: datetime, until: datetime) -> Asset:
        """Write the claim where no other one is alive."""

        def claimed(asset: Asset, _now: datetime) -> Asset:
            upload = asset.upload
            is_held = upload.confirm_until is not None and upload.confirm_until > now
            is_taken = upload.confirm_token not in (None, token) and is_held
            if asset.status is not AssetStatus.PENDING or is_taken:
                return asset
            return asset.with_upload(confirm_token=token, confirm_until=until)

        return self._changed(owner, asset_id, claimed)

    def confirm(self, owner: Owner, asset_id: AssetId, version: Version, jobs: Sequence[Job]) -> tuple[Asset, bool]:
        """Publish version 1 and insert the jobs."""
        return confirm(self._backend, owner, asset_id, version, jobs)

    def fail_confirm(self, owner: Owner, asset_id: AssetId, token: str, error: UploadError) -> Asset:
        """Write the error and give the claim back."""

        def failed(asset: Asset, _now: datetime) -> Asset:
            if asset.status is not AssetStatus.PENDING or asset.upload.confirm_token != token:
                return asset
            return asset.with_upload(error=error, confirm_token=None, confirm_until=None)

        return self._changed(owner, asset_id, failed)

    def uploads_to_look_at(self, now: datetime, *, limit: int) -> Sequence[Asset]:
        """Hand out what is due, the longest due first."""
        return sweep.take_due(self._backend, now, limit=limit)

    def forget_upload(self, asset_id: AssetId) -> None:
        """Drop the pending record."""
        sweep.drop(self._backend, asset_id, AssetStatus.PENDING)

    # ── garbage ──

    def gc_due(self, now: datetime, *, limit: int, after: GcEntry | None = None) -> Sequence[GcEntry]:
        """Follow the set by time."""
        return garbage.due_entries(self._backend, now, limit=limit, after=after)

    def gc_done(self, entry: GcEntry) -> None:
        """Drop the entry unless the prefix was put on the list anew."""
        garbage.drop_entry(self._backend, entry)

    def tombstones(self, now: datetime, *, limit: int, after: Asset | None = None) -> Sequence[Asset]:
        """Follow the set by the time of the purge, and by id where that is equal."""
        first = to_millis(after.purge_at) if after and after.purge_at else 0
        behind = (first, after.asset_id) if after else (0, "")
        found: list[Asset] = []
        for member, due in garbage.scored(self._backend, self._backend.keys.deleted_assets, first, to_millis(now)):
            if len(found) == limit:
                break
            if (due, member) > behind:
                found += [asset for asset in asset_reads.find_assets(self._backend, [AssetId(member)]) if asset]
        return found

    def purge(self, asset_id: AssetId) -> None:
        """Drop the deleted record."""
        sweep.drop(self._backend, asset_id, AssetStatus.DELETED)

    def listed_keys(self, asset_id: AssetId, version: int) -> frozenset[str]:
        """Collect the keys of files and attachments."""
        keys = self._backend.keys
        fields, attached = self._backend.read(
            ("HGETALL", keys.version(asset_id, version)), ("HGETALL", keys.attachments(asset_id))
        )
        beside = [attachment.file.object_key for attachment in attachments_of(attached, version)]
        return frozenset([*object_keys(asset_id, to_raw(fields)), *beside])

    # ── below the methods of the port ──

    def _create(self, asset: Asset, client: ClientKey | None) -> Step[tuple[Asset, bool]] | Settled[tuple[Asset, bool]]:
        plan = Plan()
        if client is not None:
            now, (found,) = self._backend.read_at(("GET", client.key))
            made = client.made_by(found, now)
            known = None if made is None else self.find(AssetId(made))
            if known is not None:
                # Under our own id it is the effect of a call whose reply was lost.
                return Settled((known, known.asset_id == asset.asset_id))
            plan.require(client.key, "", None if found is None else found.decode(), name=CHANGED)
            client.remember(plan, asset.asset_id)
        plan.require_presence(self._backend.keys.asset(asset.asset_id), present=False, name="taken")
        asset_changes.add_asset(plan, self._backend, asset)

        def taken(_: object) -> tuple[Asset, bool]:
            raise ConflictError(f"There is an asset {asset.asset_id} already.", asset_id=asset.asset_id)

        return Step(plan=plan, answer=lambda _: (asset, True), refused={"taken": taken})

    def _changed(
        self,
        owner: Owner,
        asset_id: AssetId,
        change: Callable[[Asset, datetime], Asset],
        *,
        revision: int | None = None,
    ) -> Asset:
        def decide() -> Step[Asset] | Settled[Asset]:
            now, asset, _ = read_owned(self._backend, owner, asset_id)
            _require_revision(asset, revision)
            after = change(asset, now)
            return Settled(asset) if after is asset else self._step(asset, after, now)

        return self._backend.change(decide)

    def _step(self, before: Asset, after: Asset, now: datetime) -> Step[Asset]:
        plan = Plan(at=to_millis(now))
        asset_changes.add_change(plan, self._backend, before, after)
        return Step(plan=plan, answer=lambda _: after)


def _require_revision(asset: Asset, revision: int | None) -> None:
    if revision is not None and revision != asset.revision:
        raise PreconditionFailedError(
            f"Asset {asset.asset_id} changed since it was read.", asset_id=asset.asset_id, revision=asset.revision
        )


def _unpublished(asset_id: AssetId, number: int) -> VersionNotFoundError:
    return VersionNotFoundError(f"Asset {asset_id} has no version {number}.", asset_id=asset_id, version=number)
