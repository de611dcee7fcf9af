"""One object on its way into the store."""

import errno
import hashlib
import os
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from musproj.adapters.local.storage_errors import os_errors, store_error
from musproj.adapters.local.storage_publish import Draft, publish, settle, taken
from musproj.adapters.local.storage_sidecar import Sidecar
from musproj.adapters.local.storage_tree import FILE_FLAGS, StoreTree, object_of
from musproj.errors import BackendUnavailableError, InvalidError, ObjectExistsError, StorageFullError, Violation
from musproj.ports.storage import StoredObject

_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | FILE_FLAGS


class ObjectWriter:
    """Blocks go into a temporary file, which is published whole or dropped; for one thread at a time.

    Use it in a `with`: what was not published is dropped at its end.
    """

    __slots__ = ("_digest", "_draft", "_fd", "_parts", "_tree", "size_bytes")

    def __init__(self, tree: StoreTree, parts: Sequence[str], *, expected: int | None) -> None:
        """Start with nothing; `expected` bytes must have room.

        Raises:
            ObjectExistsError: the key is taken already.
            StorageFullError: `expected` is more than is free.
            BackendUnavailableError: the folder cannot be written.
        """
        self.size_bytes = 0
        self._tree, self._parts = tree, tuple(parts)
        self._digest = hashlib.sha256()
        stem = uuid.uuid4().hex
        self._draft = Draft(content=stem, sidecar=f"{stem}.json")
        self._fd = -1
        with os_errors("take a new object"):
            self._refuse_taken()
            self._refuse_full(expected)
            self._fd = os.open(stem, _WRITE_FLAGS, 0o444, dir_fd=tree.temporary_fd)

    @property
    def sha256(self) -> str:
        """The hash of what was written so far, in hex."""
        return self._digest.hexdigest()

    def write(self, block: bytes) -> None:
        """Append `block`.

        Raises:
            StorageFullError: no room; nothing is kept.
            BackendUnavailableError: the disk failed; nothing is kept.
        """
        self._digest.update(block)
        try:
            with os_errors("write an object"):
                _write_all(self._fd, block)
        except BaseException:
            self.discard()
            raise
        self.size_bytes += len(block)

    def publish(self, *, content_type: str, metadata: Mapping[str, str] | None = None) -> StoredObject:
        """Make the object appear, durable on return.

        Raises:
            ObjectExistsError: the key is taken; nothing is kept.
            StorageFullError: no room; nothing is kept.
            BackendUnavailableError: the disk failed; the object may be there or not.
        """
        stored = StoredObject(
            key=object_of(self._parts),
            size_bytes=self.size_bytes,
            etag=self.sha256,
            sha256=self.sha256,
            content_type=content_type,
            metadata=dict(metadata or {}),
            modified_at=datetime.fromtimestamp(os.fstat(self._fd).st_mtime, UTC),
        )
        try:
            with os_errors("publish an object"):
                os.fsync(self._fd)
                self._write_sidecar(stored, content_type)
                self._place()
            self._settle()
        finally:
            self.discard()
        return stored

    def discard(self) -> None:
        """Drop the temporary files; after `publish` or a second time it does nothing."""
        if self._fd == -1:
            return
        fd, self._fd = self._fd, -1
        os.close(fd)
        for name in (self._draft.content, self._draft.sidecar):
            # What cannot be removed now is swept a day later.
            with suppress(OSError):
                os.unlink(name, dir_fd=self._tree.temporary_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def _refuse_taken(self) -> None:
        if self._tree.look(self._parts) is not None:
            with suppress(FileNotFoundError):
                settle(self._tree, self._parts)
            raise taken(self._parts)

    def _refuse_full(self, expected: int | None) -> None:
        """Refuse at once what would fill the disk, which the database may share."""
        disk = os.fstatvfs(self._tree.temporary_fd)
        if expected is not None and disk.f_bavail * disk.f_frsize < expected:
            raise StorageFullError(f"{expected} bytes are more than the disk has room for.", size=expected)

    def _write_sidecar(self, stored: StoredObject, content_type: str) -> None:
        sidecar = Sidecar(
            key=stored.key,
            size_bytes=stored.size_bytes,
            sha256=stored.etag,
            content_type=content_type,
            metadata=stored.metadata,
        )
        fd = os.open(self._draft.sidecar, _WRITE_FLAGS, 0o666, dir_fd=self._tree.temporary_fd)
        try:
            _write_all(fd, sidecar.encode())
            os.fsync(fd)
        finally:
            os.close(fd)

    def _place(self) -> None:
        try:
            publish(self._tree, self._parts, self._draft)
        except NotADirectoryError as exc:
            key = object_of(self._parts)
            raise ObjectExistsError(f"A part of {key} is an object, so it can be no folder.", key=key) from exc
        except OSError as exc:
            if exc.errno != errno.ENAMETOOLONG:
                raise
            raise InvalidError(
                violations=(Violation("/objectKey", "length", "a part is longer than this file system takes"),)
            ) from exc

    def _settle(self) -> None:
        """Bring the name to the disk; from here on the object is there, whatever happens."""
        try:
            settle(self._tree, self._parts)
        except FileNotFoundError:
            return  # deleted already, which is as durable as it gets
        except OSError as exc:
            error = store_error("bring a new object's name to the disk", exc)
            raise BackendUnavailableError(error.message, hint=error.hint, **error.facts) from exc


def _write_all(fd: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(fd, view) :]
