"""Objects as files in a folder."""

import hashlib
import os
import stat
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Self

from musproj.adapters.local.storage_errors import MISSING, missing, os_errors, store_error
from musproj.adapters.local.storage_publish import remove, settle
from musproj.adapters.local.storage_sidecar import read_sidecar
from musproj.adapters.local.storage_sweep import sweep
from musproj.adapters.local.storage_tree import FILE_FLAGS, StoreTree, is_key, key_parts, object_of
from musproj.adapters.local.storage_writer import ObjectWriter
from musproj.domain.keys import ObjectKey
from musproj.errors import (
    ChecksumMismatchError,
    ConfigurationError,
    ObjectChangedError,
    ObjectMissingError,
)
from musproj.ports.storage import BLOCK_BYTES, LocalFiles, Storage, StoredObject

_REMEMBERED = 4096


class LocalStorage(Storage, LocalFiles):
    """Immutable objects below one folder of this host; its entity tags are the sha256 of the bytes.

    Threads and processes may share the folder; a network file system may not hold it, since its locks and its
    `fsync` promise less. A file that was put there by hand is an object too: it is hashed when it is looked at.
    """

    __slots__ = ("_hashes", "_tree")

    def __init__(self, root: Path) -> None:
        """Open `root`, made where it is missing, and remove what dead processes left in it over a day ago.

        Raises:
            BackendUnavailableError: the folder can be neither made nor opened.
        """
        with os_errors("open its folder"):
            self._tree = StoreTree(root)
        # A disk that was mounted read-only must still be readable.
        with suppress(OSError):
            sweep(self._tree)
        self._hashes: dict[tuple[int, ...], str] = {}

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Open what `file:<dir>` names.

        Raises:
            ConfigurationError: the URL is wrong.
            BackendUnavailableError: the folder can be neither made nor opened.
        """
        scheme, _, rest = url.partition(":")
        path = rest.removeprefix("//")
        if scheme != "file" or not path:
            raise ConfigurationError(f"{url!r} names no folder.", hint="Write it like file:./musproj-data/objects.")
        return cls(Path(path).expanduser())

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
        """Write a temporary file, bring it to the disk, then link it to its name."""
        with self.writer(key, expected=size) as writer:
            while writer.size_bytes <= size and (block := source.read(min(BLOCK_BYTES, size + 1 - writer.size_bytes))):
                writer.write(block)
            if writer.size_bytes != size:
                found = "more" if writer.size_bytes > size else str(writer.size_bytes)
                raise ChecksumMismatchError(f"{key}: {size} bytes were announced, {found} came.", key=key)
            if sha256 is not None and writer.sha256 != sha256.lower():
                raise ChecksumMismatchError(f"{key}: the bytes have sha256 {writer.sha256}, not {sha256}.", key=key)
            return writer.publish(content_type=content_type, metadata=metadata)

    def writer(self, key: str, *, expected: int | None) -> ObjectWriter:
        """Start an object that comes block by block.

        Raises:
            InvalidError: `key` is none.
            ObjectExistsError: it is taken already.
            StorageFullError: there is no room for `expected` bytes.
        """
        return ObjectWriter(self._tree, key_parts(key), expected=expected)

    def stat(self, key: ObjectKey) -> StoredObject:
        """Read the sidecar; hash the file where that is missing or tells of another one."""
        parts = key_parts(key)
        with self._opened(parts) as (fd, facts), os_errors("look at an object"):
            if facts.st_nlink > 1:
                # Its draft has not been removed: its writer may not have brought the name to the disk yet, and
                # what is recorded now, a confirmed upload perhaps, must not outlive the object.
                settle(self._tree, parts)
            return self._describe(parts, fd, facts)

    def read(
        self, key: ObjectKey, *, start: int = 0, length: int | None = None, etag: str | None = None
    ) -> Iterator[bytes]:
        """Open the file when the first block is asked for, and read it to the end even if it is deleted meanwhile."""
        parts = key_parts(key)
        with self._opened(parts) as (fd, facts):
            if etag is not None:
                with os_errors("look at an object"):
                    found = self._describe(parts, fd, facts).etag
                if found != etag:
                    raise ObjectChangedError(f"{key} has the entity tag {found}, not {etag}.", key=key)
            position, end = start, facts.st_size if length is None else min(start + length, facts.st_size)
            while position < end:
                with os_errors("read an object"):
                    block = os.pread(fd, min(BLOCK_BYTES, end - position), position)
                if not block:
                    raise ObjectChangedError(f"{key} became shorter while it was read.", key=key)
                position += len(block)
                yield block

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Walk the folders; of each one the names are sorted, so that the keys come in order."""
        above = prefix.rpartition("/")[0]
        if above and not is_key(above):
            return
        for parts in self._walk(tuple(above.split("/")) if above else (), prefix):
            try:
                with self._opened(parts) as (fd, facts), os_errors("look at an object"):
                    stored = self._describe(parts, fd, facts)
            except ObjectMissingError:
                continue  # deleted since its folder was read
            yield stored

    def delete(self, key: ObjectKey) -> None:
        """Remove the file, then its sidecar, then the folders that this leaves empty."""
        parts = key_parts(key)
        with os_errors("delete an object"):
            try:
                remove(self._tree, parts)
            except OSError as exc:
                if exc.errno not in MISSING:
                    raise

    def path(self, key: ObjectKey) -> Path:
        """Return where the file lies."""
        parts = key_parts(key)
        with self._opened(parts):
            return self._tree.root.joinpath(*parts)

    def probe(self) -> None:
        """Write and remove a file, as a check of readiness.

        Raises:
            BackendUnavailableError: the folder cannot be written.
            StorageFullError: there is no room.
        """
        with os_errors("write to its folder"):
            name = f"probe-{uuid.uuid4().hex}"
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | FILE_FLAGS, dir_fd=self._tree.temporary_fd)
            try:
                os.write(fd, b"probe")
            finally:
                os.close(fd)
                os.unlink(name, dir_fd=self._tree.temporary_fd)

    def close(self) -> None:
        """Close the folder."""
        self._tree.close()

    # ── steps ──

    @contextmanager
    def _opened(self, parts: Sequence[str]) -> Generator[tuple[int, os.stat_result], None, None]:
        """Open the object's file; anything but a regular file is no object."""
        with ExitStack() as stack:
            try:
                fd = stack.enter_context(self._tree.file(parts))
                facts = os.fstat(fd)
            except OSError as exc:
                if exc.errno in MISSING:
                    raise missing(object_of(parts)) from exc
                raise store_error("open an object", exc) from exc
            if not stat.S_ISREG(facts.st_mode):
                raise missing(object_of(parts))
            yield fd, facts

    def _describe(self, parts: Sequence[str], fd: int, facts: os.stat_result) -> StoredObject:
        sidecar = read_sidecar(self._tree, parts)
        if sidecar is not None and sidecar.size_bytes != facts.st_size:
            sidecar = None  # the file was edited by hand: the new bytes get a new entity tag
        sha256 = sidecar.sha256 if sidecar else self._hash(fd, facts)
        return StoredObject(
            key=object_of(parts),
            size_bytes=facts.st_size,
            etag=sha256,
            sha256=sha256,
            content_type=sidecar.content_type if sidecar else None,
            metadata=sidecar.metadata if sidecar else {},
            modified_at=datetime.fromtimestamp(facts.st_mtime, UTC),
        )

    def _hash(self, fd: int, facts: os.stat_result) -> str:
        """Return the sha256 of a file, remembered as long as it looks the same."""
        look = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)
        known = self._hashes.get(look)
        if known is None:
            known = _hash_of(fd)
            if len(self._hashes) >= _REMEMBERED:
                self._hashes.clear()
            self._hashes[look] = known
        return known

    def _walk(self, folder: tuple[str, ...], prefix: str) -> Iterator[tuple[str, ...]]:
        # "a.wav" < "a/b" < "a0": a folder sorts as if its name ended with the slash that follows it in a key.
        for name in sorted(self._names(folder)):
            parts = (*folder, name.rstrip("/"))
            path = "/".join(parts)
            if name.endswith("/"):
                if f"{path}/".startswith(prefix) or prefix.startswith(f"{path}/"):
                    yield from self._walk(parts, prefix)
            elif path.startswith(prefix) and is_key(path):
                yield parts

    def _names(self, folder: tuple[str, ...]) -> Sequence[str]:
        """Return the names in a folder that may be part of a key; those of folders end with a slash."""
        try:
            with self._tree.folder(folder) as fd, os.scandir(fd) as entries:
                return [
                    entry.name + "/" * entry.is_dir(follow_symlinks=False)
                    for entry in entries
                    if is_key(entry.name) and not entry.is_symlink()
                ]
        except OSError as exc:
            if exc.errno in MISSING:
                return ()
            raise store_error("list its objects", exc) from exc


def _hash_of(fd: int) -> str:
    digest = hashlib.sha256()
    position = 0
    while block := os.pread(fd, BLOCK_BYTES, position):
        digest.update(block)
        position += len(block)
    return digest.hexdigest()
