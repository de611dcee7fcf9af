"""The power to take parts that fast tests stand on passes what a real one must."""

from datetime import timedelta

import pytest

from musproj.adapters.memory import MemoryStorage
from musproj.ports.storage import SignedRequest
from musproj.testing.clock import FakeClock
from musproj.testing.multipart import MultipartContract, PartStore
from musproj.testing.parts import FakeMultipartUploads


class Late(FakeMultipartUploads):
    """Signs an hour ago."""

    def __init__(self, of: FakeMultipartUploads, clock: FakeClock) -> None:
        super().__init__(MemoryStorage(), clock)
        self._of = of

    def sign_part(self, key, upload_id, number, *, size, expires_in):
        return self._of.sign_part(key, upload_id, number, size=size, expires_in=expires_in - timedelta(hours=1))


class TestFakeMultipartUploads(MultipartContract):
    @pytest.fixture
    def store(self) -> PartStore:
        clock = FakeClock()
        storage = MemoryStorage(clock)
        fake = FakeMultipartUploads(storage, clock)

        def send(signed: SignedRequest, body: bytes) -> int:
            return fake.send(signed.url, signed.headers, body)

        return PartStore(storage=storage, multipart=fake, send=send, stale=Late(fake, clock))
