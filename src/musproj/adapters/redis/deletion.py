"""The deletion of an asset: the tombstone first, then the end of its jobs."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from musproj.adapters.redis import asset_changes, runs
from musproj.adapters.redis.asset_reads import read_owned
from musproj.adapters.redis.backend import RedisBackend, Settled, Step
from musproj.adapters.redis.job_changes import add_change
from musproj.adapters.redis.job_reads import find_jobs
from musproj.adapters.redis.job_records import StoredJob
from musproj.adapters.redis.plan import Plan
from musproj.domain import ledger
from musproj.domain.asset import Asset, AssetStatus
from musproj.domain.ids import AssetId, JobId, Owner
from musproj.domain.times import to_millis
from musproj.errors import PreconditionFailedError

AT_ONCE = 100
"""Jobs that end in the same script as the asset; more are ended after it, one by one."""


def delete(backend: RedisBackend, owner: Owner, asset_id: AssetId, *, now: datetime, revision: int | None) -> Asset:
    """Make the asset a tombstone and stop its jobs; a repeat stops what the first call did not come to.

    Raises:
        AssetNotFoundError: unknown, or another owner's.
        PreconditionFailedError: `revision` is given and not the present one.
    """
    asset = backend.change(partial(_decide, backend, owner, asset_id, now, revision), is_acknowledged=True)
    for stored in _live_jobs(backend, asset_id):
        backend.change(partial(runs.cancel, backend, owner, stored.job.job_id))
    return asset


def _decide(
    backend: RedisBackend, owner: Owner, asset_id: AssetId, now: datetime, revision: int | None
) -> Step[Asset] | Settled[Asset]:
    _, asset, _ = read_owned(backend, owner, asset_id)
    if revision is not None and revision != asset.revision:
        raise PreconditionFailedError(
            f"Asset {asset_id} changed since it was read.", asset_id=asset_id, revision=asset.revision
        )
    if asset.status is AssetStatus.DELETED:
        return Settled(asset)
    deleted = asset.delete(now)
    plan = Plan(at=to_millis(now))
    asset_changes.add_change(plan, backend, asset, deleted)
    for stored in _live_jobs(backend, asset_id)[:AT_ONCE]:
        after, _ = ledger.cancel(stored.job, now=now)
        if after is not stored.job:
            add_change(plan, backend, stored, after)
    return Step(plan=plan, answer=lambda _: deleted)


def _live_jobs(backend: RedisBackend, asset_id: AssetId) -> Sequence[StoredJob]:
    (members,) = backend.read(("ZRANGE", backend.keys.asset_jobs(asset_id), 0, -1))
    found = find_jobs(backend, [JobId(member.decode("utf-8", "replace")) for member in members])
    return [stored for stored in found if stored is not None and _is_to_stop(stored)]


def _is_to_stop(stored: StoredJob) -> bool:
    is_readable = not (stored.is_corrupt or stored.is_newer)
    return is_readable and not stored.job.is_terminal and stored.job.cancel_requested_at is None
