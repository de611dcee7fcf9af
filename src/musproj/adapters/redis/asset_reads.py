"""Reading assets: one, several at once, pages of them."""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from musproj.adapters.redis import asset_records
from musproj.adapters.redis.asset_records import READS
from musproj.adapters.redis.backend import RedisBackend
from musproj.adapters.redis.connection import Command
from musproj.adapters.redis.listing import first_id_of
from musproj.domain.asset import Asset, AssetStatus
from musproj.domain.cursors import cursor_of, place_of
from musproj.domain.ids import AssetId, Owner
from musproj.errors import AssetNotFoundError, CorruptRecordError
from musproj.ports.assets import AssetFilter, Page

log = logging.getLogger(__name__)

CHUNK = 100
"""Ids read at once where most of them may be left out."""


def find_assets(backend: RedisBackend, asset_ids: Sequence[AssetId]) -> list[Asset | None]:
    """Return the records, None for each that is not there or cannot be read: a list goes on without it."""
    if not asset_ids:
        return []
    commands = [command for asset_id in asset_ids for command in asset_records.reads(backend.keys, asset_id)]
    try:
        replies = backend.read(*commands)
    except CorruptRecordError:  # something else lies under one of the keys
        return [_find_beside_others(backend, asset_id) for asset_id in asset_ids]
    return [_loaded(asset_id, part) for asset_id, part in zip(asset_ids, _parts(replies), strict=True)]


def read_asset(backend: RedisBackend, asset_id: AssetId, *more: Command) -> tuple[datetime, Asset | None, list[Any]]:
    """Return the time, the record and the replies to `more`, all of one round trip.

    Raises:
        CorruptRecordError: it cannot be read.
    """
    now, replies = backend.read_at(*asset_records.reads(backend.keys, asset_id), *more)
    return now, asset_records.from_replies(asset_id, replies[:READS]), replies[READS:]


def read_owned(
    backend: RedisBackend, owner: Owner, asset_id: AssetId, *more: Command
) -> tuple[datetime, Asset, list[Any]]:
    """Return the time, the owner's record and the replies to `more`.

    Raises:
        AssetNotFoundError: unknown, or another owner's.
        CorruptRecordError: it cannot be read.
    """
    now, asset, replies = read_asset(backend, asset_id, *more)
    if asset is None or asset.owner != owner:
        raise AssetNotFoundError(f"There is no asset {asset_id}.", asset_id=asset_id)
    return now, asset, replies


def read_beside(backend: RedisBackend, owner: Owner, asset_id: AssetId, *commands: Command) -> list[Any]:
    """Return the replies to `commands` about an asset of the owner's, without reading its record.

    Raises:
        AssetNotFoundError: unknown, or another owner's.
    """
    found, *replies = backend.read(("HGET", backend.keys.asset(asset_id), "owner"), *commands)
    if found is None or found.decode("utf-8", "replace") != owner:
        raise AssetNotFoundError(f"There is no asset {asset_id}.", asset_id=asset_id)
    return replies


def list_assets(
    backend: RedisBackend, owner: Owner, filters: AssetFilter, *, limit: int, cursor: str | None
) -> Page[Asset]:
    """Return a page, newest first.

    Raises:
        InvalidCursorError: the cursor is malformed.
    """
    below = None if cursor is None else place_of(cursor)
    found: list[Asset] = []
    for asset in _walk(backend, owner, filters, below, limit + 1):
        if len(found) == limit:
            return Page(tuple(found), cursor_of(found[-1].asset_id))
        found.append(asset)
    return Page(tuple(found), None)


def _walk(backend: RedisBackend, owner: Owner, filters: AssetFilter, below: str | None, wanted: int) -> Iterator[Asset]:
    index = backend.keys.owner_assets(owner, deleted=filters.status is AssetStatus.DELETED)
    is_exact = filters == AssetFilter() or filters == AssetFilter(status=AssetStatus.DELETED)
    count = wanted if is_exact else max(wanted, CHUNK)
    high = _highest(filters, below)
    low = "-" if filters.created_after is None else f"[{first_id_of('ast_', filters.created_after)}"
    while True:
        (reply,) = backend.read(("ZRANGE", index, high, low, "BYLEX", "REV", "LIMIT", 0, count))
        ids = [AssetId(part.decode("utf-8", "replace")) for part in reply]
        for asset in find_assets(backend, ids):
            if asset is not None and asset.owner == owner and _matches(asset, filters):
                yield asset
        if len(ids) < count:
            return
        high = f"({ids[-1]}"


def _highest(filters: AssetFilter, below: str | None) -> str:
    places = [below] if below is not None else []
    if filters.created_before is not None:
        places.append(first_id_of("ast_", filters.created_before))
    return f"({min(places)}" if places else "+"


def _matches(asset: Asset, filters: AssetFilter) -> bool:
    return (
        (asset.status is filters.status if filters.status else asset.status is not AssetStatus.DELETED)
        and (filters.created_after is None or asset.created_at >= filters.created_after)
        and (filters.created_before is None or asset.created_at < filters.created_before)
    )


def _parts(replies: list[Any]) -> list[list[Any]]:
    return [replies[place : place + READS] for place in range(0, len(replies), READS)]


def _loaded(asset_id: AssetId, replies: list[Any]) -> Asset | None:
    try:
        return asset_records.from_replies(asset_id, replies)
    except CorruptRecordError as exc:
        log.error("An asset is left out: %s", exc, extra={"action": "asset_unreadable", "asset": asset_id})  # noqa: TRY400 - no bug
        return None


def _find_beside_others(backend: RedisBackend, asset_id: AssetId) -> Asset | None:
    try:
        return _loaded(asset_id, backend.read(*asset_records.reads(backend.keys, asset_id)))
    except CorruptRecordError:
        return None
