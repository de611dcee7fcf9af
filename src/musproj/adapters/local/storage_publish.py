"""The moment an object appears, or goes: always whole, always with its metadata, never in place of another.

Who publishes or removes a key holds a lock on the folder of its sidecar. So a sidecar without an object, seen under
the lock, was left by a process that died, and may be replaced. The kernel drops the lock of a dead process.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

import attrs

from musproj.adapters.local.storage_tree import TRIES, StoreTree, object_of, sidecar_parts
from musproj.errors import ObjectExistsError

_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""What link(2) answers on file systems without hard links (FAT, exFAT, some network and FUSE ones)."""


@attrs.frozen
class Draft:
    """Two complete files in the temporary folder, both on the disk."""

    content: str
    sidecar: str


def publish(tree: StoreTree, parts: Sequence[str], draft: Draft) -> None:
    """Give the draft its final names; the object is visible on return, and durable after `settle`.

    Raises:
        ObjectExistsError: the key is taken; the old object is untouched, and durable.
        OSError: it was not published, and nothing of it is left but the draft.
    """
    with _locked(tree, parts) as meta, tree.made_folder(parts[:-1], durable=True) as folder:
        _place_both(tree, parts, draft, meta, folder)


def settle(tree: StoreTree, parts: Sequence[str]) -> None:
    """Bring the object's name to the disk."""
    with tree.folder(parts[:-1]) as folder:
        os.fsync(folder)


def remove(tree: StoreTree, parts: Sequence[str]) -> None:
    """Remove an object, then its metadata, then the folders that are left empty; of nothing, do nothing."""
    beside = sidecar_parts(parts)
    there = tree.look(parts)
    if there is None and tree.look(beside) is None:
        return
    if there is not None and stat.S_ISDIR(there.st_mode):
        return  # the beginning of other keys
    with _locked(tree, parts) as meta:
        # The folder is missing where only a sidecar was left.
        with suppress(FileNotFoundError), tree.folder(parts[:-1]) as folder:
            os.unlink(parts[-1], dir_fd=folder)
            os.fsync(folder)
        with suppress(FileNotFoundError):
            os.unlink(beside[-1], dir_fd=meta)
        tree.prune(parts[:-1])
        tree.prune(beside[:-1])


def remove_orphan(tree: StoreTree, parts: Sequence[str]) -> None:
    """Remove the metadata of an object that never appeared."""
    beside = sidecar_parts(parts)
    if tree.look(parts) is not None or tree.look(beside) is None:
        return
    with _locked(tree, parts) as meta:
        if tree.look(parts) is None:
            with suppress(FileNotFoundError):
                os.unlink(beside[-1], dir_fd=meta)
        tree.prune(beside[:-1])


@contextmanager
def _locked(tree: StoreTree, parts: Sequence[str]) -> Generator[int, None, None]:
    """Hold the lock on the folder of the object's sidecar, whichever that is by the time it is free."""
    beside = sidecar_parts(parts)[:-1]
    for _ in range(TRIES):
        # Its loss in a power cut costs the metadata, not the object, and journals write it with the object's name,
        # which comes later: so it is not worth a flush of its own.
        with tree.made_folder(beside, durable=False) as meta:
            fcntl.flock(meta, fcntl.LOCK_EX)
            # Whoever held it before may have pruned the folder, and a third one made another.
            there = tree.look(beside)
            if there is not None and os.path.samestat(there, os.fstat(meta)):
                yield meta
                return
    raise OSError(errno.EBUSY, "its folder is removed again and again")


def _place_both(tree: StoreTree, parts: Sequence[str], draft: Draft, meta: int, folder: int) -> None:
    name, beside = parts[-1], sidecar_parts(parts)[-1]
    if _is_taken(folder, name):
        # Whoever put it may still be about to bring the name to the disk; the caller will rely on it.
        os.fsync(folder)
        raise taken(parts)
    with suppress(FileNotFoundError):
        os.unlink(beside, dir_fd=meta)
    _place(tree, draft.sidecar, meta, beside)
    try:
        _place(tree, draft.content, folder, name)
    except BaseException as exc:
        os.unlink(beside, dir_fd=meta)
        if isinstance(exc, FileExistsError):
            raise taken(parts) from exc
        raise


def _place(tree: StoreTree, temporary: str, folder: int, name: str) -> None:
    try:
        os.link(temporary, name, src_dir_fd=tree.temporary_fd, dst_dir_fd=folder)
    except OSError as exc:
        if exc.errno not in _NO_HARD_LINKS:
            raise
        # Nobody of ours can come between the look and the rename: the lock is held.
        if _is_taken(folder, name):
            raise FileExistsError(errno.EEXIST, "taken") from exc
        os.rename(temporary, name, src_dir_fd=tree.temporary_fd, dst_dir_fd=folder)


def _is_taken(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def taken(parts: Sequence[str]) -> ObjectExistsError:
    """Return the error of a key that has an object already."""
    key = object_of(parts)
    return ObjectExistsError(f"There is an object {key} already.", key=key)
