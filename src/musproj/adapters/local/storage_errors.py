"""What the operating system says about a file, in musproj's words."""

import errno
from collections.abc import Generator
from contextlib import contextmanager

from musproj.domain.keys import ObjectKey
from musproj.errors import BackendUnavailableError, ObjectMissingError, StorageFullError, UnavailableError

MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""No such object. ELOOP and ENOTDIR are what O_NOFOLLOW answers to a symbolic link."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_HINTS = {
    errno.EROFS: "The folder is mounted read-only: look at the disk, then mount it writable again.",
    errno.EACCES: "The process may not use this folder: check its owner and mode.",
    errno.EPERM: "The process may not use this folder: check its owner and mode.",
    errno.EMFILE: "Too many open files: raise the limit (ulimit -n).",
    errno.ENFILE: "Too many open files on this host.",
    errno.EIO: "The disk reports an error: look at the kernel's log.",
}


@contextmanager
def os_errors(action: str) -> Generator[None, None, None]:
    """Raise what goes wrong inside as an error of the store.

    Raises:
        StorageFullError: no room, or over a quota or a limit of the file's size.
        BackendUnavailableError: anything else that the operating system refuses.
    """
    try:
        yield
    except OSError as exc:
        raise store_error(action, exc) from exc


def store_error(action: str, exc: OSError) -> UnavailableError:
    """Return the error that stands for `exc`; its text names no path."""
    kind = StorageFullError if exc.errno in _FULL else BackendUnavailableError
    reason = exc.strerror or type(exc).__name__
    return kind(f"The store cannot {action}: {reason}.", hint=_HINTS.get(exc.errno or 0), errno=exc.errno)


def missing(key: ObjectKey) -> ObjectMissingError:
    """Return the error of a key without an object."""
    return ObjectMissingError(f"There is no object {key}.", key=key)
