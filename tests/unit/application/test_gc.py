import io
from datetime import timedelta

import attrs
import pytest

from musproj.application import gc
from musproj.application.jobs import InputRef, JobSpec
from musproj.domain.job import FailureKind
from musproj.domain.keys import file_key
from musproj.domain.ledger import Failure, Reserved, Worker

OWNER = "default"
WORKER = Worker(worker_id="w", types=frozenset({"gain"}))


@pytest.fixture
def debris(world, ready):
    """A failed job's object under its reserved number."""
    asset = ready()
    return asset, leave_debris(world, lambda: asset)


def leave_debris(world, ready, job=None):
    asset = ready()
    world.jobs.submit(OWNER, JobSpec(type="gain", inputs={"input": InputRef(asset_id=asset.asset_id)}))
    granted = world.queue.claim(WORKER)
    reserved = world.job_store.reserve(granted.job.job_id, granted.token)
    assert isinstance(reserved, Reserved)
    key = file_key(asset.asset_id, reserved.number, "gained", "wav")
    world.storage.put(
        key,
        io.BytesIO(b"debris"),
        size=6,
        content_type="audio/wav",
        metadata={"musproj-job": job or granted.job.job_id},
    )
    failure = Failure(kind=FailureKind.PERMANENT, code="not_audio", message="no")
    world.job_store.release(granted.job.job_id, granted.token, failure)
    return key


def later(world, **delta):
    world.clock.advance(timedelta(**delta).total_seconds())
    return world.collector


def keys(world):
    return [stored.key for stored in world.storage.list("assets/")]


def test_debris_of_a_failed_job_goes_after_a_day_and_nothing_else(world, debris):
    asset, key = debris
    assert not world.collector.collect().removals
    collector = later(world, days=1, seconds=1)
    planned = collector.collect(dry_run=True)
    assert [(r.key, r.removed) for r in planned.removals] == [(key, False)]
    assert key in keys(world)
    report = collector.collect()
    assert [(r.key, r.removed) for r in report.removals] == [(key, True)]
    assert report.freed_bytes == 6
    assert keys(world) == [asset.upload.object_key]
    assert not collector.collect().removals


def test_an_object_whose_job_is_unknown_stays_without_orphans(world, debris):
    asset, key = debris
    lost = file_key(asset.asset_id, 2, "lost", "wav")
    world.storage.put(lost, io.BytesIO(b"?"), size=1, content_type="audio/wav", metadata={"musproj-job": "job_gone"})
    collector = later(world, days=2)
    by_key = {r.key: r for r in collector.collect().removals}
    assert by_key[key].removed
    assert not by_key[lost].removed
    assert "unknown" in by_key[lost].reason
    assert lost in keys(world)
    assert [r.removed for r in collector.collect(orphans=True).removals] == [True]
    assert lost not in keys(world)


def test_young_objects_are_left_alone(world, debris):
    world.clock.advance(timedelta(days=2).total_seconds())
    collector = attrs.evolve(world.collector, grace=timedelta(days=3))
    (removal,) = collector.collect().removals
    assert not removal.removed


def test_a_deleted_asset_goes_with_all_its_objects_when_its_time_is_over(world, ready):
    kept, gone = ready(), ready()
    world.assets.delete(OWNER, gone.asset_id)
    assert not later(world, days=6).collect().removals
    report = later(world, days=2).collect()
    assert [r.key for r in report.removals] == [gone.upload.object_key]
    assert keys(world) == [kept.upload.object_key]


def test_what_stays_does_not_keep_the_collector_from_what_is_behind(world, ready, monkeypatch):
    monkeypatch.setattr(gc, "PAGE", 1)
    lost = [leave_debris(world, ready, job="job_gone") for _ in range(2)]
    gone = [leave_debris(world, ready) for _ in range(2)]
    report = later(world, days=2).collect()
    assert {r.key: r.removed for r in report.removals} == dict.fromkeys(lost, False) | dict.fromkeys(gone, True)


def test_a_dry_run_tells_all_of_several_pages(world, ready, monkeypatch):
    monkeypatch.setattr(gc, "PAGE", 2)
    deleted = [ready() for _ in range(5)]
    for asset in deleted:
        world.assets.delete(OWNER, asset.asset_id)
    collector = later(world, days=8)
    keys_of_all = {asset.upload.object_key for asset in deleted}
    assert {r.key for r in collector.collect(dry_run=True).removals} == keys_of_all
    assert {r.key for r in collector.collect().removals} == keys_of_all
