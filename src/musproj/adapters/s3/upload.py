"""One create-only PUT, and what becomes of it where its answer is lost."""

import uuid
from collections.abc import Mapping
from itertools import chain
from typing import BinaryIO

from musproj.adapters.s3.client import S3Client
from musproj.adapters.s3.exchange import Answer, Question
from musproj.adapters.s3.objects import (
    METADATA_PREFIX,
    WRITE_MARK,
    mark_of,
    metadata_headers,
    plain_etag,
    stored_from_headers,
    time_of,
    verified_sha256,
)
from musproj.adapters.s3.source import Source, SourceError
from musproj.domain.keys import ObjectKey
from musproj.domain.upload_headers import upload_headers
from musproj.errors import BackendUnavailableError, ChecksumMismatchError, ObjectExistsError, ObjectMissingError
from musproj.ports.storage import StoredObject


class Upload:
    """A write that may be tried again: it carries a mark, by which the object of an earlier try is known as its own."""

    __slots__ = ("_asked", "_client", "_content_type", "_is_garbled", "_key", "_mark", "_metadata", "_size", "_source")

    def __init__(
        self,
        client: S3Client,
        key: ObjectKey,
        file: BinaryIO,
        *,
        size: int,
        content_type: str,
        sha256: str | None,
        metadata: Mapping[str, str],
    ) -> None:
        """Prepare it; `file` is read when it runs.

        Raises:
            InvalidError: type, hash or metadata cannot be a header.
        """
        sha256 = sha256.lower() if sha256 else None
        self._client = client
        self._key = key
        self._source = Source(key, file, size=size, sha256=sha256)
        self._size = size
        self._content_type = content_type
        self._metadata = dict(metadata)
        self._mark = uuid.uuid4().hex
        self._is_garbled = False
        signed = {
            **upload_headers(content_type=content_type, size=size, sha256=sha256),
            **metadata_headers(metadata),
            METADATA_PREFIX + WRITE_MARK: self._mark,
        }
        self._asked = Question(method="PUT", key=key, signed=signed)

    def run(self) -> StoredObject:
        """Write it, and again while the store is away.

        Raises:
            ObjectExistsError: another write took the key.
            ChecksumMismatchError: the source is not what was announced, or did not arrive twice.
            BackendUnavailableError: it may have been written.
        """
        failures = 0
        while True:
            try:
                return self._again() if failures else self._put()
            except BackendUnavailableError as exc:
                failures += 1
                if not self._source.is_repeatable:
                    raise
                self._client.wait(failures, exc)

    def _again(self) -> StoredObject:
        """Look first: the bytes may all be there already, and sending them again takes longest."""
        try:
            return self._own()
        except ObjectMissingError:
            pass
        try:
            return self._put()
        except ObjectExistsError:
            return self._own()

    def _own(self) -> StoredObject:
        """Return what lies under the key.

        Raises:
            ObjectMissingError: nothing.
            ObjectExistsError: what another write put there.
        """
        answer = self._client.ask(head_of(self._key))
        if mark_of(answer.headers) != self._mark:
            raise ObjectExistsError(f"There is an object {self._key} already.", key=self._key)
        return stored_from_headers(self._key, answer.headers)

    def _put(self) -> StoredObject:
        try:
            blocks = self._source.blocks()
            # What is wrong with a short source shows before anything is sent.
            first = next(blocks, b"")
            answer = self._client.ask(self._asked, chain((first,), blocks))
        except SourceError as exc:
            raise exc.__cause__ or exc from None
        except ChecksumMismatchError as exc:
            if "store_code" not in exc.facts or self._is_garbled:
                raise
            # Said by the store alone, of bytes that were right here: maybe on the way, so once more.
            self._is_garbled = True
            raise BackendUnavailableError(exc.message, key=self._key) from exc
        return self._stored(answer)

    def _stored(self, answer: Answer) -> StoredObject:
        etag = answer.headers.get("etag")
        if etag is None:
            return self._own()
        return StoredObject(
            key=self._key,
            size_bytes=self._size,
            etag=plain_etag(etag),
            sha256=verified_sha256(answer.headers),
            content_type=self._content_type,
            metadata=self._metadata,
            modified_at=time_of(answer.headers.get("last-modified")),
        )


def head_of(key: ObjectKey) -> Question:
    """Return the question for an object's facts, its checksum among them."""
    return Question(method="HEAD", key=key, signed={"x-amz-checksum-mode": "ENABLED"})
