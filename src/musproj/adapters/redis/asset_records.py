"""An asset as a Redis hash, with what was declared about its upload in a string beside it."""

import json
from datetime import datetime
from typing import Any

import attrs

from musproj.adapters.redis.connection import Command
from musproj.adapters.redis.job_records import as_json, timestamp, to_raw
from musproj.adapters.redis.keys import Keys
from musproj.codec import from_plain
from musproj.domain.asset import Asset, AssetStatus, Upload
from musproj.domain.ids import AssetId, Owner
from musproj.domain.times import from_millis, to_millis
from musproj.errors import CorruptRecordError

_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError)

READS = 4
"""Replies that one asset takes."""


def reads(keys: Keys, asset_id: AssetId) -> list[Command]:
    """Return what has to be asked for one asset."""
    return [
        ("HGETALL", keys.asset(asset_id)),
        ("GET", keys.upload(asset_id)),
        ("GET", keys.latest_version(asset_id)),
        ("LLEN", keys.versions(asset_id)),
    ]


def from_replies(asset_id: AssetId, replies: list[Any]) -> Asset | None:
    """Return the asset that the answers to `reads` tell of, or None.

    Raises:
        CorruptRecordError: they tell of none.
    """
    raw = to_raw(replies[0])
    if not raw:
        return None
    try:
        if raw["assetId"] != asset_id:
            raise ValueError(f"it is that of {raw['assetId']!r}")
        return Asset(
            asset_id=asset_id,
            owner=Owner(raw["owner"]),
            created_at=datetime.fromisoformat(raw["createdAt"]),
            upload=from_plain(Upload, json.loads(replies[1])),
            status=AssetStatus(raw["status"]),
            name=raw.get("name"),
            latest_version=None if replies[2] is None else int(replies[2]),
            head=_number(raw, "head"),
            head_pinned=raw.get("headPinned") == "1",
            sequence=int(raw.get("seq", "1")),
            version_count=replies[3],
            revision=int(raw["revision"]),
            deleted_at=_time(raw, "deletedAt"),
            purge_at=_time(raw, "purgeAt"),
        )
    except (*_UNREADABLE, CorruptRecordError) as exc:
        raise CorruptRecordError(f"The record of {asset_id} cannot be read: {exc}", asset_id=asset_id) from exc


def to_fields(asset: Asset) -> dict[str, str]:
    """Return the fields of the hash, the seed's first."""
    known = {
        "assetId": asset.asset_id,
        "createdAt": timestamp(asset.created_at),
        "status": str(asset.status.value),
        "owner": asset.owner,
        "name": asset.name,
        "head": asset.head,
        "headPinned": 1 if asset.head_pinned else None,
        "revision": asset.revision,
        "deletedAt": _ms(asset.deleted_at),
        "purgeAt": _ms(asset.purge_at),
    }
    return {name: str(value) for name, value in known.items() if value is not None}


def upload_json(upload: Upload) -> str:
    """Return what was declared about the source file as JSON."""
    return as_json(upload)


@attrs.frozen
class Difference:
    """What a change of an asset writes."""

    fields: dict[str, str]
    gone: tuple[str, ...]
    """Fields that are to go."""
    upload: str | None
    """The new upload, where it differs."""


def difference(before: Asset, after: Asset) -> Difference:
    """Return what is to be written to turn one record into the other."""
    old, new = to_fields(before), to_fields(after)
    return Difference(
        fields={name: value for name, value in new.items() if old.get(name) != value},
        gone=tuple(name for name in old if name not in new),
        upload=None if after.upload == before.upload else upload_json(after.upload),
    )


def _ms(value: datetime | None) -> int | None:
    return None if value is None else to_millis(value)


def _time(raw: dict[str, str], name: str) -> datetime | None:
    return from_millis(int(raw[name])) if name in raw else None


def _number(raw: dict[str, str], name: str) -> int | None:
    return int(raw[name]) if name in raw else None
