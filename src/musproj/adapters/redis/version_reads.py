"""Reading versions and attachments of an asset."""

import json
from collections.abc import Sequence

from musproj.adapters.redis.asset_reads import read_beside
from musproj.adapters.redis.backend import RedisBackend
from musproj.adapters.redis.connection import Command
from musproj.adapters.redis.job_records import to_raw
from musproj.adapters.redis.version_records import from_fields
from musproj.codec import from_plain
from musproj.domain.cursors import cursor_of, number_of
from musproj.domain.ids import AssetId, Owner
from musproj.domain.version import Attachment, Version
from musproj.ports.assets import Page


def versions_page(
    backend: RedisBackend, owner: Owner, asset_id: AssetId, *, limit: int, cursor: str | None, oldest_first: bool
) -> Page[Version]:
    """Return a page by number, without provenance.

    Raises:
        AssetNotFoundError: unknown, or another owner's.
        InvalidCursorError: the cursor is malformed.
    """
    place = None if cursor is None else number_of(cursor)
    (published,) = read_beside(backend, owner, asset_id, ("LRANGE", backend.keys.versions(asset_id), 0, -1))
    numbers = sorted({int(part) for part in published}, reverse=not oldest_first)
    if place is not None:
        numbers = [number for number in numbers if (number > place) is oldest_first and number != place]
    shown = numbers[:limit]
    is_more = len(numbers) > limit and bool(shown)
    return Page(tuple(_read(backend, asset_id, shown)), cursor_of(str(shown[-1])) if is_more else None)


def has_version(backend: RedisBackend, asset_id: AssetId, number: int) -> bool:
    """Tell whether this number was published."""
    (found,) = backend.read(("EXISTS", backend.keys.version(asset_id, number)))
    return bool(found)


def attachments_of(reply: Sequence[bytes], version: int) -> list[Attachment]:
    """Return the attachments of one version, by name, out of the whole hash of an asset's."""
    found = zip(reply[::2], reply[1::2], strict=True)
    mine = [json.loads(record) for field, record in found if field.startswith(f"{version}:".encode())]
    return sorted((from_plain(Attachment, record) for record in mine), key=lambda attachment: attachment.file.name)


def _read(backend: RedisBackend, asset_id: AssetId, numbers: Sequence[int]) -> list[Version]:
    if not numbers:
        return []
    commands: list[Command] = [("HGETALL", backend.keys.version(asset_id, number)) for number in numbers]
    return [from_fields(asset_id, to_raw(reply)) for reply in backend.read(*commands)]
