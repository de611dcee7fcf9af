from datetime import UTC, datetime, timedelta

import attrs
import pytest

from musproj.codec import from_plain
from musproj.domain.asset import AssetStatus, ThenJob
from musproj.domain.canonical import canonical_json, digest
from musproj.domain.job import TRANSITIONS, FailureKind, JobError, JobStatus, WaitReason
from musproj.domain.ledger import Failure, Rules, backoff
from musproj.domain.times import from_millis, to_millis, whole_millis
from musproj.errors import AssetNotReadyError, FileNotFoundInVersionError, IllegalTransitionError
from musproj.testing.records import made_version, new_asset, new_job, new_provenance, source_version

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LEASE = timedelta(seconds=30)

MOVES = {
    JobStatus.QUEUED: lambda job: job.requeue(None, now=NOW, run_at=NOW, stage=None),
    JobStatus.RUNNING: lambda job: job.start(token="t", worker="w", now=NOW, lease=LEASE),
    JobStatus.SUCCEEDED: lambda job: job.succeed(now=NOW, created_version=2, result=None),
    JobStatus.FAILED: lambda job: job.fail(JobError(code="x", message="y"), now=NOW),
    JobStatus.CANCELLED: lambda job: job.end_cancelled(now=NOW),
}


def job_in(status: JobStatus):
    job = new_job(new_asset(NOW), NOW)
    if status is JobStatus.QUEUED:
        return job
    running = MOVES[JobStatus.RUNNING](job)
    return running if status is JobStatus.RUNNING else MOVES[status](running)


@pytest.mark.parametrize("start", JobStatus)
@pytest.mark.parametrize("end", JobStatus)
def test_a_job_moves_only_as_the_table_says(start, end):
    job = job_in(start)
    if end in TRANSITIONS[start]:
        assert MOVES[end](job).status is end
    else:
        with pytest.raises(IllegalTransitionError):
            MOVES[end](job)


@pytest.mark.parametrize("status", [JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED])
def test_an_ended_job_is_terminal_and_has_its_time(status):
    job = job_in(status)
    assert job.is_terminal
    assert job.finished_at == NOW
    assert job.lease_until is None


@pytest.mark.parametrize(
    ("reason", "attempts", "progress"),
    [
        (WaitReason.REMOTE, 1, 40),
        (WaitReason.RATE, 1, 40),
        (WaitReason.DRAIN, 1, 40),
        (WaitReason.RETRY, 2, 0),
        (None, 2, 0),
    ],
)
def test_only_a_resumed_job_keeps_its_attempt_and_progress(reason, attempts, progress):
    job = job_in(JobStatus.RUNNING).renew(now=NOW, lease=LEASE, progress=40, stage="x")
    again = job.requeue(reason, now=NOW, run_at=NOW, stage=None).start(token="u", worker="w", now=NOW, lease=LEASE)
    assert (again.attempts, again.progress) == (attempts, progress)


def test_progress_never_falls_and_never_passes_a_hundred():
    job = job_in(JobStatus.RUNNING).renew(now=NOW, lease=LEASE, progress=40, stage=None)
    assert job.renew(now=NOW, lease=LEASE, progress=30, stage=None).progress == 40
    assert job.renew(now=NOW, lease=LEASE, progress=400, stage=None).progress == 100
    assert job.renew(now=NOW, lease=LEASE, progress=None, stage=None).progress == 40


def test_identical_jobs_share_a_key_and_a_forced_one_has_none():
    asset = new_asset(NOW)
    one, other = new_job(asset, NOW), new_job(asset, NOW)
    assert one.dedupe_key == other.dedupe_key
    assert attrs.evolve(one, params={"strength": 1}).dedupe_key != one.dedupe_key
    assert attrs.evolve(one, force=True).dedupe_key is None


def test_a_naive_time_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        new_job(new_asset(NOW), NOW, run_at=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


def test_times_survive_as_milliseconds():
    assert from_millis(to_millis(NOW)) == NOW
    assert whole_millis(NOW.replace(microsecond=123_999)).microsecond == 123_000


def test_a_version_hands_out_its_files():
    asset = new_asset(NOW)
    version = made_version(asset, new_job(asset, NOW), 3, NOW, names=("vocals", "instrumental"))
    assert version.primary.name == "vocals"
    assert version.file(None) is version.primary
    assert version.file("instrumental").name == "instrumental"
    with pytest.raises(FileNotFoundInVersionError, match="vocals, instrumental"):
        version.file("drums")


def test_versions_made_alike_share_a_reuse_key():
    asset = new_asset(NOW)
    one, other = new_provenance(new_job(asset, NOW)), new_provenance(new_job(asset, NOW))
    assert one.reuse_key == other.reuse_key
    assert attrs.evolve(one, processor_version="2").reuse_key != one.reuse_key
    assert one.params_hash == digest(one.params)


def ready():
    return new_asset(NOW).confirm()


def test_an_asset_goes_forward():
    pending = new_asset(NOW)
    with pytest.raises(AssetNotReadyError) as caught:
        pending.require_ready()
    assert caught.value.hint == "Confirm the upload first."
    asset = pending.confirm()
    assert (asset.status, asset.latest_version, asset.head, asset.upload.next_look) == (AssetStatus.READY, 1, 1, None)
    with pytest.raises(IllegalTransitionError):
        asset.confirm()
    gone = asset.delete(NOW)
    with pytest.raises(AssetNotReadyError) as caught:
        gone.require_ready()
    assert caught.value.hint is None
    assert gone.delete(NOW) is gone
    assert gone.purge_at == NOW + timedelta(days=7)
    with pytest.raises(AssetNotReadyError):
        gone.rename("x")
    assert gone.undelete().status is AssetStatus.READY
    with pytest.raises(IllegalTransitionError):
        asset.undelete()
    with pytest.raises(IllegalTransitionError, match="was never"):
        pending.delete(NOW).undelete()


def test_a_tombstone_outlives_every_upload_url():
    asset = new_asset(NOW).with_upload(expires_at=NOW + timedelta(days=7))
    assert asset.delete(NOW).purge_at == NOW + timedelta(days=8)


def test_numbers_only_grow():
    asset, first = ready().reserve()
    asset, second = asset.reserve()
    _, third = asset.reserve(above=9)
    assert (first, second, third) == (2, 3, 10)


def test_the_head_moves_with_those_that_move_it_until_it_is_pinned():
    asset = ready().publish(2, moves_head=True)
    assert asset.head == 2
    assert asset.publish(3, moves_head=False).head == 2
    assert asset.publish(4, moves_head=True).publish(3, moves_head=True).head == 4
    pinned = asset.promote(1)
    assert pinned.publish(5, moves_head=True).head == 1
    assert pinned.unpin(2).head == 2
    assert asset.publish(4, moves_head=True).publish(3, moves_head=True).latest_version == 4


def test_each_change_is_a_revision():
    asset = ready()
    assert asset.rename("x").revision == asset.revision + 1
    assert asset.reserve()[0].revision == asset.revision  # nobody can see a reservation


@pytest.mark.parametrize("failures", range(1, 30))
def test_backing_off_doubles_up_to_a_cap_with_jitter(failures):
    full = min(timedelta(minutes=15), timedelta(seconds=5) * 2 ** (failures - 1))
    waits = {backoff(failures, Rules()) for _ in range(20)}
    assert all(full / 2 <= wait <= full for wait in waits)
    assert len(waits) > 1


def test_an_error_text_is_cut():
    failure = Failure(kind=FailureKind.PERMANENT, code="x", message="y" * 1_000)
    assert len(failure.as_error(retryable=False).message) == 500


def test_the_canonical_form_is_one_and_finite():
    assert canonical_json({"b": 1, "a": "ü"}) == '{"a":"ü","b":1}'
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert len(digest(None)) == 43
    with pytest.raises(ValueError, match=r"Out of range|JSON"):
        canonical_json(float("nan"))


def test_the_source_version_is_the_first():
    assert source_version(new_asset(NOW), NOW).number == 1


def test_a_then_job_of_an_older_record_gets_the_defaults():
    plain = {"job_id": "job_1", "type": "gain", "params": {}}
    then = from_plain(ThenJob, plain)
    assert (then.processor_version, then.max_attempts) == ("", 5)
