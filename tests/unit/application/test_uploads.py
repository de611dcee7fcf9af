import hashlib
from datetime import timedelta

import attrs
import pytest

from musproj.application.uploads import UploadSpec
from musproj.application.uploads_then import ThenRequest
from musproj.application.verify import Verifier
from musproj.domain.asset import AssetStatus
from musproj.errors import (
    AssetNotFoundError,
    AssetNotReadyError,
    AudioCorruptError,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    IdempotencyMismatchError,
    InvalidError,
    InvalidParamsError,
    LimitExceededError,
    NotAudioError,
    ObjectMissingError,
    PayloadTooLargeError,
    UnknownJobTypeError,
    UploadMismatchError,
    UploadMissingError,
)
from musproj.ports.assets import Idempotency
from musproj.ports.jobs import JobFilter

OWNER = "default"


def test_a_request_makes_a_pending_asset_and_the_seed_key(world):
    ticket = world.uploads.request(OWNER, UploadSpec())
    assert ticket.asset.status is AssetStatus.PENDING
    assert ticket.asset.upload.object_key == f"assets/{ticket.asset.asset_id}/v1/source.wav"
    assert ticket.signed.headers["if-none-match"] == "*"


@pytest.mark.parametrize(
    ("spec", "extension", "content_type"),
    [
        (UploadSpec(filename="a.FLAC"), "flac", "audio/flac"),
        (UploadSpec(content_type="audio/mp4; codecs=mp4a"), "m4a", "audio/mp4; codecs=mp4a"),
        (UploadSpec(filename="../../x.php"), "wav", "audio/wav"),
        (UploadSpec(filename="evil.wav.exe", content_type="audio/x-caf"), "caf", "audio/x-caf"),
    ],
)
def test_the_extension_comes_from_the_allow_list(world, spec, extension, content_type):
    upload = world.uploads.request(OWNER, spec).asset.upload
    assert upload.object_key.endswith(f"/v1/source.{extension}")
    assert upload.content_type == content_type


def test_a_repeated_key_gives_the_same_asset_and_a_fresh_url(world):
    key = Idempotency(key="k", body_hash="h")
    first = world.uploads.request(OWNER, UploadSpec(), key)
    world.clock.advance(60)
    again = world.uploads.request(OWNER, UploadSpec(), key)
    assert again.replayed
    assert again.asset.asset_id == first.asset.asset_id
    assert again.signed.expires_at > first.signed.expires_at
    with pytest.raises(IdempotencyMismatchError):
        world.uploads.request(OWNER, UploadSpec(), Idempotency(key="k", body_hash="other"))


def test_sizes_out_of_range_are_refused_before_anything_is_stored(world):
    with pytest.raises(PayloadTooLargeError) as caught:
        world.uploads.request(OWNER, UploadSpec(size=10_001))
    assert caught.value.facts["max"] == 10_000
    with pytest.raises(InvalidError):
        world.uploads.request(OWNER, UploadSpec(size=0))
    assert not world.assets.list(OWNER).items


def test_then_is_checked_at_the_request(world):
    with pytest.raises(UnknownJobTypeError, match="gain"):
        world.uploads.request(OWNER, UploadSpec(then=(ThenRequest(type="gian"),)))
    with pytest.raises(InvalidParamsError):
        world.uploads.request(OWNER, UploadSpec(then=(ThenRequest(type="gain", params={"gainDb": 99}),)))
    with pytest.raises(InvalidError, match="more than the one input"):
        world.uploads.request(OWNER, UploadSpec(then=(ThenRequest(type="mix"),)))


def test_confirm_publishes_what_the_bytes_say(world, audio):
    data = audio(0.5)
    spec = UploadSpec(
        filename="x.mp3", content_type="audio/mpeg", size=len(data), sha256=hashlib.sha256(data).hexdigest()
    )
    ticket = world.uploads.request(OWNER, spec)
    world.put(ticket.asset, data)
    asset = world.uploads.confirm(OWNER, ticket.asset.asset_id)
    file = world.assets.version(OWNER, asset.asset_id, 1).primary
    assert (asset.status, asset.head, asset.latest_version) == (AssetStatus.READY, 1, 1)
    assert (file.content_type, file.duration, file.sample_rate, file.channels) == ("audio/wav", 0.5, 8_000, 1)
    assert file.sha256 == spec.sha256
    assert world.uploads.confirm(OWNER, asset.asset_id) == asset


def test_confirm_before_the_bytes_are_there_says_so(world):
    asset_id = world.uploads.request(OWNER, UploadSpec()).asset.asset_id
    with pytest.raises(UploadMissingError) as caught:
        world.uploads.confirm(OWNER, asset_id)
    assert caught.value.facts["expired"] is False
    world.clock.advance(3_601)
    with pytest.raises(UploadMissingError, match="arrived") as caught:
        world.uploads.confirm(OWNER, asset_id)
    assert caught.value.facts["expired"] is True
    with pytest.raises(AssetNotFoundError):
        world.uploads.confirm("somebody-else", asset_id)


@pytest.mark.parametrize(
    ("spec", "data", "error"),
    [
        ({"size": 5}, b"RIFF", UploadMismatchError),
        ({"sha256": "0" * 64}, None, UploadMismatchError),
        ({}, b"", NotAudioError),
        ({}, b"<html>no audio</html>", NotAudioError),
        ({}, b"RIFF\x10\0\0\0WAVEfmt \xff", AudioCorruptError),
        ({}, "long", LimitExceededError),
        ({}, "big", LimitExceededError),
    ],
)
def test_a_failed_confirm_is_recorded_and_deletes_nothing(world, audio, spec, data, error):
    data = {None: audio(), "long": audio(2.1, rate=400), "big": audio(1.0)}.get(data, data)
    asset = world.uploads.request(OWNER, UploadSpec(filename="a.wav", **spec)).asset
    world.put(asset, data)
    with pytest.raises(error) as caught:
        world.uploads.confirm(OWNER, asset.asset_id)
    record = world.assets.get(OWNER, asset.asset_id).asset
    assert record.status is AssetStatus.PENDING
    assert record.upload.error is not None
    assert record.upload.error.code == caught.value.code
    assert world.storage.stat(asset.upload.object_key).size_bytes == len(data)
    with pytest.raises(error):  # without reading again: the entity tag is the same
        world.uploads.confirm(OWNER, asset.asset_id)


def test_a_known_container_without_its_decoder_becomes_ready_without_a_duration(world):
    asset = world.uploads.request(OWNER, UploadSpec(filename="memo.m4a")).asset
    world.put(asset, b"\0\0\0\x20ftypM4A \0\0\0\0" + b"\0" * 100)
    world.uploads.confirm(OWNER, asset.asset_id)
    file = world.assets.version(OWNER, asset.asset_id).primary
    assert (file.content_type, file.duration) == ("audio/mp4", None)


def test_the_jobs_of_then_are_submitted_once_whoever_confirms(world, audio):
    spec = UploadSpec(then=(ThenRequest(type="gain", params={"gainDb": 3}),))
    asset = world.uploads.request(OWNER, spec).asset
    world.put(asset, audio())
    world.uploads.confirm(OWNER, asset.asset_id)
    world.uploads.confirm(OWNER, asset.asset_id)
    world.clock.advance(3_600)
    world.uploads.sweep()
    (job,) = world.jobs.list(OWNER, JobFilter(asset_id=asset.asset_id)).items
    assert (job.type, job.params, job.input_version) == ("gain", {"gainDb": 3.0}, 1)


def test_a_job_of_then_needs_what_its_parameters_ask_for(world, audio):
    spec = UploadSpec(then=(ThenRequest(type="transcode", params={"format": "m4a"}),))
    asset = world.uploads.request(OWNER, spec).asset
    world.put(asset, audio())
    world.uploads.confirm(OWNER, asset.asset_id)
    (job,) = world.jobs.list(OWNER, JobFilter(asset_id=asset.asset_id)).items
    assert job.needs == ("codecs",)


def test_a_job_of_then_needs_its_processor_at_the_request_alone(world, audio):
    spec = UploadSpec(then=(ThenRequest(type="gain", params={"gainDb": 3}),))
    asset = world.uploads.request(OWNER, spec).asset
    world.put(asset, audio())
    uninstalled = attrs.evolve(world.uploads, catalog=None)
    uninstalled.confirm(OWNER, asset.asset_id)
    (job,) = world.jobs.list(OWNER, JobFilter(asset_id=asset.asset_id)).items
    assert (job.type, job.processor_version, job.max_attempts) == ("gain", "1", 5)


def test_one_upload_that_cannot_be_swept_does_not_keep_the_others(world, audio, monkeypatch, caplog):
    made = [world.uploads.request(OWNER, UploadSpec()).asset for _ in range(3)]
    for asset in made:
        world.put(asset, audio())
    break_verify(monkeypatch, made[1], ConfigurationError("no decoder"))
    world.clock.advance(121)
    assert world.uploads.sweep() == 2
    statuses = [world.assets.get(OWNER, asset.asset_id).asset.status for asset in made]
    assert statuses == [AssetStatus.READY, AssetStatus.PENDING, AssetStatus.READY]
    told = [(record.action, record.assetId, record.code) for record in caplog.records]
    assert told == [("sweep_failed", made[1].asset_id, "configuration")]


def test_a_store_that_is_away_ends_the_sweep(world, audio, monkeypatch):
    asset = world.uploads.request(OWNER, UploadSpec()).asset
    world.put(asset, audio())
    break_verify(monkeypatch, asset, BackendUnavailableError("away"))
    world.clock.advance(121)
    with pytest.raises(BackendUnavailableError):
        world.uploads.sweep()


def break_verify(monkeypatch, asset, error):
    real = Verifier.verify

    def verify(self, upload, stored):
        if upload.object_key == asset.upload.object_key:
            raise error
        return real(self, upload, stored)

    monkeypatch.setattr(Verifier, "verify", verify)


def test_the_sweep_confirms_what_arrived_and_forgets_what_never_did(world, audio):
    arrived = world.uploads.request(OWNER, UploadSpec()).asset
    absent = world.uploads.request(OWNER, UploadSpec()).asset
    world.put(arrived, audio())
    assert world.uploads.sweep() == 0  # not before two minutes
    world.clock.advance(121)
    assert world.uploads.sweep() == 1
    assert world.assets.get(OWNER, arrived.asset_id).asset.status is AssetStatus.READY
    world.clock.advance(3_600 * 26)
    world.uploads.sweep()
    with pytest.raises(AssetNotFoundError):
        world.assets.get(OWNER, absent.asset_id)


def test_the_sweep_keeps_a_failed_upload_for_a_week_then_makes_it_a_tombstone(world):
    asset = world.uploads.request(OWNER, UploadSpec()).asset
    world.put(asset, b"no audio")
    world.clock.advance(121)
    assert world.uploads.sweep() == 0
    assert world.assets.get(OWNER, asset.asset_id).asset.upload.error.code == "not_audio"
    for _ in range(16):
        world.clock.advance(43_200)
        world.uploads.sweep()
    assert world.assets.get(OWNER, asset.asset_id).asset.status is AssetStatus.DELETED


def test_renew_signs_anew_until_something_arrived(world, audio):
    ticket = world.uploads.request(OWNER, UploadSpec())
    world.clock.advance(4_000)
    fresh = world.uploads.renew(OWNER, ticket.asset.asset_id, expires_in=timedelta(days=1))
    assert fresh.signed.expires_at == world.clock.now() + timedelta(days=1)
    world.put(ticket.asset, audio())
    with pytest.raises(ConflictError) as caught:
        world.uploads.renew(OWNER, ticket.asset.asset_id)
    assert caught.value.hint == "Confirm it, or request a new upload."


def test_giving_up_a_pending_upload(world, ready):
    asset = world.uploads.request(OWNER, UploadSpec()).asset
    world.uploads.give_up(OWNER, asset.asset_id)
    with pytest.raises(AssetNotReadyError):
        world.uploads.confirm(OWNER, asset.asset_id)
    with pytest.raises(ConflictError):
        world.uploads.give_up(OWNER, ready().asset_id)


def test_put_file_is_the_whole_upload(world, audio, tmp_path):
    path = tmp_path / "take.wav"
    path.write_bytes(audio())
    asset = world.uploads.put_file(OWNER, path)
    assert (asset.status, asset.name) == (AssetStatus.READY, "take.wav")
    path.write_bytes(b"x" * 10_001)
    with pytest.raises(PayloadTooLargeError):
        world.uploads.put_file(OWNER, path)
    with pytest.raises(ObjectMissingError):
        world.storage.stat("assets/none/v1/source.wav")
