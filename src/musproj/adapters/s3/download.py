"""A streamed read that goes on where it broke."""

import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing

from urllib3.response import BaseHTTPResponse

from musproj.adapters.s3.client import NETWORK_ERRORS, S3Client
from musproj.adapters.s3.exchange import Question
from musproj.adapters.s3.objects import plain_etag
from musproj.domain.keys import ObjectKey
from musproj.errors import BackendUnavailableError, ConfigurationError, MusProjError
from musproj.ports.storage import BLOCK_BYTES

_RANGE_OUTSIDE = 416
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(?:\d{1,18}|\*)")


class Download:
    """The bytes of one object from `start` on; what was begun is pinned to the entity tag of its first answer."""

    __slots__ = ("_client", "_end", "_etag", "_is_begun", "_key", "_position")

    def __init__(self, client: S3Client, key: ObjectKey, *, start: int, length: int | None, etag: str | None) -> None:
        """Note what to read; nothing is asked before the first block."""
        self._client = client
        self._key = key
        self._position = start
        self._end: int | None = None if length is None else start + length
        self._etag: str | None = etag
        self._is_begun = False

    def blocks(self) -> Iterator[bytes]:
        """Yield them; a connection that breaks is made anew, from the next byte on.

        Raises:
            ObjectMissingError: there is no such object.
            ObjectChangedError: it is another one.
            BackendUnavailableError: the store is away, several times in a row without one more block.
        """
        failures = 0
        while True:
            try:
                with closing(self._connection()) as blocks:
                    for block in blocks:
                        failures = 0
                        yield block
                return
            except BackendUnavailableError as exc:
                failures += 1
                self._client.wait(failures, exc)

    def _connection(self) -> Generator[bytes, None, None]:
        """Yield what one connection gives."""
        asked = self._question()
        try:
            response = self._client.open(asked)
        except MusProjError as exc:
            if exc.facts.get("store_status") == _RANGE_OUTSIDE and not self._is_begun:
                return  # beyond the end there is nothing
            raise
        with closing(response):
            self._begin(asked, response)
            assert self._end is not None, "the first answer told it"
            while self._position < self._end:
                try:
                    block = response.read(min(BLOCK_BYTES, self._end - self._position))
                except NETWORK_ERRORS as exc:
                    raise self._client.broken(asked, exc) from exc
                if not block:
                    raise self._client.broken(asked, EOFError())
                self._position += len(block)
                yield block

    def _question(self) -> Question:
        headers: dict[str, str] = {}
        if self._etag is not None:
            headers["if-match"] = f'"{self._etag}"'
        if self._position or self._end is not None:
            headers["range"] = f"bytes={self._position}-{'' if self._end is None else self._end - 1}"
        return Question(method="GET", key=self._key, headers=headers)

    def _begin(self, asked: Question, response: BaseHTTPResponse) -> None:
        """Take what the first answer tells for all that follow, and see that this one goes on where it should."""
        start, end = _extent(response.headers, is_part="range" in asked.headers)
        is_longer = self._end is not None and end > self._end
        if start != self._position or is_longer or (self._is_begun and end != self._end):
            raise ConfigurationError(f"The store gives another part of {self._key} than was asked for.", key=self._key)
        etag = response.headers.get("etag")
        if etag is None:
            raise ConfigurationError(f"The store gives no entity tag of {self._key}.", key=self._key)
        self._etag, self._end, self._is_begun = plain_etag(etag), end, True


def _extent(headers: Mapping[str, str], *, is_part: bool) -> tuple[int, int]:
    """Return the first byte of an answer, and the first after it."""
    length = headers.get("content-length")
    if length is None:
        raise BackendUnavailableError("The store does not tell how long its answer is.")
    if not is_part:
        return 0, int(length)
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    if match is None or int(match[2]) - int(match[1]) + 1 != int(length):
        return 0, int(length)
    return int(match[1]), int(match[2]) + 1
