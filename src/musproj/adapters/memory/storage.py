"""Objects in memory."""

import hashlib
import threading
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import attrs

from musproj.domain.keys import ObjectKey
from musproj.errors import ChecksumMismatchError, ObjectChangedError, ObjectExistsError, ObjectMissingError
from musproj.ports.clock import Clock
from musproj.ports.storage import BLOCK_BYTES, Storage, StoredObject


@attrs.frozen
class _Blob:
    stored: StoredObject
    content: bytes


class MemoryStorage(Storage):
    """Immutable objects in a dict; without a clock they carry no time."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock
        self._blobs: dict[ObjectKey, _Blob] = {}
        self._lock = threading.Lock()

    def put(
        self,
        key: ObjectKey,
        source: BinaryIO,
        *,
        size: int,
        content_type: str,
        sha256: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> StoredObject:
        """Read all of `source` first, then store it in one step."""
        self._refuse_taken(key)
        content = _read_exactly(source, size, key)
        found = hashlib.sha256(content).hexdigest()
        if sha256 is not None and found != sha256.lower():
            raise ChecksumMismatchError(f"{key}: the bytes have sha256 {found}, not {sha256}.", key=key)
        stored = StoredObject(
            key=key,
            size_bytes=size,
            etag=found,
            sha256=found,
            content_type=content_type,
            metadata=dict(metadata or {}),
            modified_at=self._clock.now() if self._clock else None,
        )
        with self._lock:
            self._refuse_taken(key)
            self._blobs[key] = _Blob(stored, content)
        return stored

    def stat(self, key: ObjectKey) -> StoredObject:
        """Look the object up."""
        return self._blob(key).stored

    def read(
        self, key: ObjectKey, *, start: int = 0, length: int | None = None, etag: str | None = None
    ) -> Iterator[bytes]:
        """Yield slices; the object is looked up when the first is asked for."""
        blob = self._blob(key)
        if etag is not None and etag != blob.stored.etag:
            raise ObjectChangedError(f"{key} has the entity tag {blob.stored.etag}, not {etag}.", key=key)
        end = len(blob.content) if length is None else min(start + length, len(blob.content))
        for position in range(start, end, BLOCK_BYTES):
            yield blob.content[position : min(position + BLOCK_BYTES, end)]

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield what was there at the first step."""
        for key, blob in sorted(self._blobs.copy().items()):
            if key.startswith(prefix):
                yield blob.stored

    def delete(self, key: ObjectKey) -> None:
        """Forget the object."""
        with self._lock:
            self._blobs.pop(key, None)

    def close(self) -> None:
        """Keep the objects: whoever holds this may go on reading."""

    def _blob(self, key: ObjectKey) -> _Blob:
        blob = self._blobs.get(key)
        if blob is None:
            raise ObjectMissingError(f"There is no object {key}.", key=key)
        return blob

    def _refuse_taken(self, key: ObjectKey) -> None:
        if key in self._blobs:
            raise ObjectExistsError(f"There is an object {key} already.", key=key)


def _read_exactly(source: BinaryIO, size: int, key: ObjectKey) -> bytes:
    content = bytearray()
    while len(content) <= size and (block := source.read(min(BLOCK_BYTES, size + 1 - len(content)))):
        content += block
    if len(content) != size:
        found = "more" if len(content) > size else str(len(content))
        raise ChecksumMismatchError(f"{key}: {size} bytes were announced, {found} came.", key=key)
    return bytes(content)
