"""How a stored file is served: conditions and one range (RFC 9110, sections 13 and 14), then its blocks."""

import asyncio
import errno
import os
import re
from collections.abc import Mapping
from functools import partial

import attrs
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from musproj.http.store_hops import Run, hop
from musproj.ports.gate import GateRefusedError, GetGrant

READ_BYTES = 256 * 1024
"""One read off the loop; a download holds two such blocks in memory."""

CACHE = "private, max-age=86400, immutable"
"""The bytes under a key never change; who may see them does, so that no shared cache may keep them."""

_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)
_PATHSEND = "http.response.pathsend"


class RangeRefusedError(GateRefusedError):
    """The range lies outside of the object, or there is more than one."""

    def __init__(self, size: int) -> None:
        """Keep the object's size, which the answer tells."""
        super().__init__(416, "InvalidRange", "The requested range is not satisfiable: ask for one range inside it.")
        self.size = size


@attrs.frozen(kw_only=True)
class FileAnswer:
    """What to answer, and the bytes from `start` to `end` of the open file, where there are any."""

    status: int
    headers: Mapping[str, str]
    grant: GetGrant
    fd: int = -1
    start: int = 0
    end: int = 0
    first: bytes = b""

    def is_whole(self) -> bool:
        """Tell whether the body is the file from its first byte to its last."""
        return self.start == 0 and self.end == self.grant.stored.size_bytes

    def close(self) -> None:
        """Close the file."""
        if self.fd != -1:
            os.close(self.fd)


def answer_for(grant: GetGrant, method: str, headers: Headers) -> FileAnswer:
    """Decide on the answer, open the file and read its first block: all of a small answer, in one go.

    Raises:
        GateRefusedError: 412 `If-Match` names another object, 416 a bad range, 404 deleted, 503 not readable.
    """
    etag = f'"{grant.stored.etag}"'
    fixed = {"etag": etag, "accept-ranges": "bytes", "cache-control": CACHE}
    if not _may_go_on(headers.get("if-match"), etag):
        raise GateRefusedError(
            412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"
        )
    if _is_known(headers.get("if-none-match"), etag):
        return FileAnswer(status=304, headers=fixed, grant=grant)
    size = grant.stored.size_bytes
    chosen = _chosen_range(headers, etag, size)
    start, end = chosen or (0, size)
    told = {**grant.headers, **fixed, "content-length": str(end - start)}
    if chosen:
        told["content-range"] = f"bytes {start}-{end - 1}/{size}"
    answer = FileAnswer(status=206 if chosen else 200, headers=told, grant=grant, start=start, end=end)
    return answer if method == "HEAD" else _with_file(answer)


async def send_file(answer: FileAnswer, run: Run, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the answer block by block; stop when the client is gone."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in answer.headers.items()]
    try:
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        if answer.fd == -1 or answer.end - answer.start == len(answer.first):
            await send({"type": "http.response.body", "body": answer.first, "more_body": False})
        elif answer.is_whole() and _PATHSEND in scope.get("extensions", {}):
            await send({"type": _PATHSEND, "path": str(answer.grant.path)})
        else:
            await _send_blocks(answer, run, receive, send)
    finally:
        answer.close()


async def _send_blocks(answer: FileAnswer, run: Run, receive: Receive, send: Send) -> None:
    # A server may take what is sent to a lost connection without a word.
    gone = asyncio.ensure_future(_until_gone(receive))
    try:
        block, position = answer.first, answer.start
        while not gone.done():
            position += len(block)
            await send({"type": "http.response.body", "body": block, "more_body": position < answer.end})
            if position == answer.end:
                return
            block = await hop(run, partial(_read, answer.fd, position, answer.end))
    finally:
        gone.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _read(fd: int, position: int, end: int) -> bytes:
    block = os.pread(fd, min(READ_BYTES, end - position), position)
    if not block and position < end:
        raise OSError(errno.EIO, "the object became shorter than it was")
    return block


def _with_file(answer: FileAnswer) -> FileAnswer:
    fd = -1
    try:
        fd = os.open(answer.grant.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        return attrs.evolve(answer, fd=fd, first=_read(fd, answer.start, answer.end))
    except OSError as exc:
        if fd != -1:
            os.close(fd)
        if isinstance(exc, FileNotFoundError):
            raise GateRefusedError(404, "NoSuchKey", "The specified key does not exist.") from exc
        raise GateRefusedError(503, "ServiceUnavailable", "The object cannot be read now.") from exc


def _may_go_on(if_match: str | None, etag: str) -> bool:
    """Tell whether If-Match lets the request pass: strong comparison, so a weak tag matches nothing."""
    return if_match is None or if_match.strip() == "*" or etag in _tags(if_match)


def _is_known(if_none_match: str | None, etag: str) -> bool:
    """Tell whether the client has the object already: weak comparison."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag in [tag.removeprefix("W/") for tag in _tags(if_none_match)]


def _tags(text: str) -> list[str]:
    return [tag.strip() for tag in text.split(",")]


def _chosen_range(headers: Headers, etag: str, size: int) -> tuple[int, int] | None:
    """Return first byte and end of the one range asked for, or None for the whole.

    Another unit, a malformed range, or one for another object (If-Range) is as if it had not been sent.
    """
    text = headers.get("range")
    if text is None or headers.get("if-range", etag) != etag or not text.lower().startswith("bytes="):
        return None
    if "," in text:
        raise RangeRefusedError(size)
    match = _RANGE.fullmatch(text)
    if match is None or not (match[1] or match[2]):
        return None
    if match[1] and match[2] and int(match[2]) < int(match[1]):
        return None
    start = int(match[1]) if match[1] else max(0, size - int(match[2]))
    end = min(size, int(match[2]) + 1) if match[1] and match[2] else size
    if start >= end:
        raise RangeRefusedError(size)
    return start, end
