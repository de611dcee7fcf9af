from datetime import timedelta

import pytest

from musproj.domain.asset import AssetStatus
from musproj.domain.job import JobStatus, WaitReason
from musproj.domain.keys import parse_file_key
from musproj.testing.clock import NOON
from musproj.testing.records import (
    live_worker,
    made_attachment,
    made_version,
    new_asset,
    new_job,
    new_worker,
    source_version,
)


def test_a_new_asset_is_one_that_waits_for_its_upload():
    asset = new_asset(NOON, name="take")
    assert (asset.status, asset.name, asset.created_at) == (AssetStatus.PENDING, "take", NOON)
    parts = parse_file_key(asset.upload.object_key)
    assert parts is not None
    assert (parts.asset_id, parts.version) == (asset.asset_id, 1)
    assert source_version(asset, NOON).primary.object_key == asset.upload.object_key


def test_a_new_job_takes_what_a_test_cares_about():
    asset = new_asset(NOON)
    job = new_job(asset, NOON, "separate", priority=3, delay=timedelta(minutes=1))
    assert (job.type, job.status, job.priority, job.asset_id) == ("separate", JobStatus.QUEUED, 3, asset.asset_id)
    assert (job.wait_reason, job.run_at) == (WaitReason.DELAY, NOON + timedelta(minutes=1))
    assert (new_job(asset, NOON).wait_reason, new_job(asset, NOON).run_at) == (None, NOON)
    with pytest.raises(TypeError):
        new_job(asset, NOON, no_such_field=1)


def test_what_a_job_makes_lies_where_the_seed_says():
    asset = new_asset(NOON)
    job = new_job(asset, NOON)
    version = made_version(asset, job, 4, NOON, names=("vocals", "drums"))
    assert [file.object_key for file in version.files] == [
        f"assets/{asset.asset_id}/v4/vocals.wav",
        f"assets/{asset.asset_id}/v4/drums.wav",
    ]
    assert len({file.sha256 for file in version.files}) == 2
    assert version.provenance is not None
    assert version.provenance.job_id == job.job_id
    attachment = made_attachment(asset, job, NOON, "peaks")
    assert attachment.file.object_key == f"assets/{asset.asset_id}/v1/peaks-{job.job_id}.json"


def test_a_live_worker_is_the_same_worker():
    worker = new_worker("w", ["a"], abilities=["b"])
    seen = live_worker(worker, NOON)
    assert (seen.worker_id, seen.types, seen.abilities, seen.seen_at) == ("w", {"a"}, {"b"}, NOON)
