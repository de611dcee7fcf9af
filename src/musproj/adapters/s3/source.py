"""The bytes of an upload on their way out: counted, hashed, and held back where they are not what was announced."""

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

from musproj.domain.keys import ObjectKey
from musproj.errors import ChecksumMismatchError
from musproj.ports.storage import BLOCK_BYTES


class SourceError(Exception):
    """Reading the source failed; its cause tells. No `OSError`, which a library would take for the network's."""


class Source:
    """A body that leaves whole or not at all: the last block is sent only when everything is right."""

    __slots__ = ("_begin", "_digest", "_file", "_key", "_sha256", "_size")

    def __init__(self, key: ObjectKey, file: BinaryIO, *, size: int, sha256: str | None) -> None:
        """Read `file` from where it stands."""
        self._key = key
        self._file = file
        self._size = size
        self._sha256 = sha256.lower() if sha256 else None
        self._begin = file.tell() if file.seekable() else None
        self._digest = hashlib.sha256()

    @property
    def is_repeatable(self) -> bool:
        """Whether it can be read a second time."""
        return self._begin is not None

    def blocks(self) -> Iterator[bytes]:
        """Yield it from the start.

        Raises:
            ChecksumMismatchError: shorter or longer than announced, or other bytes; before the last block.
            SourceError: it cannot be read.
        """
        if self._begin is not None:
            self._file.seek(self._begin)
        self._digest = hashlib.sha256()
        left = self._size
        while left > BLOCK_BYTES:
            block = self._read(BLOCK_BYTES)
            self._hash(block)
            left -= len(block)
            if len(block) < BLOCK_BYTES:
                raise self._mismatch(self._size - left)
            yield block
        yield from self._last(left)

    def _last(self, left: int) -> Iterator[bytes]:
        block = self._read(left + 1)
        if len(block) != left:
            raise self._mismatch(None if len(block) > left else self._size - left + len(block))
        self._hash(block)
        if self._sha256 is not None and (found := self._digest.hexdigest()) != self._sha256:
            text = f"{self._key}: the bytes have sha256 {found}, not {self._sha256}."
            raise ChecksumMismatchError(text, key=self._key)
        if block:
            yield block

    def _hash(self, block: bytes) -> None:
        if self._sha256 is not None:
            self._digest.update(block)

    def _read(self, size: int) -> bytes:
        """Return `size` bytes, or what is left."""
        try:
            block = self._file.read(size)
            if len(block) in (0, size):
                return block
            # A pipe or a socket gives what it has.
            gathered = bytearray(block)
            while len(gathered) < size and (piece := self._file.read(size - len(gathered))):
                gathered += piece
        except Exception as exc:
            raise SourceError from exc
        return bytes(gathered)

    def _mismatch(self, found: int | None) -> ChecksumMismatchError:
        told = "more" if found is None else str(found)
        return ChecksumMismatchError(f"{self._key}: {self._size} bytes were announced, {told} came.", key=self._key)
