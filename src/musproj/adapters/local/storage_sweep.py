"""What dead processes left behind."""

import json
import logging
import os
import time
from contextlib import suppress

from musproj.adapters.local.storage_publish import remove_orphan
from musproj.adapters.local.storage_tree import FILE_FLAGS, StoreTree, key_parts
from musproj.errors import InvalidError
from musproj.ports.storage import BLOCK_BYTES

SWEEP_AGE_S = 86_400
"""No write for a day: nobody is at it any more. An upload's file is touched by each of its blocks."""

_log = logging.getLogger(__name__)


def sweep(tree: StoreTree) -> int:
    """Remove old temporary files, and the metadata of objects that never appeared; return how many files went.

    Raises:
        OSError: the folder cannot be read or written.
    """
    removed = 0
    oldest = time.time() - SWEEP_AGE_S
    with os.scandir(tree.temporary_fd) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        # Another process may sweep as well.
        with suppress(FileNotFoundError):
            if os.stat(name, dir_fd=tree.temporary_fd, follow_symlinks=False).st_mtime > oldest:
                continue
            if name.endswith(".json"):
                _remove_orphan_of(tree, name)
            os.unlink(name, dir_fd=tree.temporary_fd)
            removed += 1
    if removed:
        _log.info("Removed temporary files of the store", extra={"action": "store_swept", "count": removed})
    return removed


def _remove_orphan_of(tree: StoreTree, name: str) -> None:
    """Remove what the draft of a sidecar, itself a temporary file, may have been published as."""
    fd = os.open(name, os.O_RDONLY | FILE_FLAGS, dir_fd=tree.temporary_fd)
    try:
        content = os.pread(fd, BLOCK_BYTES, 0)
    finally:
        os.close(fd)
    # A draft that a full disk cut off was never published.
    with suppress(ValueError, TypeError, KeyError, InvalidError):
        remove_orphan(tree, key_parts(json.loads(content)["key"]))
