"""A bucket passes what every storage must: one that behaves as R2's, on OpenStack Swift, which verifies signatures.

Not on Swift alone: it looks at `If-None-Match` only where a PUT begins, so of writers that overlap several succeed.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import timedelta

import attrs
import pytest

from musproj.adapters.s3.address import BucketAddress
from musproj.adapters.s3.client import S3Client
from musproj.adapters.s3.patience import PATIENT
from musproj.adapters.s3.signed_urls import S3SignedUrls
from musproj.adapters.s3.signing import QuerySigner
from musproj.adapters.s3.storage import S3Storage
from musproj.adapters.system import SystemClock
from musproj.ports.plugin import Credentials
from musproj.testing.clock import FakeClock
from musproj.testing.relay import Relay
from musproj.testing.signed import SignedStore, SignedUrlsContract
from musproj.testing.storage_contract import StorageContract
from musproj.testing.swift import PAGE_KEYS, SwiftServer

SHORT = attrs.evolve(PATIENT, connect_s=2.0, read_s=10.0)


@attrs.frozen
class Bucket:
    """The server's bucket, emptied, and the keys to it."""

    address: BucketAddress
    signer: QuerySigner

    def open(self) -> S3Storage:
        return S3Storage(S3Client(self.address, self.signer, patience=SHORT, sleep=lambda _: None))


def open_bucket(server: SwiftServer, endpoint: str) -> Bucket:
    address = BucketAddress.from_url(f"s3://{server.bucket}?endpoint={endpoint}&region={server.region}")
    credentials = Credentials(access_key_id=server.access_key, secret_access_key=server.secret_key)
    bucket = Bucket(address, QuerySigner(address, credentials))
    with closing(bucket.open()) as storage, ThreadPoolExecutor(8) as pool:
        list(pool.map(storage.delete, [stored.key for stored in storage.list("")]))
    return bucket


class TestS3Storage(StorageContract):
    @pytest.fixture
    def relay(self, r2_server: SwiftServer) -> Iterator[Relay]:
        with Relay(r2_server.port) as relay:
            yield relay

    @pytest.fixture
    def bucket(self, r2_server: SwiftServer, relay: Relay) -> Bucket:
        return open_bucket(r2_server, f"http://127.0.0.1:{relay.port}")

    @pytest.fixture
    def page_keys(self) -> int:
        return PAGE_KEYS

    @pytest.fixture
    def storage(self, bucket: Bucket) -> Iterator[S3Storage]:
        with closing(bucket.open()) as storage:
            yield storage

    @pytest.fixture
    def reopened(self, bucket: Bucket) -> Iterator[Callable[[], S3Storage]]:
        with ExitStack() as stack:
            yield lambda: stack.enter_context(closing(bucket.open()))

    @pytest.fixture
    def cut_off(self, relay: Relay) -> Callable[[], None]:
        return relay.cut


class TestS3SignedUrls(SignedUrlsContract):
    @pytest.fixture
    def store(self, r2_server: SwiftServer) -> Iterator[SignedStore]:
        bucket = open_bucket(r2_server, r2_server.endpoint)
        clock = SystemClock()
        late = FakeClock(clock.now() - timedelta(hours=1))
        with closing(bucket.open()) as storage:
            yield SignedStore(
                storage=storage,
                urls=S3SignedUrls(bucket.address, bucket.signer, clock),
                stale=S3SignedUrls(bucket.address, bucket.signer, late),
            )
