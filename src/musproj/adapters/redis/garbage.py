"""Prefixes that gc shall look at, and tombstones, in the order of their times."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from musproj.adapters.redis.backend import RedisBackend
from musproj.adapters.redis.plan import Plan
from musproj.domain.ids import AssetId
from musproj.domain.times import from_millis, to_millis
from musproj.ports.assets import GcEntry

PAGE = 500


def due_entries(backend: RedisBackend, now: datetime, *, limit: int, after: GcEntry | None) -> Sequence[GcEntry]:
    """Return prefixes that are due, by time, asset and version, those behind `after`."""
    first = 0 if after is None else to_millis(after.due_at)
    found: list[GcEntry] = []
    for member, due in scored(backend, backend.keys.gc_due, first, to_millis(now)):
        if len(found) >= limit and due > to_millis(found[limit - 1].due_at):
            break
        entry = _entry(member, due)
        if entry is not None and (after is None or _place(entry) > _place(after)):
            found.append(entry)
            found.sort(key=_place)
    return found[:limit]


def drop_entry(backend: RedisBackend, entry: GcEntry) -> None:
    """Drop an entry unless its prefix was put on the list anew."""
    plan = Plan()
    key, member = backend.keys.gc_due, f"{entry.asset_id}/v{entry.version}"
    plan.require_score(key, member, to_millis(entry.due_at))
    plan.write("ZREM", key, member)
    plan.apply(backend.connection)


def scored(backend: RedisBackend, key: str, low: int, high: int) -> Iterator[tuple[str, int]]:
    """Yield members and scores of a sorted set between two scores, both included, by score."""
    start = 0
    while True:
        (reply,) = backend.read(("ZRANGE", key, low, high, "BYSCORE", "LIMIT", start, PAGE, "WITHSCORES"))
        for member, score in zip(reply[::2], reply[1::2], strict=True):
            yield member.decode("utf-8", "replace"), int(float(score))
        start += PAGE
        if len(reply) < 2 * PAGE:
            return


def _entry(member: str, due: int) -> GcEntry | None:
    asset_id, _, number = member.rpartition("/v")
    if not asset_id or not number.isdecimal():
        return None
    return GcEntry(asset_id=AssetId(asset_id), version=int(number), due_at=from_millis(due))


def _place(entry: GcEntry) -> tuple[datetime, AssetId, int]:
    return entry.due_at, entry.asset_id, entry.version
