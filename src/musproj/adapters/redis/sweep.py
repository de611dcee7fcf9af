"""Uploads that nobody confirmed, and the end of records that are not needed any more."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from musproj.adapters.redis import asset_changes
from musproj.adapters.redis.asset_reads import read_asset
from musproj.adapters.redis.backend import CHANGED, RedisBackend, Settled, Step
from musproj.adapters.redis.job_records import to_raw
from musproj.adapters.redis.plan import Plan
from musproj.adapters.redis.version_records import from_fields
from musproj.domain.asset import Asset, AssetStatus
from musproj.domain.ids import AssetId
from musproj.domain.times import to_millis
from musproj.errors import CorruptRecordError

log = logging.getLogger(__name__)

UNREADABLE_PAUSE = timedelta(hours=1)
"""Until somebody looks again at an upload whose record cannot be read: it must not be in the way of the others."""


def take_due(backend: RedisBackend, now: datetime, *, limit: int) -> Sequence[Asset]:
    """Return pending assets whose next look is due, each to one sweep, and push that look away."""
    found: list[Asset] = []
    seen: set[bytes] = set()
    while len(found) < limit:
        due = ("ZRANGE", backend.keys.pending_uploads, 0, to_millis(now), "BYSCORE", "LIMIT", 0, limit - len(found))
        (members,) = backend.read(due)
        new = [member for member in members if member not in seen]
        for member in new:  # another sweep may be faster with each
            asset = _take_one(backend, AssetId(member.decode("utf-8", "replace")), now)
            found += [asset] if asset is not None else []
        if not new:
            break
        seen.update(new)
    return found


def drop(backend: RedisBackend, asset_id: AssetId, status: AssetStatus) -> None:
    """Drop a record of that status for good; of another one, nothing happens."""
    backend.change(partial(_drop, backend, asset_id, status))


def _take_one(backend: RedisBackend, asset_id: AssetId, now: datetime) -> Asset | None:
    try:
        return backend.change(partial(_take, backend, asset_id, now))
    except CorruptRecordError as exc:
        log.error("An upload is left out: %s", exc, extra={"action": "asset_unreadable", "asset": asset_id})  # noqa: TRY400 - no bug
        later = to_millis(now + UNREADABLE_PAUSE)
        backend.connection.execute([("ZADD", backend.keys.pending_uploads, "XX", later, asset_id)])
        return None


def _take(backend: RedisBackend, asset_id: AssetId, now: datetime) -> Step[Asset | None] | Settled[Asset | None]:
    _, asset, _ = read_asset(backend, asset_id)
    if asset is None:
        plan = Plan()
        plan.require_presence(backend.keys.asset(asset_id), present=False)
        plan.write("ZREM", backend.keys.pending_uploads, asset_id)
        return Step(plan=plan, answer=lambda _: None)
    look = asset.upload.next_look
    if asset.status is not AssetStatus.PENDING or look is None or look > now:
        return _put_right(backend, asset)
    taken = asset.with_upload(next_look=now + (now - asset.created_at))
    plan = Plan()
    asset_changes.add_change(plan, backend, asset, taken)
    return Step(plan=plan, answer=lambda _: taken)


def _put_right(backend: RedisBackend, asset: Asset) -> Step[Asset | None]:
    """Let the set of looks say what the record says: another sweep was faster, or a write was lost."""
    look, key = asset.upload.next_look, backend.keys.pending_uploads
    plan = Plan()
    plan.require(backend.keys.asset(asset.asset_id), "revision", str(asset.revision), name=CHANGED)
    if asset.status is AssetStatus.PENDING and look is not None:
        plan.write("ZADD", key, to_millis(look), asset.asset_id)
    else:
        plan.write("ZREM", key, asset.asset_id)
    return Step(plan=plan, answer=lambda _: None)


def _drop(backend: RedisBackend, asset_id: AssetId, status: AssetStatus) -> Step[None] | Settled[None]:
    _, asset, (numbers,) = read_asset(backend, asset_id, ("LRANGE", backend.keys.versions(asset_id), 0, -1))
    if asset is None or asset.status is not status:
        return Settled(None)
    plan = Plan()
    published = [int(number) for number in numbers]
    asset_changes.add_end(plan, backend, asset, published)
    _forget_reuse(plan, backend, asset, published)
    return Step(plan=plan, answer=lambda _: None)


def _forget_reuse(plan: Plan, backend: RedisBackend, asset: Asset, numbers: Sequence[int]) -> None:
    keys, asset_id = backend.keys, asset.asset_id
    for number in numbers:
        fields, made = backend.read(
            ("HGETALL", keys.version(asset_id, number)), ("HGET", keys.provenance(asset_id), number)
        )
        provenance = from_fields(asset_id, to_raw(fields), made).provenance if fields else None
        if provenance is not None:
            plan.write("LREM", keys.reuse(asset.owner, provenance.reuse_key), 0, f"{asset_id}:{number}")
