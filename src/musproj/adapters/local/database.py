"""One SQLite file for the whole embedded deployment: assets, jobs and queue."""

import socket
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from musproj.adapters.local import schema
from musproj.adapters.local.connections import Connections, Seat
from musproj.adapters.local.faults import damaged, is_locked, locked, translated, unopenable, unstorable
from musproj.adapters.local.host import boot_id, make_private, network_file_system
from musproj.adapters.local.writer import Work, Writer
from musproj.domain.times import to_millis
from musproj.errors import BackendUnavailableError, ConfigurationError
from musproj.ports.clock import Clock
from musproj.ports.jobs import WORKER_LIFE

T = TypeVar("T")

PATIENCE_S = 5.0
"""How long a client's call waits for a lock that another process holds."""
MIN_SQLITE = (3, 35, 0)
"""With DROP COLUMN, which the contracting half of a migration needs; Debian 11 has 3.34, Debian 12 3.40."""
CACHE_KIB = 512
"""Per connection, that is per thread: a quarter of SQLite's default was as fast, and a server has 64 threads."""
LOG_BYTES = 64 << 20
"""What the log is cut to after a burst."""

_PAUSE_S = 0.001
_STATEMENTS = 256


class LocalDatabase:
    """An opened database file; usable from several threads and across a fork.

    Reads run on any thread without a lock. Writes are durable when they return; those of several threads share a
    transaction. Several processes of one host may have it open at once.
    """

    def __init__(self, path: Path) -> None:
        """Prepare the file at `path`; see `open`."""
        self._path = path
        self._connections = Connections(self._connect)
        self._writer = Writer(self._connections, path)
        self._connections.after_fork(self._writer.start_over)
        self._is_closed = False
        self._may_make = True

    @classmethod
    def open(cls, path: Path, *, clock: Clock) -> Self:
        """Open the file, made or brought up to the present schema where needed.

        Raises:
            ConfigurationError: it lies on a network file system, another host works on it, it is no database of
                ours, or SQLite is too old.
            SchemaTooNewError: a newer musproj wrote it.
            BackendUnavailableError: it is locked, damaged or not accessible.
        """
        _check_sqlite()
        try:
            path = path.resolve()
            _check_place(path)
            make_private(path.parent)
        except OSError as exc:
            raise unopenable(exc, path) from exc
        database = cls(path)
        try:
            if not database.read(schema.is_current):
                database.write(schema.bring_up, wakes=False)
            database._may_make = False
            database._check_host(clock)
        except BaseException:
            database._connections.close()
            raise
        return database

    @property
    def path(self) -> Path:
        """Where the file is, absolute."""
        return self._path

    @property
    def changes(self) -> int:
        """A number that grows when this process changes a record."""
        return self._writer.changes

    @property
    def chances(self) -> int:
        """A number that grows when this process may have given a worker something to do."""
        return self._writer.chances

    def read(self, query: Callable[[sqlite3.Connection], T], *, snapshot: bool = False) -> T:
        """Return what `query` reads; with `snapshot`, all its statements see one state.

        Raises:
            BackendUnavailableError: the file is locked, damaged or gone.
        """
        started = time.monotonic()
        while True:
            try:
                return self._query(query, snapshot=snapshot)
            except sqlite3.Error as exc:
                # A reader meets a lock only while another process recovers the log or closes as the last one.
                if not is_locked(exc):
                    raise translated(exc, self._path) from exc
                if time.monotonic() - started > PATIENCE_S:
                    raise locked(self._path, waited=time.monotonic() - started) from exc
            except UnicodeEncodeError as exc:
                raise unstorable(exc) from exc
            time.sleep(_PAUSE_S)

    def write(self, work: Work[T], *, wakes: bool = True, patience: float = PATIENCE_S) -> T:
        """Run `work` in one transaction that no other writer disturbs; durable on return.

        Args:
            work: Gets the connection; an error that it raises undoes all it did. It must not call the database.
            wakes: Whether it may give a worker something to do.
            patience: Seconds to wait for a lock that another process holds.

        Raises:
            BackendUnavailableError: the file is locked, damaged or gone.
            StorageFullError: the disk is full; nothing was kept.
            InvalidError: a text has a character that cannot be stored.
        """
        try:
            return self._writer.run(work, wakes=wakes, patience=patience)
        except UnicodeEncodeError as exc:
            raise unstorable(exc) from exc

    def data_version(self) -> tuple[int, int]:
        """Return a value that differs from the last one of this thread where another connection committed.

        Raises:
            BackendUnavailableError: the file is damaged or gone.
        """
        try:
            seat = self._connections.enter()
            try:
                assert seat.connection is not None
                return seat.generation, seat.connection.execute("PRAGMA data_version").fetchone()[0]
            finally:
                self._connections.leave(seat)
        except sqlite3.Error as exc:
            raise translated(exc, self._path) from exc

    def check(self) -> str:
        """Look at the integrity of the whole file; return a sentence about it.

        Raises:
            BackendUnavailableError: it is damaged; the text tells what to do.
        """
        rows = self.read(lambda connection: connection.execute("PRAGMA integrity_check(1)").fetchall())
        if rows != [("ok",)]:
            raise damaged(self._path, rows[0][0])
        return f"{self._path} is in order (SQLite {sqlite3.sqlite_version}, schema {schema.CURRENT})."

    def close(self) -> None:
        """Close every connection and fold the log into the file; a second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        # Busy processes beside this one, or a full disk, keep the log beside the file, which is no fault.
        with suppress(sqlite3.Error, BackendUnavailableError):
            self._query(self._writer.checkpoint)
        self._connections.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _query(self, query: Callable[[sqlite3.Connection], T], *, snapshot: bool = False) -> T:
        seat = self._connections.enter()
        try:
            return _read(seat, query, snapshot=snapshot)
        finally:
            self._connections.leave(seat)

    def _connect(self) -> sqlite3.Connection:
        # Once it is there, a file that is missing was moved away: an empty one in its place would answer for it.
        mode = "rwc" if self._may_make else "rw"
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode={mode}",
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS,
        )
        try:
            _set_up(connection, self._path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_host(self, clock: Clock) -> None:
        since = to_millis(clock.now() - WORKER_LIFE)
        other = self.read(
            lambda connection: connection.execute(
                "SELECT host, id FROM worker WHERE seen_at > ? AND boot <> ? AND host <> ? LIMIT 1",
                (since, boot_id(), socket.gethostname()),
            ).fetchone()
        )
        if other is not None:
            raise ConfigurationError(
                f"A worker of another machine, {other[0]!r}, is working on {self._path}.",
                hint="One SQLite file serves one machine. Stop that worker, or use another data folder.",
                host=other[0],
                worker=other[1],
            )


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise ConfigurationError(
            f"SQLite keeps {path} in mode {mode!r}, not as a write-ahead log.",
            hint="Put the data folder on a local disk.",
        )
    connection.execute("PRAGMA synchronous=FULL")
    # On macOS an fsync reaches the platter only with this; elsewhere it does nothing.
    connection.execute("PRAGMA fullfsync=ON")
    connection.execute("PRAGMA wal_autocheckpoint=0")  # see Writer.checkpoint
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")


def _read(seat: Seat, query: Callable[[sqlite3.Connection], T], *, snapshot: bool) -> T:
    connection = seat.connection
    assert connection is not None
    if not snapshot or connection.in_transaction:
        return query(connection)
    connection.execute("BEGIN")
    try:
        return query(connection)
    finally:
        with suppress(sqlite3.Error):  # where the query failed, its own error is the one to tell
            connection.execute("ROLLBACK")


def _check_sqlite() -> None:
    if sqlite3.sqlite_version_info < MIN_SQLITE:
        wanted = ".".join(map(str, MIN_SQLITE))
        raise ConfigurationError(
            f"SQLite {sqlite3.sqlite_version} is too old; musproj needs {wanted}.",
            hint="Use a Python that was built with a newer one.",
        )


def _check_place(path: Path) -> None:
    kind = network_file_system(path)
    if kind is not None:
        raise ConfigurationError(
            f"{path} lies on a network file system ({kind}), where SQLite's locks and shared memory do not hold.",
            hint="Put the data folder on a local disk.",
        )
