"""Uploads in parts to a bucket, on Swift as it is and behind the layer that behaves as R2 does."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import attrs
import pytest

from musproj.adapters.s3 import multipart
from musproj.adapters.s3.plugin import open_storage
from musproj.adapters.system import SystemClock
from musproj.domain.ledger import Rules
from musproj.errors import BackendUnavailableError, StorageDeniedError
from musproj.ports.plugin import Credentials, OpenedStorage, PluginContext
from musproj.ports.storage import ReceivedPart
from musproj.testing.clock import FakeClock
from musproj.testing.multipart import BODIES, KEY, LATER, OTHER_KEY, TYPE, MultipartContract, PartStore
from musproj.testing.storage_contract import put
from musproj.testing.swift import SwiftServer


def opened(server: SwiftServer, tmp_path, *, clock=None, secret=None, storage=None) -> OpenedStorage:
    context = PluginContext(
        clock=clock or SystemClock(),
        rules=Rules(),
        queue_name="audio-jobs",
        data=tmp_path,
        base_url="http://localhost",
        max_upload_bytes=1 << 40,
        credentials=Credentials(access_key_id=server.access_key, secret_access_key=secret or server.secret_key),
        is_interactive=True,
    )
    return open_storage(storage or server.stores()["storage"], context)


def emptied(bucket: OpenedStorage) -> OpenedStorage:
    for stored in list(bucket.storage.list("")):
        bucket.storage.delete(stored.key)
    for open_upload in list(bucket.multipart.abandoned("", LATER)):
        bucket.multipart.abort(open_upload.key, open_upload.upload_id)
    return bucket


class S3Laws(MultipartContract):
    refuses_unequal = False

    @pytest.fixture
    def server(self) -> SwiftServer:
        raise NotImplementedError

    @pytest.fixture
    def store(self, server: SwiftServer, tmp_path) -> Iterator[PartStore]:
        bucket = emptied(opened(server, tmp_path))
        late = FakeClock(SystemClock().now() - timedelta(hours=1))
        stale = opened(server, tmp_path, clock=late)
        yield PartStore(
            storage=bucket.storage,
            multipart=bucket.multipart,
            stale=stale.multipart,
            refuses_unequal=self.refuses_unequal,
            forgets_completed=False,
        )
        bucket.storage.close()

    def test_long_lists_come_page_after_page(self, store: PartStore, monkeypatch) -> None:
        monkeypatch.setattr(multipart, "PAGE", 2)
        upload_id = store.given()
        others = {store.start(OTHER_KEY) for _ in range(4)}
        assert [part.number for part in store.arrived(upload_id)] == [1, 2, 3]
        assert {found.upload_id for found in store.multipart.abandoned("", LATER)} == {upload_id, *others}

    def test_the_entity_tag_tells_what_an_object_is_made_of(self, store: PartStore) -> None:
        upload_id = store.given()
        parts = store.arrived(upload_id)
        stored = store.multipart.complete(KEY, upload_id, parts)
        assert stored.etag == multipart.etag_of(parts)

    def test_a_completed_upload_that_is_still_known_is_not_aborted(self, store: PartStore) -> None:
        """Swift deletes the parts of an upload that it finds, and a large object is made of them."""
        upload_id = store.given()
        store.multipart.complete(KEY, upload_id, store.arrived(upload_id))
        assert store.arrived(upload_id)  # known
        store.multipart.abort(KEY, upload_id)
        assert store.read() == b"".join(BODIES)

    def test_parts_whose_key_was_taken_are_dropped(self, store: PartStore) -> None:
        upload_id = store.given([b"second"])
        put(store.storage, KEY, b"first")
        store.multipart.abort(KEY, upload_id)
        assert list(store.multipart.abandoned("", LATER)) == []
        assert store.read() == b"first"

    def test_a_signed_part_is_bound_to_its_length_alone(self, store: PartStore) -> None:
        signed = store.sign(store.start(), 7, b"RIFF")
        assert signed.headers == {"content-length": "4"}
        assert "&partNumber=7&uploadId=" in signed.url
        assert "X-Amz-SignedHeaders=content-length%3Bhost&" in signed.url

    def test_who_may_not_is_told_so(self, store: PartStore, server: SwiftServer, tmp_path) -> None:
        stranger = opened(server, tmp_path, secret="wrong").multipart
        with pytest.raises(StorageDeniedError):
            stranger.start(KEY, content_type=TYPE)
        with pytest.raises(StorageDeniedError):
            list(stranger.abandoned("", LATER))


class TestOnSwift(S3Laws):
    @pytest.fixture
    def server(self, swift_server: SwiftServer) -> SwiftServer:
        return swift_server


class TestOnR2(S3Laws):
    refuses_unequal = True

    @pytest.fixture
    def server(self, r2_server: SwiftServer) -> SwiftServer:
        return r2_server


def test_a_bucket_that_is_away_is_unavailable(swift_server, tmp_path):
    address = "s3://audio?endpoint=http://127.0.0.1:9&region=us-east-1"
    away = opened(swift_server, tmp_path, storage=address).multipart
    for call in (
        lambda: away.start(KEY, content_type=TYPE),
        lambda: away.parts(KEY, "upload"),
        lambda: away.complete(KEY, "upload", []),
        lambda: away.abort(KEY, "upload"),
        lambda: list(away.abandoned("", LATER)),
    ):
        with pytest.raises(BackendUnavailableError):
            call()


def test_a_tag_that_is_no_md5_says_nothing():
    part = ReceivedPart(number=1, size_bytes=4, etag=hashlib.md5(b"RIFF").hexdigest())
    assert multipart.etag_of([part]) == f"{hashlib.md5(bytes.fromhex(part.etag)).hexdigest()}-1"
    assert multipart.etag_of([part, attrs.evolve(part, etag="opaque")]) is None


def test_signing_a_part_does_not_import_boto3(tmp_path):
    source = f"""
import sys
from datetime import timedelta
from pathlib import Path
from musproj.adapters.s3.plugin import open_storage
from musproj.adapters.system import SystemClock
from musproj.domain.ledger import Rules
from musproj.ports.plugin import Credentials, PluginContext
context = PluginContext(
    clock=SystemClock(), rules=Rules(), queue_name="q", data=Path({str(tmp_path)!r}), base_url="", max_upload_bytes=1,
    credentials=Credentials(access_key_id="a", secret_access_key="b"),
)
bucket = open_storage("r2://account/bucket", context)
bucket.multipart.sign_part("assets/a/v1/source.wav", "upload", 1, size=4, expires_in=timedelta(hours=1))
sys.exit(bool({{"boto3", "botocore"}} & set(sys.modules)))
"""
    subprocess.run([sys.executable, "-c", source], check=True)
