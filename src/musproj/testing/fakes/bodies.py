"""Bodies, read block by block: by length or chunked, plain or multipart."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO

import attrs

from musproj.testing.fakes.exchange import Body, Part

BLOCK_BYTES = 256 * 1024
HEAD_BYTES = 64 * 1024
_LONGEST_PART_HEADER = 16 * 1024


class TooLargeError(Exception):
    """A body is larger than what may be kept."""


class Collector:
    """Takes bytes, and tells what they were."""

    def __init__(self, *, keep: bool, limit: int) -> None:
        """Keep all bytes up to `limit`, or only the first ones."""
        self._keep, self._limit = keep, limit
        self._digest = hashlib.sha256()
        self._length = 0
        self._kept = bytearray()

    def feed(self, block: bytes) -> None:
        """Take a block.

        Raises:
            TooLargeError: it is kept, and gets too large.
        """
        self._digest.update(block)
        self._length += len(block)
        if self._keep and self._length > self._limit:
            raise TooLargeError
        room = len(block) if self._keep else HEAD_BYTES - len(self._kept)
        if room > 0:
            self._kept += block[:room]

    def body(self) -> Body:
        """Return what has been fed."""
        kept = bytes(self._kept)
        return Body(
            length=self._length,
            sha256=self._digest.hexdigest(),
            head=kept[:HEAD_BYTES],
            content=kept if self._length == len(kept) else None,
        )


class Multipart:
    """A multipart form that is read as it comes in (RFC 2046 §5.1)."""

    def __init__(self, boundary: bytes, *, keep: bool, limit: int) -> None:
        """Split at `boundary`; a file is kept where `keep` says so, a field always."""
        self._delimiter = b"\r\n--" + boundary
        self._keep, self._limit = keep, limit
        self._rest = b"\r\n"  # the first delimiter has no line before it
        self._name: str | None = None
        self._filename: str | None = None
        self._collector: Collector | None = None
        self._seen_first = False
        self.parts: dict[str, Part] = {}

    def feed(self, block: bytes) -> None:
        """Take a block of the form."""
        self._rest += block
        while self._step():
            pass

    def _step(self) -> bool:
        if self._seen_first and self._collector is None:
            return self._open()
        at = self._rest.find(self._delimiter)
        if at < 0:
            keep_back = len(self._delimiter) - 1  # it may begin at the end of this block
            self._pass_on(self._rest[:-keep_back])
            self._rest = self._rest[-keep_back:]
            return False
        self._pass_on(self._rest[:at])
        self._close()
        self._rest = self._rest[at + len(self._delimiter) :]
        self._seen_first = True
        return True

    def _open(self) -> bool:
        end = self._rest.find(b"\r\n\r\n")
        if end < 0 or self._rest.startswith(b"--"):
            self._rest = self._rest[:_LONGEST_PART_HEADER]
            return False
        head = self._rest[:end].decode("utf-8", "replace")
        name = re.search(r'[;\s]name="([^"]*)"', head)
        filename = re.search(r'filename="([^"]*)"', head)
        self._name = name[1] if name else ""
        self._filename = filename[1] if filename else None
        self._collector = Collector(keep=self._keep or filename is None, limit=self._limit)
        self._rest = self._rest[end + 4 :]
        return True

    def _pass_on(self, block: bytes) -> None:
        if self._collector is not None:
            self._collector.feed(block)

    def _close(self) -> None:
        if self._collector is not None and self._name is not None:
            self.parts[self._name] = Part(body=self._collector.body(), filename=self._filename)
        self._collector = None


@attrs.frozen(kw_only=True)
class Reader:
    """Reads the body of one request."""

    stream: BinaryIO
    headers: Mapping[str, str]
    """Names in lower case."""
    keep: bool = True
    limit: int

    @property
    def declared(self) -> int:
        """The length that the client tells; 0 where it does not."""
        return int(self.headers.get("content-length") or 0)

    def read(self) -> tuple[Body, dict[str, Part]]:
        """Return the body and the parts of it.

        Raises:
            TooLargeError: it is to be kept, and too large.
        """
        content_type = self.headers.get("content-type", "")
        found = re.search(r'boundary="?([^";]+)', content_type) if content_type.startswith("multipart/") else None
        keep = found is None and (self.keep or "json" in content_type or "urlencoded" in content_type)
        if self.declared > self.limit and (keep or self.keep):
            raise TooLargeError
        whole = Collector(keep=keep, limit=self.limit)
        form = Multipart(found[1].encode(), keep=self.keep, limit=self.limit) if found else None
        for block in self.blocks():
            whole.feed(block)
            if form is not None:
                form.feed(block)
        return whole.body(), form.parts if form else {}

    def blocks(self) -> Iterable[bytes]:
        """Return the body, block by block."""
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            return self._chunks()
        return self._run_of(self.declared)

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.stream.readline().split(b";")[0], 16):
            yield from self._run_of(size)
            self.stream.readline()
        while self.stream.readline().strip():
            pass  # a trailer

    def _run_of(self, left: int) -> Iterator[bytes]:
        while left > 0:
            block = self.stream.read(min(left, BLOCK_BYTES))
            if not block:
                raise ConnectionAbortedError
            left -= len(block)
            yield block
