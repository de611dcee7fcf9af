"""A failover to a replica that lags a second, while workers commit: what is lost is named, nothing is mixed up.

What the replica had not heard of is gone: that is Redis'. What is there goes on: each surviving job has one effect,
no object is overwritten or deleted, and what has no record any more stays until somebody says otherwise.
"""

import hashlib
import sys
import time
from contextlib import ExitStack
from uuid import uuid4

import pytest

from musproj.domain.ids import DEFAULT_OWNER
from musproj.domain.job import JobStatus
from musproj.errors import JobNotFoundError
from musproj.ports.jobs import JobFilter
from musproj.testing.relay import Relay
from musproj.testing.workers import Installation, add_asset, job_now, submit, wait_until

pytestmark = pytest.mark.timeout(180)

LAG_S = 1.0
JOBS = 30
TYPES = ("copy", "dice", "stems")


def test_a_failover_loses_only_what_the_replica_had_not_heard_of(require_tool, swift_server, tmp_path, capsys):
    from musproj.testing.redis_server import RedisServer

    require_tool("redis-server")
    name = uuid4().hex[:8]
    with ExitStack() as stack:
        master = stack.enter_context(RedisServer(appendonly=True, options="--repl-diskless-sync-delay 0"))
        link = stack.enter_context(Relay(master.port))
        replica = stack.enter_context(RedisServer(replica_of=link))
        wait_until(lambda: replica.command("INFO", "replication")["master_link_status"] == "up")
        front = stack.enter_context(Relay(master.port))
        stores = {
            **swift_server.stores(),
            "redis_url": f"redis://127.0.0.1:{front.port}/0",
            "redis_prefix": f"{name}:",
            "queue_name": f"audio-jobs-{name}",
        }
        installation = Installation(folder=tmp_path, stores=stores, crash_limit=1_000)
        mp = stack.enter_context(installation.opened())
        assets = [add_asset(mp, seed=n) for n in range(3)]
        jobs = [submit(mp, assets[n % 3], TYPES[n % 3], seed=n, seconds=0.2) for n in range(JOBS)]
        for _ in range(2):
            stack.enter_context(installation.worker(concurrency=2))
        wait_until(lambda: len(ended(mp, jobs)) >= 4)

        link.cut()
        jobs += [submit(mp, assets[n % 3], "copy", seed=900 + n) for n in range(3)]
        time.sleep(LAG_S)
        before, objects = versions_of(mp, assets), hashes_of(mp, assets)
        succeeded = ended(mp, jobs)
        master.pause()
        replica.command("REPLICAOF", "NO", "ONE")
        front.point_at(replica.port)

        wait_until(lambda: is_known(mp, jobs[0]))
        known = [job for job in jobs if is_known(mp, job)]
        lost_jobs = [job.job_id for job in jobs if job not in known]
        lost_versions = sorted(set(before) - set(versions_of(mp, assets)))
        undone = [job.job_id for job in known if job.job_id in succeeded and not job_now(mp, job).is_terminal]
        wait_until(lambda: all(job_now(mp, job).is_terminal for job in known), within=90)
        removed = [removal.key for removal in mp.collector.collect().removals if removal.removed]
        after, kept = versions_of(mp, assets), hashes_of(mp, assets)

        with capsys.disabled():
            sys.stdout.write(
                f"\nfailover, {LAG_S} s behind: {len(succeeded)} jobs had succeeded; lost: {len(lost_jobs)} jobs "
                f"{lost_jobs}, versions {lost_versions}, the end of {len(undone)} jobs; then all {len(known)} ended\n"
            )
        assert {job_now(mp, job).status for job in known} == {JobStatus.SUCCEEDED}
        made = [after[place][0] for place in after if after[place][0] is not None]
        assert sorted(made) == sorted(job.job_id for job in known)  # one version each
        assert all(kept[key] == digest for _, files in after.values() for key, digest in files)
        assert {key: kept.get(key) for key in objects} == objects  # none overwritten, none deleted
        assert removed == []
        assert len(lost_jobs) >= 1, "the replica did not lag"
    assert installation.leftovers() == []


def ended(mp, jobs):
    page = mp.jobs.list(DEFAULT_OWNER, JobFilter(status=JobStatus.SUCCEEDED), limit=200)
    return {job.job_id for job in page.items} & {job.job_id for job in jobs}


def is_known(mp, job):
    try:
        return bool(job_now(mp, job))
    except JobNotFoundError:
        return False


def versions_of(mp, assets):
    """Return (asset, number) → the job that made it and its files' keys and hashes."""
    found = {}
    for asset_id in assets:
        for listed in mp.assets.versions(DEFAULT_OWNER, asset_id, limit=100).items:
            version = mp.assets.version(DEFAULT_OWNER, asset_id, listed.number)
            job_id = version.provenance.job_id if version.provenance else None
            found[asset_id, version.number] = (job_id, [(file.object_key, file.sha256) for file in version.files])
    return found


def hashes_of(mp, assets):
    """Return the hash of every object, by its bytes."""
    found = {}
    for asset_id in assets:
        for stored in mp.opened_storage.storage.list(f"assets/{asset_id}/"):
            digest = hashlib.sha256()
            for block in mp.opened_storage.storage.read(stored.key):
                digest.update(block)
            found[stored.key] = digest.hexdigest()
    return found
