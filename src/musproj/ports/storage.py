"""Where the bytes are: immutable objects under slash-separated keys."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Protocol

import attrs

from musproj.domain.keys import ObjectKey

BLOCK_BYTES = 1 << 20
"""Objects move in blocks of this size; nobody holds a whole one."""


@attrs.frozen(kw_only=True)
class StoredObject:
    """What a store knows about one object."""

    key: ObjectKey
    size_bytes: int
    etag: str
    """Strong entity tag without quotes; the same bytes under the same key keep it."""
    sha256: str | None = None
    """Lower-case hex, where the store verified it while writing."""
    content_type: str | None = None
    metadata: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """What the writer gave: `musproj-job`, `sha256`."""
    modified_at: datetime | None = None


class Storage(Protocol):
    """Immutable objects; usable from several threads and, each with its own handle, several processes.

    Every method raises `BackendUnavailableError` (retryable; a write may have happened, a repeat tells) when the
    store cannot be reached, and `StorageFullError` when there is no room, after which nothing of the write is left.
    """

    __slots__ = ()

    @abstractmethod
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
        """Store all `size` bytes of `source`, or nothing; durable on return; never replaces an object.

        Raises:
            ObjectExistsError: the key is taken; the old object is untouched.
            ChecksumMismatchError: `source` is shorter or longer than `size`, or its sha256 differs; nothing is kept.
        """

    @abstractmethod
    def stat(self, key: ObjectKey) -> StoredObject:
        """Return what is known of an object.

        Raises:
            ObjectMissingError: there is none.
        """

    @abstractmethod
    def read(
        self, key: ObjectKey, *, start: int = 0, length: int | None = None, etag: str | None = None
    ) -> Iterator[bytes]:
        """Yield the bytes from `start` on in blocks; the errors come at the first block or later.

        Raises:
            ObjectMissingError: there is none.
            ObjectChangedError: its entity tag is not `etag`.
        """

    @abstractmethod
    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield every object whose key begins with `prefix`, in key order; metadata may be left out."""

    @abstractmethod
    def delete(self, key: ObjectKey) -> None:
        """Remove an object; of nothing, it does nothing. Only gc calls it."""

    @abstractmethod
    def close(self) -> None:
        """Free what the store holds; a second call does nothing."""


class LocalFiles(Protocol):
    """The extra power of a store whose objects are files on this host."""

    __slots__ = ()

    @abstractmethod
    def path(self, key: ObjectKey) -> Path:
        """Return the object's file, to be opened read-only.

        Raises:
            ObjectMissingError: there is none.
        """


@attrs.frozen(kw_only=True)
class SignedRequest:
    """A request that whoever holds it may make until it expires."""

    method: str
    url: str = attrs.field(repr=False)
    """A bearer credential: never logged."""
    headers: Mapping[str, str]
    """To be sent exactly, each of them."""
    expires_at: datetime


class SignedUrls(Protocol):
    """The extra power to let a client talk to the store itself."""

    __slots__ = ()

    @property
    @abstractmethod
    def needs_size(self) -> bool:
        """Whether the store cannot cap an upload unless its exact size is signed."""

    @property
    @abstractmethod
    def max_put_bytes(self) -> int | None:
        """The largest single PUT, or None."""

    @abstractmethod
    def sign_put(
        self, key: ObjectKey, *, content_type: str, size: int | None, sha256: str | None, expires_in: timedelta
    ) -> SignedRequest:
        """Return a create-only PUT of exactly this type and, where given, size and sha256 (hex)."""

    @abstractmethod
    def sign_get(
        self, key: ObjectKey, *, filename: str, content_type: str, expires_in: timedelta, inline: bool = False
    ) -> SignedRequest:
        """Return a GET that serves the object as `content_type` under `filename` (RFC 6266, RFC 8187)."""


@attrs.frozen(kw_only=True)
class ReceivedPart:
    """A part that the store has taken."""

    number: int
    """From 1 on."""
    size_bytes: int
    etag: str


@attrs.frozen(kw_only=True)
class OpenUpload:
    """An upload in parts that is neither completed nor aborted."""

    key: str
    upload_id: str
    begun_at: datetime


class MultipartUploads(Protocol):
    """The extra power to take an object in parts that a client sends by itself.

    Every method that talks to the store raises `BackendUnavailableError` as those of `Storage` do.
    """

    __slots__ = ()

    @abstractmethod
    def start(self, key: ObjectKey, *, content_type: str) -> str:
        """Begin an upload and return the store's name of it; nothing lies under `key` before it is completed."""

    @abstractmethod
    def sign_part(
        self, key: ObjectKey, upload_id: str, number: int, *, size: int, expires_in: timedelta
    ) -> SignedRequest:
        """Return a PUT of exactly `size` bytes as this part; a second one replaces the first. Asks nobody."""

    @abstractmethod
    def parts(self, key: ObjectKey, upload_id: str) -> Sequence[ReceivedPart]:
        """Return what has arrived, by number.

        Raises:
            ObjectMissingError: there is no such upload, or no longer.
        """

    @abstractmethod
    def complete(self, key: ObjectKey, upload_id: str, parts: Sequence[ReceivedPart]) -> StoredObject:
        """Make one object of all `parts`; the upload ends with it. A repeat finds the object that was made.

        It may replace an object that was made since the caller looked: not every store has a conditional Complete.

        Raises:
            ObjectExistsError: the key is taken.
            ObjectMissingError: there is no such upload, or no longer, and no object.
            UploadMismatchError: the store does not take these parts; those it has stay.
        """

    @abstractmethod
    def abort(self, key: ObjectKey, upload_id: str) -> None:
        """End an upload and drop its parts; one that has ended stays as it is."""

    @abstractmethod
    def abandoned(self, prefix: str, before: datetime) -> Iterator[OpenUpload]:
        """Yield the open uploads under `prefix` that were begun before that time."""
