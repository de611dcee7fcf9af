"""Objects in a bucket."""

from collections.abc import Iterator, Mapping
from typing import BinaryIO

from musproj.adapters.s3.boto import LateBotoClient
from musproj.adapters.s3.client import S3Client
from musproj.adapters.s3.download import Download
from musproj.adapters.s3.exchange import Question
from musproj.adapters.s3.listing import Page, PageError, page_of, page_query
from musproj.adapters.s3.objects import stored_from_headers
from musproj.adapters.s3.upload import Upload, head_of
from musproj.domain.keys import ObjectKey, object_key
from musproj.errors import BackendUnavailableError, LimitExceededError, ObjectChangedError, ObjectMissingError
from musproj.ports.storage import Storage, StoredObject

MAX_PUT_BYTES = 4_995 * (1 << 30) // 1_000
"""R2 docs, platform limits: 4.995 GiB in one PUT; S3 takes 5 GiB."""


class S3Storage(Storage):
    """Immutable objects of one bucket; nothing is asked of it before the first call.

    Beside the errors of `Storage` every method raises `ConfigurationError`: no such bucket, another region,
    a key that is refused (`StorageDeniedError`), a clock that is off (`ClockSkewError`).
    """

    __slots__ = ("_boto", "_client")

    def __init__(self, client: S3Client, boto: LateBotoClient | None = None) -> None:
        """Use `client`; it is closed with the storage, and so is `boto`, which other powers of the bucket use."""
        self._client = client
        self._boto = boto

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
        """Send one streamed PUT; a source that can be read again is sent again where an answer is lost.

        Raises:
            LimitExceededError: more than one PUT takes.
            ObjectExistsError: as `Storage` says.
            ChecksumMismatchError: as `Storage` says.
        """
        object_key(key)
        if size > MAX_PUT_BYTES:
            text = f"{key} has {size} bytes, one PUT takes {MAX_PUT_BYTES}."
            raise LimitExceededError(text, limit="bytes", value=size, max=MAX_PUT_BYTES)
        return Upload(
            self._client,
            key,
            source,
            size=size,
            content_type=content_type,
            sha256=sha256,
            metadata=metadata or {},
        ).run()

    def stat(self, key: ObjectKey) -> StoredObject:
        """Ask with HEAD, for the checksum too."""
        answer = self._client.repeated(lambda: self._client.ask(head_of(key)))
        return stored_from_headers(key, answer.headers)

    def read(
        self, key: ObjectKey, *, start: int = 0, length: int | None = None, etag: str | None = None
    ) -> Iterator[bytes]:
        """Stream it; a broken connection is made anew from the next byte on, for the same object."""
        if length == 0:
            self._check(key, etag)
            return
        yield from Download(self._client, key, start=start, length=length, etag=etag).blocks()

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Ask page after page."""
        token: str | None = None
        while True:
            page = self._page(prefix, token)
            yield from page.objects
            token = page.next_token
            if token is None:
                return

    def delete(self, key: ObjectKey) -> None:
        """Remove it; stores differ in whether they tell that it was not there."""
        try:
            self._client.repeated(lambda: self._client.ask(Question(method="DELETE", key=key)))
        except ObjectMissingError:
            return

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        if self._boto is not None:
            self._boto.close()

    def _check(self, key: ObjectKey, etag: str | None) -> None:
        found = self.stat(key).etag
        if etag not in (None, found):
            raise ObjectChangedError(f"{key} has the entity tag {found}, not {etag}.", key=key)

    def _page(self, prefix: str, token: str | None) -> Page:
        asked = Question(method="GET", query=page_query(prefix, token))

        def ask() -> Page:
            try:
                return page_of(self._client.ask(asked).body)
            except PageError as exc:
                raise BackendUnavailableError(f"A listing of {self._client.address.host} is broken: {exc}.") from exc

        return self._client.repeated(ask)
