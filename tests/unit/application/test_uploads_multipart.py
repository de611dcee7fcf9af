"""Large uploads in parts."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import attrs
import pytest

from musproj.adapters.memory import MemoryAssetStore
from musproj.application import uploads
from musproj.application.uploads import UploadSpec
from musproj.domain.asset import AssetStatus
from musproj.domain.multipart import MIB, MultipartPlan
from musproj.errors import (
    AssetNotFoundError,
    AssetNotReadyError,
    BackendUnavailableError,
    ConflictError,
    CorruptRecordError,
    IllegalTransitionError,
    InvalidError,
    NotAudioError,
    ObjectMissingError,
    PayloadTooLargeError,
    UploadMismatchError,
    UploadMissingError,
)
from musproj.ports.assets import Idempotency
from musproj.testing.parts import FakeMultipartUploads
from musproj.testing.threads import at_once

OWNER = "default"
GIB = 1024 * MIB
PART = 8 * MIB
LATER = timedelta(days=400)


class Parts(FakeMultipartUploads):
    """A store that can be away, and whose answer to a complete can be lost."""

    is_away = False
    loses = False
    before_complete = staticmethod(lambda: None)
    after_list = staticmethod(lambda: None)
    completes = 0

    def make(self, key, upload_id, parts):
        self.completes += 1
        self.before_complete()
        stored = super().make(key, upload_id, parts)
        if self.loses:
            self.loses = False
            raise BackendUnavailableError("the answer was lost")
        return stored

    def parts(self, key, upload_id):
        found = super().parts(key, upload_id)
        self.after_list()
        return found

    def abort(self, key, upload_id):
        if self.is_away:
            raise BackendUnavailableError("away")
        super().abort(key, upload_id)


@attrs.frozen
class Client:
    """One installation whose store takes parts, and who sends them."""

    world: object
    store: Parts
    take: bytes

    @property
    def uploads(self):
        return self.world.uploads

    def request(self, **spec):
        return self.uploads.request(OWNER, UploadSpec(filename="take.wav", size=len(self.take), **spec)).asset

    def send(self, asset, *numbers):
        signed = self.uploads.sign_parts(OWNER, asset.asset_id, numbers)
        for part in signed.parts:
            body = self.take[(part.number - 1) * PART : part.number * PART]
            assert self.store.send(part.signed.url, part.signed.headers, body) == 200
        return signed

    def confirm(self, asset):
        return self.uploads.confirm(OWNER, asset.asset_id)

    def record(self, asset):
        return self.world.asset_store.find(asset.asset_id)

    def content(self, asset):
        return b"".join(self.world.storage.read(asset.upload.object_key))

    def opened(self):
        return list(self.store.abandoned("", self.world.clock.now() + LATER))


@pytest.fixture
def client(world, audio) -> Client:
    store = Parts(world.storage, world.clock)
    policy = attrs.evolve(world.uploads.policy, max_bytes=GIB, max_duration_s=60.0, multipart_bytes=MIB)
    verifier = attrs.evolve(world.uploads.verifier, max_bytes=GIB, max_duration_s=60.0)
    uploads = attrs.evolve(world.uploads, policy=policy, verifier=verifier, multipart=store)
    collector = attrs.evolve(world.collector, multipart=store)
    take = audio(2.0, rate=(2 * PART + MIB) // 4)
    return Client(attrs.evolve(world, uploads=uploads, collector=collector), store, take)


# ── the way to version 1 ──


def test_a_large_upload_may_come_in_parts(client):
    asset = client.request()
    assert asset.upload.multipart == MultipartPlan(part_size=PART, part_count=3)
    client.send(asset, 1, 2)
    client.send(asset, 3)
    ready = client.confirm(asset)
    file = client.world.assets.version(OWNER, asset.asset_id, 1).primary
    assert (ready.status, file.size_bytes, file.duration) == (AssetStatus.READY, len(client.take), 2.0)
    assert client.content(asset) == client.take
    assert client.confirm(asset) == ready
    assert ready.upload.multipart is None


def test_the_store_hears_of_an_upload_with_its_first_part(client):
    asset = client.request()
    assert client.uploads.received_parts(OWNER, asset.asset_id).parts == ()
    assert client.opened() == []
    client.send(asset, 1)
    assert [opened.key for opened in client.opened()] == [asset.upload.object_key]


def test_a_large_upload_may_still_come_whole(client):
    asset = client.request()
    client.world.put(asset, client.take)
    assert client.confirm(asset).status is AssetStatus.READY


def test_what_is_small_or_of_unknown_size_comes_whole(client):
    for size in (None, 100, MIB):
        asset = client.uploads.request(OWNER, UploadSpec(size=size)).asset
        assert asset.upload.multipart is None
        for call in (client.uploads.received_parts, lambda *ids: client.uploads.sign_parts(*ids, [1])):
            with pytest.raises(ConflictError, match="comes whole"):
                call(OWNER, asset.asset_id)
    plain = attrs.evolve(client.uploads, multipart=None)
    assert plain.request(OWNER, UploadSpec(size=GIB)).asset.upload.multipart is None


def test_an_interrupted_upload_goes_on(client):
    asset = client.request()
    client.send(asset, 2, 3)
    received = client.uploads.received_parts(OWNER, asset.asset_id)
    assert [(part.number, part.size_bytes) for part in received.parts] == [(2, PART), (3, len(client.take) - 2 * PART)]
    client.send(asset, *{1, 2, 3} - {part.number for part in received.parts})
    client.confirm(asset)
    assert client.content(asset) == client.take


def test_a_confirm_names_the_parts_that_are_missing(client):
    asset = client.request(expires_in=timedelta(hours=1))
    client.send(asset, 2)
    with pytest.raises(UploadMissingError, match=r"2 parts .* 1, 3\.") as caught:
        client.confirm(asset)
    assert (caught.value.facts["missing_parts"], caught.value.facts["expired"]) == ([1, 3], False)
    client.world.clock.advance(3_601)
    with pytest.raises(UploadMissingError) as caught:
        client.confirm(asset)
    assert caught.value.facts["expired"] is True
    client.send(asset, 1, 3)
    assert client.confirm(asset).status is AssetStatus.READY


def test_unequal_parts_are_refused_before_the_store_is_asked(client):
    asset = client.request()
    client.send(asset, 1, 3)
    upload_id = client.record(asset).upload.multipart.upload_id
    signed = client.store.sign_part(asset.upload.object_key, upload_id, 2, size=5, expires_in=timedelta(hours=1))
    assert client.store.send(signed.url, signed.headers, b"short") == 200
    with pytest.raises(UploadMismatchError, match=r"planned: 2\.") as caught:
        client.confirm(asset)
    assert caught.value.facts["unequal_parts"] == [2]
    assert client.store.completes == 0
    client.world.clock.advance(121)
    assert client.uploads.sweep() == 0
    client.send(asset, 2)
    assert client.confirm(asset).status is AssetStatus.READY


def test_what_the_parts_make_is_checked_as_any_upload(client):
    asset = client.request(sha256="0" * 64)
    client.send(asset, 1, 2, 3)
    for _ in range(2):
        with pytest.raises(UploadMismatchError, match="sha256"):
            client.confirm(asset)
    assert client.record(asset).upload.error.code == "upload_mismatch"
    assert client.content(asset) == client.take
    bad = attrs.evolve(client, take=bytes(len(client.take)))
    asset = bad.request()
    bad.send(asset, 1, 2, 3)
    with pytest.raises(NotAudioError):
        bad.confirm(asset)


def test_a_confirm_whose_complete_lost_its_answer_is_repeated(client):
    asset = client.request()
    client.send(asset, 1, 2, 3)
    client.store.loses = True
    with pytest.raises(BackendUnavailableError):
        client.confirm(asset)
    assert client.confirm(asset).version_count == 1
    assert client.store.completes == 1


def test_confirms_at_once_make_one_version(client):
    asset = client.request()
    client.send(asset, 1, 2, 3)
    ready = at_once([lambda: client.confirm(asset)] * 4)
    assert {one.version_count for one in ready} == {1}
    assert client.content(asset) == client.take


def test_a_repeated_request_is_planned_the_same(client):
    spec, key = UploadSpec(size=len(client.take)), Idempotency(key="k", body_hash="h")
    first = client.uploads.request(OWNER, spec, key).asset
    client.send(first, 1)
    again = client.uploads.request(OWNER, spec, key).asset
    assert again.asset_id == first.asset_id
    assert attrs.evolve(again.upload.multipart, upload_id=None) == first.upload.multipart


# ── the key belongs to whoever was first ──


def test_an_upload_that_came_whole_ends_its_parts(client):
    asset = client.request()
    client.send(asset, 1, 2, 3)
    whole = client.take[:-1] + b"\7"
    client.world.put(asset, whole)
    client.confirm(asset)
    assert client.content(asset) == whole
    assert client.opened() == []


def test_a_confirm_that_is_late_replaces_nothing(client):
    """Its look at the key was before the PUT, its complete comes after another confirm published that."""
    asset = client.request()
    client.send(asset, 1, 2, 3)
    whole = client.take[:-1] + b"\7"

    def overtake():
        client.store.before_complete = lambda: None
        client.world.put(asset, whole)
        another_process = attrs.evolve(client.uploads)
        another_process.confirm(OWNER, asset.asset_id)

    client.store.before_complete = overtake
    assert client.confirm(asset).status is AssetStatus.READY
    assert client.content(asset) == whole


def test_a_put_that_is_faster_than_the_complete_wins_and_ends_the_parts(client):
    asset = client.request()
    client.send(asset, 1, 2, 3)
    whole = client.take[:-1] + b"\7"
    client.store.after_list = lambda: client.world.put(asset, whole)
    assert client.confirm(asset).status is AssetStatus.READY
    assert (client.content(asset), client.opened()) == (whole, [])


def test_a_confirm_ends_parts_that_began_after_it(client):
    class Stale(MemoryAssetStore):
        def claim_confirm(self, *args, **options):
            asset = super().claim_confirm(*args, **options)
            return asset.with_upload(multipart=attrs.evolve(asset.upload.multipart, upload_id=None))

    asset = client.request()
    client.send(asset, 1)
    client.world.put(asset, client.take)
    stale = Stale(client.world.asset_store._state, client.world.clock)
    attrs.evolve(client.uploads, assets=stale).confirm(OWNER, asset.asset_id)
    assert client.opened() == []


def test_no_parts_are_signed_for_a_key_that_is_taken(client):
    asset = client.request()
    client.send(asset, 1)
    client.world.put(asset, client.take)
    with pytest.raises(ConflictError, match="already"):
        client.send(asset, 2)
    client.confirm(asset)
    for call in (client.uploads.received_parts, lambda *ids: client.uploads.sign_parts(*ids, [1])):
        with pytest.raises(ConflictError, match="ready"):
            call(OWNER, asset.asset_id)


def test_first_parts_signed_at_once_are_of_one_upload(client):
    asset = client.request()
    at_once([lambda number=number: client.send(asset, number) for number in (1, 2, 3, 1, 2, 3)])
    assert len(client.opened()) == 1
    assert client.confirm(asset).status is AssetStatus.READY


def test_an_upload_given_up_while_it_begins_leaves_nothing_open(client):
    class Late(MemoryAssetStore):
        def renew_upload(self, owner, asset_id, *args, **options):
            self.delete(owner, asset_id, now=self._clock.now())
            return super().renew_upload(owner, asset_id, *args, **options)

    asset = client.request()
    late = Late(client.world.asset_store._state, client.world.clock)
    with pytest.raises(IllegalTransitionError):
        attrs.evolve(client.uploads, assets=late).sign_parts(OWNER, asset.asset_id, [1])
    assert client.opened() == []


# ── what is refused ──


def test_every_wrong_number_is_named(client):
    asset = client.request()
    with pytest.raises(InvalidError) as caught:
        client.uploads.sign_parts(OWNER, asset.asset_id, [1, 0, 4, 1, 3])
    assert [(found.pointer, found.code) for found in caught.value.violations] == [
        ("/partNumbers/1", "range"),
        ("/partNumbers/2", "range"),
        ("/partNumbers/3", "duplicate"),
    ]
    assert client.opened() == []


def test_the_parts_of_another_owner_are_unknown(client):
    asset = client.request()
    for call in (client.uploads.received_parts, lambda *ids: client.uploads.sign_parts(*ids, [1])):
        with pytest.raises(AssetNotFoundError):
            call("somebody-else", asset.asset_id)


def test_an_upload_too_large_for_one_put_needs_parts(client):
    signer = attrs.evolve(client.uploads.signed_urls, max_put_bytes=2 * MIB)
    policy = attrs.evolve(client.uploads.policy, multipart_bytes=GIB)
    uploads = attrs.evolve(client.uploads, signed_urls=signer, policy=policy)
    ticket = uploads.request(OWNER, UploadSpec(size=2 * MIB + 1))
    assert (ticket.needs_parts, ticket.asset.upload.multipart.part_count) == (True, 1)
    assert not uploads.request(OWNER, UploadSpec(size=2 * MIB)).needs_parts
    with pytest.raises(PayloadTooLargeError) as caught:
        attrs.evolve(uploads, multipart=None).request(OWNER, UploadSpec(size=2 * MIB + 1))
    assert caught.value.facts == {"limit": "bytes", "value": 2 * MIB + 1, "max": 2 * MIB}


def test_the_urls_of_parts_live_as_long_as_asked_and_the_record_longer(client):
    asset = client.request(expires_in=timedelta(hours=1))
    signed = client.uploads.sign_parts(OWNER, asset.asset_id, [1], expires_in=timedelta(days=30))
    week = client.world.clock.now() + timedelta(days=7)
    assert signed.parts[0].signed.expires_at == client.record(asset).upload.expires_at == week


# ── what is not completed ──


def test_giving_an_upload_up_ends_its_parts(client):
    asset = client.request()
    signed = client.send(asset, 1).parts[0].signed
    client.store.is_away = True
    with pytest.raises(BackendUnavailableError):
        client.uploads.give_up(OWNER, asset.asset_id)
    client.store.is_away = False
    client.uploads.give_up(OWNER, asset.asset_id)
    assert client.opened() == []
    assert client.store.send(signed.url, signed.headers, client.take[:PART]) == 404
    with pytest.raises(ConflictError, match="deleted"):
        client.send(asset, 2)


def test_the_sweep_confirms_when_every_part_has_arrived(client):
    asset = client.request()
    client.send(asset, 1, 2)
    client.world.clock.advance(121)
    assert client.uploads.sweep() == 0
    client.send(asset, 3)
    client.world.clock.advance(121)
    assert attrs.evolve(client.uploads, policy=attrs.evolve(client.uploads.policy, auto_confirm=False)).sweep() == 0
    client.world.clock.advance(600)
    assert client.uploads.sweep() == 1
    assert client.record(asset).status is AssetStatus.READY


def test_the_sweep_ends_what_never_became_whole(client):
    asset = client.request()
    client.send(asset, 1)
    client.world.clock.advance(timedelta(hours=24))
    client.uploads.sweep()
    assert client.record(asset) is not None
    client.world.clock.advance(timedelta(hours=24))
    client.uploads.sweep()
    assert client.record(asset) is None
    assert client.opened() == []


def test_parts_that_the_store_has_dropped_need_a_new_upload(client):
    asset = client.request()
    client.send(asset, 1, 2, 3)
    (opened,) = client.opened()
    client.store.abort(opened.key, opened.upload_id)
    with pytest.raises(UploadMissingError) as caught:
        client.uploads.received_parts(OWNER, asset.asset_id)
    assert caught.value.hint == "Request a new upload."
    with pytest.raises(UploadMissingError):
        client.confirm(asset)
    client.world.clock.advance(timedelta(hours=49))
    client.uploads.sweep()
    assert client.record(asset) is None


def test_parts_whose_object_is_made_are_not_asked_for_again(client):
    asset = client.request()
    client.send(asset, 1, 2, 3)
    client.store.loses = True
    with pytest.raises(BackendUnavailableError):
        client.confirm(asset)
    with pytest.raises(ConflictError) as caught:
        client.uploads.received_parts(OWNER, asset.asset_id)
    assert caught.value.hint == "Confirm it, or request a new upload."


# ── gc ──


def test_gc_ends_what_nobody_can_complete_any_more(client):
    keys = []
    for end in (client.world.asset_store.forget_upload, lambda asset_id: client.world.assets.delete(OWNER, asset_id)):
        asset = client.request()
        client.send(asset, 1)
        end(asset.asset_id)
        keys.append(asset.upload.object_key)
    assert client.world.collector.collect().removals == ()
    client.world.clock.advance(timedelta(days=1, seconds=1))
    planned = client.world.collector.collect(dry_run=True).removals
    assert [(item.key, item.removed, item.is_garbage, item.size_bytes) for item in planned] == [
        (key, False, True, 0) for key in keys
    ]
    assert len(client.opened()) == 2
    assert [item.removed for item in client.world.collector.collect().removals] == [True, True]
    assert client.opened() == []


def test_gc_leaves_an_upload_alone_while_its_urls_live(client):
    asset = client.request(expires_in=timedelta(days=7))
    client.send(asset, 1)
    client.uploads.sign_parts(OWNER, asset.asset_id, [2, 3], expires_in=timedelta(days=7))
    client.world.clock.advance(timedelta(days=6))
    assert client.world.collector.collect().removals == ()
    client.world.clock.advance(timedelta(days=2, seconds=1))
    assert [item.key for item in client.world.collector.collect().removals] == [asset.upload.object_key]


def test_gc_leaves_alone_what_it_cannot_judge(client):
    class Corrupt(MemoryAssetStore):
        def find(self, asset_id):
            raise CorruptRecordError

    asset = client.request()
    client.send(asset, 1)
    client.store.start("assets/of-another-program.bin", content_type="audio/wav")
    client.store.start("elsewhere/x.wav", content_type="audio/wav")
    client.world.clock.advance(timedelta(days=30))
    corrupt = Corrupt(client.world.asset_store._state, client.world.clock)
    assert attrs.evolve(client.world.collector, assets=corrupt).collect().removals == ()
    assert len(client.opened()) == 3


def test_an_object_is_never_there_by_halves(client):
    asset = client.request()
    client.send(asset, 1, 2, 3)
    with pytest.raises(ObjectMissingError):
        client.world.storage.stat(asset.upload.object_key)


# ── the check of what is large ──


def test_a_confirm_repeated_during_the_check_does_not_read_again(client, monkeypatch):
    reads, begun, goes_on = [], threading.Event(), threading.Event()
    real = client.world.storage.read

    def read(key, **options):
        if not options.get("length"):
            reads.append(key)
            begun.set()
            assert goes_on.wait(30)
        yield from real(key, **options)

    monkeypatch.setattr(client.world.storage, "read", read)
    monkeypatch.setattr(uploads, "TURN_SECONDS", 0.05)
    asset = client.request()
    client.send(asset, 1, 2, 3)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.confirm, asset)
        assert begun.wait(30)
        with pytest.raises(AssetNotReadyError, match="being checked"):
            client.confirm(asset)
        with pytest.raises(AssetNotFoundError):
            client.uploads.confirm("somebody-else", asset.asset_id)
        goes_on.set()
        assert first.result() == client.confirm(asset)
    assert len(reads) == 1
