"""The store's own door for signed URLs, where the API itself serves them."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import attrs

from musproj.ports.storage import StoredObject


class GateRefusedError(Exception):
    """A signed request is refused, told in S3's words so that one client works with every store."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Keep what the answer says."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class PutSession(Protocol):
    """One upload under way: blocks in order, then `commit` or `abort`; used by one thread at a time."""

    __slots__ = ()

    @abstractmethod
    def write(self, block: bytes) -> None:
        """Take the next bytes.

        Raises:
            GateRefusedError: 413 over the limit, 507 no room; nothing is kept.
        """

    @abstractmethod
    def commit(self) -> StoredObject:
        """Publish the object, durable on return.

        Raises:
            GateRefusedError: 412 taken, 400 short or other bytes than signed, 507 no room; nothing is kept.
        """

    @abstractmethod
    def abort(self) -> None:
        """Drop what was written; after `commit` or a second time it does nothing."""


@attrs.frozen(kw_only=True)
class GetGrant:
    """A file that may be served, and the headers to serve it with."""

    path: Path
    stored: StoredObject
    headers: Mapping[str, str]


class StoreGate(Protocol):
    """Checks signed requests and opens what they are for; usable from several threads."""

    __slots__ = ()

    @abstractmethod
    def open_put(self, key: str, query: Mapping[str, str], headers: Mapping[str, str]) -> PutSession:
        """Start an upload; header names are lower case.

        Raises:
            GateRefusedError: 403 altered, expired or a signed header differs, 411, 412, 413.
        """

    @abstractmethod
    def open_get(self, method: str, key: str, query: Mapping[str, str]) -> GetGrant:
        """Allow a GET or HEAD.

        Raises:
            GateRefusedError: 403 altered or expired, 404 no object.
        """
