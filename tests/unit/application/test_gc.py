import io
from datetime import timedelta

import attrs
import pytest

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
    world.jobs.submit(OWNER, JobSpec(type="gain", inputs={"input": InputRef(asset_id=asset.asset_id)}))
    granted = world.queue.claim(WORKER)
    reserved = world.job_store.reserve(granted.job.job_id, granted.token)
    assert isinstance(reserved, Reserved)
    key = file_key(asset.asset_id, reserved.number, "gained", "wav")
    world.storage.put(
        key, io.BytesIO(b"debris"), size=6, content_type="audio/wav", metadata={"musproj-job": granted.job.job_id}
    )
    failure = Failure(kind=FailureKind.PERMANENT, code="not_audio", message="no")
    world.job_store.release(granted.job.job_id, granted.token, failure)
    return asset, key


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
