"""What SQLite reports, told as errors of musproj."""

import sqlite3
from pathlib import Path

from musproj.errors import BackendUnavailableError, ConfigurationError, InvalidError, MusProjError, StorageFullError

_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_REFUSED = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH})
_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
"""SQLITE_IOERR_SHMSIZE: the shared-memory file could not grow, which happens for want of room (sqlite.org/rescode.html)."""


def is_locked(exc: sqlite3.Error) -> bool:
    """Tell whether another process holds what was wanted, so that a repeat may succeed."""
    return _primary(exc) in _LOCKED


def is_full(exc: sqlite3.Error) -> bool:
    """Tell whether there was no room for a write."""
    return _code(exc) in _FULL or _primary(exc) in _FULL


def translated(exc: sqlite3.Error, path: Path) -> MusProjError:
    """Return the error to raise in place of `exc`; its text tells what to do."""
    primary = _primary(exc)
    if is_full(exc):
        return StorageFullError(
            f"There is no room left for {path}: {exc}.", hint="Free some space; nothing was lost.", path=str(path)
        )
    if primary in _LOCKED:
        return locked(path, waited=None)
    if primary in _DAMAGED:
        return damaged(path, str(exc))
    if primary in _REFUSED:
        return BackendUnavailableError(
            f"The database {path} cannot be opened or written: {exc}.",
            hint="Look at the owner and the permissions of the file and of its folder, which must be writable too.",
            path=str(path),
        )
    hint = "Look at the disk, its quota and the system's log." if primary == sqlite3.SQLITE_IOERR else None
    return BackendUnavailableError(f"The database {path} failed: {exc}.", hint=hint, path=str(path))


def locked(path: Path, *, waited: float | None) -> BackendUnavailableError:
    """Return the error of a lock that was not given up in time; `waited` is in seconds."""
    since = "" if waited is None else f" for {waited:.1f} s"
    return BackendUnavailableError(
        f"The database {path} is locked by another process{since}.",
        hint="Try again; if it lasts, look for a program that holds it open, such as a shell or a backup.",
        path=str(path),
    )


def damaged(path: Path, finding: str) -> BackendUnavailableError:
    """Return the error of a file whose pages make no sense."""
    return BackendUnavailableError(
        f"The database {path} is damaged: {finding}.",
        hint=(
            f"Stop every process that uses it and keep a copy of {path.name}, {path.name}-wal and {path.name}-shm. "
            "Then restore a backup, or save what is readable with: "
            f"sqlite3 {path.name} .recover | sqlite3 mended.db"
        ),
        path=str(path),
    )


def unopenable(exc: OSError, path: Path) -> MusProjError:
    """Return the error of a folder that cannot be made or read."""
    return ConfigurationError(
        f"The folder of the database {path} cannot be used: {exc.strerror or exc}.", path=str(path)
    )


def unstorable(exc: UnicodeEncodeError) -> InvalidError:
    """Return the error of a text that UTF-8 cannot hold."""
    return InvalidError(f"A text holds a lone surrogate ({exc.object[exc.start]!a}), which cannot be stored.")


def _code(exc: sqlite3.Error) -> int:
    # Errors that the module raises by itself (a closed connection, a bad parameter) carry no code.
    code: int = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code


def _primary(exc: sqlite3.Error) -> int:
    return _code(exc) & 0xFF
