"""The sha256 of what comes in blocks."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from musproj.ports.storage import BLOCK_BYTES


def sha256_of(blocks: Iterable[bytes], keep: Callable[[bytes], object] | None = None) -> str:
    """Return the lower-case hex digest of `blocks`; each is given to `keep` on its way."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
        if keep is not None:
            keep(block)
    return digest.hexdigest()


def blocks_of(path: Path, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Yield a file's content, `size` bytes at a time."""
    with path.open("rb") as source:
        while block := source.read(size):
            yield block
