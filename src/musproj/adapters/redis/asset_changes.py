"""Changes of an asset's record: each decided on what was read before."""

from datetime import datetime

from musproj.adapters.redis import asset_records
from musproj.adapters.redis.backend import CHANGED, RedisBackend
from musproj.adapters.redis.plan import Plan
from musproj.domain.asset import Asset, AssetStatus
from musproj.domain.times import to_millis


def add_asset(plan: Plan, backend: RedisBackend, asset: Asset) -> None:
    """Store a pending asset; that its id is free was checked before."""
    keys = backend.keys
    fields = asset_records.to_fields(asset)
    plan.write("HSET", keys.asset(asset.asset_id), *(part for field in fields.items() for part in field))
    plan.write("SET", keys.upload(asset.asset_id), asset_records.upload_json(asset.upload))
    plan.write("ZADD", keys.owner_assets(asset.owner), 0, asset.asset_id)
    if asset.upload.next_look is not None:
        plan.write("ZADD", keys.pending_uploads, to_millis(asset.upload.next_look), asset.asset_id)
    plan.write("PUBLISH", keys.changes, asset.asset_id)


def add_change(
    plan: Plan, backend: RedisBackend, before: Asset, after: Asset, *, but: frozenset[str] = frozenset()
) -> None:
    """Turn the asset that was read into `after`; where it was changed meanwhile, the check `CHANGED` fails.

    Fields in `but` are left to others of the plan.
    """
    key = backend.keys.asset(before.asset_id)
    plan.require(key, "revision", str(before.revision), name=CHANGED)
    found = asset_records.difference(before, after)
    fields = [part for name, value in found.fields.items() if name not in but for part in (name, value)]
    if fields:
        plan.write("HSET", key, *fields)
    if found.gone:
        plan.write("HDEL", key, *found.gone)
    if found.upload is not None:
        plan.write("SET", backend.keys.upload(before.asset_id), found.upload)
    _move(plan, backend, before, after)
    plan.write("PUBLISH", backend.keys.changes, before.asset_id)


def add_end(plan: Plan, backend: RedisBackend, asset: Asset, numbers: list[int]) -> None:
    """Drop a record for good, with all versions; `numbers` are the published ones."""
    keys, asset_id = backend.keys, asset.asset_id
    plan.require(keys.asset(asset_id), "revision", str(asset.revision), name=CHANGED)
    named = (keys.asset, keys.upload, keys.latest_version, keys.versions, keys.provenance)
    for key in (*named, keys.attachments, keys.movers, keys.asset_jobs):
        plan.write("DEL", key(asset_id))
    for number in numbers:
        plan.write("DEL", keys.version(asset_id, number))
    for is_deleted in (False, True):
        plan.write("ZREM", keys.owner_assets(asset.owner, deleted=is_deleted), asset_id)
    for due in (keys.pending_uploads, keys.deleted_assets):
        plan.write("ZREM", due, asset_id)
    plan.write("PUBLISH", keys.changes, asset_id)


def _move(plan: Plan, backend: RedisBackend, before: Asset, after: Asset) -> None:
    """Keep the lists that the asset is in, and the times at which somebody looks at it."""
    keys, asset_id = backend.keys, before.asset_id
    _schedule(plan, keys.pending_uploads, asset_id, before.upload.next_look, after.upload.next_look)
    _schedule(plan, keys.deleted_assets, asset_id, before.purge_at, after.purge_at)
    was_deleted, is_deleted = (asset.status is AssetStatus.DELETED for asset in (before, after))
    if was_deleted != is_deleted:
        plan.write("ZREM", keys.owner_assets(before.owner, deleted=was_deleted), asset_id)
        plan.write("ZADD", keys.owner_assets(before.owner, deleted=is_deleted), 0, asset_id)


def _schedule(plan: Plan, timer: str, member: str, before: datetime | None, after: datetime | None) -> None:
    if after is None and before is not None:
        plan.write("ZREM", timer, member)
    elif after is not None and after != before:
        plan.write("ZADD", timer, to_millis(after), member)
