"""The confirm of an upload: version 1, the ready asset and the jobs on it, all in one script."""

from collections.abc import Sequence
from functools import partial

from musproj.adapters.redis import asset_changes
from musproj.adapters.redis.asset_reads import read_owned
from musproj.adapters.redis.backend import CHANGED, RedisBackend, Settled, Step
from musproj.adapters.redis.job_reads import find_jobs
from musproj.adapters.redis.plan import Plan
from musproj.adapters.redis.publication import add_version
from musproj.adapters.redis.submission import add_submission
from musproj.domain.asset import Asset, AssetStatus
from musproj.domain.ids import AssetId, JobId, Owner
from musproj.domain.job import Job
from musproj.domain.times import to_millis
from musproj.domain.version import Version
from musproj.errors import AssetNotReadyError

_OTHERS = frozenset({"head", "revision"})
"""Fields that the publication writes."""


def confirm(
    backend: RedisBackend, owner: Owner, asset_id: AssetId, version: Version, jobs: Sequence[Job]
) -> tuple[Asset, bool]:
    """Publish version 1 and submit `jobs`, guarded on pending alone; tell whether this call was the one.

    Raises:
        AssetNotFoundError: unknown, or another owner's.
        AssetNotReadyError: it was deleted.
    """
    return backend.change(partial(_decide, backend, owner, asset_id, version, jobs), is_acknowledged=True)


def _decide(
    backend: RedisBackend, owner: Owner, asset_id: AssetId, version: Version, jobs: Sequence[Job]
) -> Step[tuple[Asset, bool]] | Settled[tuple[Asset, bool]]:
    now, asset, _ = read_owned(backend, owner, asset_id)
    if asset.status is AssetStatus.READY:
        return Settled((asset, False))
    if asset.status is AssetStatus.DELETED:
        raise AssetNotReadyError(f"Asset {asset_id} is deleted.", asset_id=asset_id)
    ready = asset.confirm()
    plan = Plan(at=to_millis(now))
    asset_changes.add_change(plan, backend, asset, ready, but=_OTHERS)
    add_version(plan, backend, owner, asset_id, version, moves_head=True)
    for job in _one_of_each(jobs):
        _submit(plan, backend, job)
    return Step(plan=plan, answer=lambda _: (ready, True))


def _one_of_each(jobs: Sequence[Job]) -> Sequence[Job]:
    """Leave out all but the first of identical jobs."""
    first = {job.dedupe_key: job for job in reversed(jobs) if job.dedupe_key is not None}
    return [job for job in jobs if job.dedupe_key is None or first[job.dedupe_key] is job]


def _submit(plan: Plan, backend: RedisBackend, job: Job) -> None:
    """Submit a job unless it, or a live twin of it, is there."""
    keys = backend.keys
    twin = None if job.dedupe_key is None else keys.twin(job.owner, job.dedupe_key)
    known: bytes | None = backend.read(("GET", twin))[0] if twin else None
    mine, other = find_jobs(backend, [job.job_id, JobId((known or b"").decode() or job.job_id)])
    if mine is not None or (known and other is not None and not other.job.is_terminal):
        return
    plan.require_presence(keys.job(job.job_id), present=False, name=CHANGED)
    if twin is not None:
        plan.require(twin, "", known.decode() if known else None, name=CHANGED)
    add_submission(plan, backend, job)
