"""A storage of your own in one file: objects as rows of a SQLite file, `blobs:<path>`.

It passes the conformance suite that musproj ships (see tests/docs/test_blob_storage.py, five lines). To have it
chosen by `MUSPROJ_STORAGE=blobs:objects.db`, put it into a package and declare the entry point

    [project.entry-points."musproj.storage"]
    blobs = "your_package.blob_storage:open_storage"

It has no signed URLs, so it serves programs that embed musproj and upload with `mp.uploads.put_file`.
"""

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from musproj.domain.keys import ObjectKey, object_key
from musproj.errors import (
    BackendUnavailableError,
    ChecksumMismatchError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectMissingError,
    StorageFullError,
)
from musproj.ports.plugin import OpenedStorage, PluginContext
from musproj.ports.storage import BLOCK_BYTES, Storage, StoredObject

SCHEMA = """
CREATE TABLE IF NOT EXISTS object(key TEXT PRIMARY KEY, size INT, sha256 TEXT, content_type TEXT, metadata TEXT, at INT);
CREATE TABLE IF NOT EXISTS block(key TEXT, n INT, data BLOB, PRIMARY KEY(key, n)) WITHOUT ROWID;
"""
COLUMNS = "key, size, sha256, content_type, metadata, at"


class BlobStorage(Storage):
    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        with self._database() as db:
            db.executescript(SCHEMA)

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
        object_key(key)
        with self._database() as db, _transaction(db):
            if db.execute("SELECT 1 FROM object WHERE key=?", (key,)).fetchone():
                raise ObjectExistsError(f"{key} is taken.", key=key)
            digest, written = hashlib.sha256(), 0
            for n, block in enumerate(_full_blocks(source)):
                digest.update(block)
                written += len(block)
                db.execute("INSERT INTO block VALUES(?, ?, ?)", (key, n, block))
            if written != size or sha256 not in (None, digest.hexdigest()):
                raise ChecksumMismatchError(f"{key}: got {written} bytes, {size} were announced.", key=key)
            row = (key, size, digest.hexdigest(), content_type, json.dumps(dict(metadata or {})), _now())
            db.execute("INSERT INTO object VALUES(?, ?, ?, ?, ?, ?)", row)
        return _stored(row)

    def stat(self, key: ObjectKey) -> StoredObject:
        with self._database() as db:
            row = db.execute(f"SELECT {COLUMNS} FROM object WHERE key=?", (key,)).fetchone()  # noqa: S608 - a constant
        if row is None:
            raise ObjectMissingError(f"No object {key}.", key=key)
        return _stored(row)

    def read(
        self, key: ObjectKey, *, start: int = 0, length: int | None = None, etag: str | None = None
    ) -> Iterator[bytes]:
        stored = self.stat(key)
        if etag not in (None, stored.etag):
            raise ObjectChangedError(f"{key} changed.", key=key)
        end = stored.size_bytes if length is None else min(start + length, stored.size_bytes)
        while start < end:
            n, offset = divmod(start, BLOCK_BYTES)
            with self._database() as db:
                row = db.execute("SELECT data FROM block WHERE key=? AND n=?", (key, n)).fetchone()
            if row is None:
                raise ObjectMissingError(f"{key} was deleted while it was read.", key=key)
            block = row[0][offset : offset + end - start]
            yield block
            start += len(block)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        with self._database() as db:
            # No upper bound but the largest character: a prefix need not end where a part of a key does.
            rows = db.execute(
                f"SELECT {COLUMNS} FROM object WHERE key >= ? AND key < ? ORDER BY key",  # noqa: S608 - a constant
                (prefix, prefix + "\U0010ffff"),
            ).fetchall()
        yield from map(_stored, rows)

    def delete(self, key: ObjectKey) -> None:
        with self._database() as db, _transaction(db):
            db.execute("DELETE FROM block WHERE key=?", (key,))
            db.execute("DELETE FROM object WHERE key=?", (key,))

    def close(self) -> None:
        while self._opened:
            self._opened.pop().close()

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        try:
            if not hasattr(self._local, "db"):
                self._local.db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
                self._local.db.execute("PRAGMA synchronous=FULL")
                self._opened.append(self._local.db)
            yield self._local.db
        except sqlite3.Error as exc:
            if getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise StorageFullError(f"{self._path}: {exc}") from exc
            raise BackendUnavailableError(f"{self._path}: {exc}") from exc


def _full_blocks(source: BinaryIO) -> Iterator[bytes]:
    """Yield blocks that are all full but the last: a pipe or a socket hands out less than is asked for."""
    while block := source.read(BLOCK_BYTES):
        while len(block) < BLOCK_BYTES and (more := source.read(BLOCK_BYTES - len(block))):
            block += more
        yield block


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _now() -> int:
    return round(datetime.now(UTC).timestamp() * 1000)


def _stored(row: tuple[str, int, str, str, str, int]) -> StoredObject:
    key, size, sha256, content_type, metadata, at = row
    return StoredObject(
        key=ObjectKey(key),
        size_bytes=size,
        etag=sha256,
        sha256=sha256,
        content_type=content_type,
        metadata=json.loads(metadata),
        modified_at=datetime.fromtimestamp(at / 1000, UTC),
    )


def open_storage(url: str, context: PluginContext) -> OpenedStorage:
    context.data.mkdir(parents=True, exist_ok=True)
    return OpenedStorage(storage=BlobStorage(Path(url.removeprefix("blobs:"))))
