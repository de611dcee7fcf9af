"""The folders of a store, reached part by part, so that no symbolic link inside the root leads out of it."""

import os
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from musproj.adapters.local.host import make_private
from musproj.adapters.local.storage_errors import MISSING
from musproj.domain.keys import ObjectKey, object_key
from musproj.errors import InvalidError, Violation

TEMPORARY = ".tmp"
"""Uploads under way; no key begins with a dot."""
SIDECARS = ".meta"
"""Metadata: for each key a file of its name, with `.json` behind."""

TRIES = 16
"""How often a folder may be pruned between being opened and being used."""

FILE_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | FILE_FLAGS

_Step = Callable[[int, str], int]
"""Opens the folder of that name in an open one."""

_RESERVED = re.compile(r"(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?|.*\.")
"""Names that Windows cannot hold, so that a data folder may move there (Microsoft, "Naming Files, Paths")."""


def key_parts(key: str) -> tuple[str, ...]:
    """Return the folders and the file name that `key` stands for.

    Raises:
        InvalidError: it breaks the grammar, or names a device of Windows.
    """
    parts = tuple(object_key(key).split("/"))
    if any(_RESERVED.fullmatch(part) for part in parts):
        raise InvalidError(
            violations=(Violation("/objectKey", "pattern", "a part is a reserved name or ends with a dot"),),
        )
    return parts


def is_key(text: str) -> bool:
    """Tell whether `text` is a key that this store takes."""
    try:
        key_parts(text)
    except InvalidError:
        return False
    return True


def sidecar_parts(parts: Sequence[str]) -> tuple[str, ...]:
    """Return where the metadata of the object at `parts` lies."""
    return (SIDECARS, *parts[:-1], f"{parts[-1]}.json")


class StoreTree:
    """The root folder, held open, and what lies below it."""

    __slots__ = ("root", "root_fd", "temporary_fd")

    def __init__(self, root: Path) -> None:
        make_private(root.absolute())
        self.root = root.resolve()
        self.root_fd = os.open(self.root, _FOLDER_FLAGS)
        try:
            with suppress(FileExistsError):
                os.mkdir(TEMPORARY, dir_fd=self.root_fd)
            self.temporary_fd = os.open(TEMPORARY, _FOLDER_FLAGS, dir_fd=self.root_fd)
        except BaseException:
            os.close(self.root_fd)
            raise

    def close(self) -> None:
        """Close both folders; a second call does nothing, and every later use fails."""
        # Forgotten first: a closed number may soon be another file's.
        opened = {self.root_fd, self.temporary_fd} - {-1}
        self.root_fd = self.temporary_fd = -1
        for fd in opened:
            os.close(fd)

    @contextmanager
    def folder(self, parts: Sequence[str]) -> Generator[int, None, None]:
        """Open a folder that is there.

        Raises:
            OSError: one of `MISSING` where it is not.
        """
        with _closing(self._down(parts, _enter)) as fd:
            yield fd

    @contextmanager
    def made_folder(self, parts: Sequence[str], *, durable: bool) -> Generator[int, None, None]:
        """Open a folder, made where it is missing; where `durable`, new ones survive a loss of power."""
        with _closing(self._made(parts, _enter_made_durably if durable else _enter_made)) as fd:
            yield fd

    @contextmanager
    def file(self, parts: Sequence[str]) -> Generator[int, None, None]:
        """Open a file for reading, whatever it is: the caller looks whether it is a regular one.

        Raises:
            OSError: one of `MISSING` where it is not there.
        """
        with self.folder(parts[:-1]) as folder:
            # Without O_NONBLOCK a named pipe would hold the thread.
            fd = os.open(parts[-1], os.O_RDONLY | os.O_NONBLOCK | FILE_FLAGS, dir_fd=folder)
        with _closing(fd):
            yield fd

    def look(self, parts: Sequence[str]) -> os.stat_result | None:
        """Return what bears this name, be it a dangling link, or None.

        Raises:
            OSError: the disk failed.
        """
        try:
            with self.folder(parts[:-1]) as folder:
                return os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
        except OSError as exc:
            if exc.errno in MISSING:
                return None
            raise

    def prune(self, parts: Sequence[str]) -> None:
        """Remove empty folders upwards from `parts`, but for the first one below the root."""
        for depth in range(len(parts), 1, -1):
            try:
                with self.folder(parts[: depth - 1]) as above:
                    os.rmdir(parts[depth - 1], dir_fd=above)
            except OSError:
                return

    def _made(self, parts: Sequence[str], step: _Step) -> int:
        # A delete elsewhere may prune a new folder before there is anything in it; then it is made again.
        for _ in range(TRIES):
            with suppress(FileNotFoundError):
                return self._down(parts, step)
        return self._down(parts, step)

    def _down(self, parts: Sequence[str], step: _Step) -> int:
        fd = os.open(".", _FOLDER_FLAGS, dir_fd=self.root_fd)
        try:
            for part in parts:
                below = step(fd, part)
                os.close(fd)
                fd = below
        except BaseException:
            os.close(fd)
            raise
        return fd


def object_of(parts: Sequence[str]) -> ObjectKey:
    """Return the key of the object at `parts`."""
    return ObjectKey("/".join(parts))


def _enter(fd: int, part: str) -> int:
    return os.open(part, _FOLDER_FLAGS, dir_fd=fd)


def _enter_made(fd: int, part: str) -> int:
    try:
        return _enter(fd, part)
    except FileNotFoundError:
        with suppress(FileExistsError):
            os.mkdir(part, dir_fd=fd)
        return _enter(fd, part)


def _enter_made_durably(fd: int, part: str) -> int:
    try:
        return _enter(fd, part)
    except FileNotFoundError:
        below = _enter_made(fd, part)
    try:
        os.fsync(fd)
    except BaseException:
        os.close(below)
        raise
    return below


@contextmanager
def _closing(fd: int) -> Generator[int, None, None]:
    try:
        yield fd
    finally:
        os.close(fd)
