"""Plain HTTP as an examination of a bucket needs it: a request, its reply, and who carries them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import attrs

from musproj.ports.storage import SignedRequest


@attrs.frozen(kw_only=True)
class HttpRequest:
    """A request, sent as it is."""

    method: str
    url: str = attrs.field(repr=False)
    """May be a bearer credential: never shown."""
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    body: bytes | None = attrs.field(default=None, repr=False)

    @classmethod
    def of(cls, signed: SignedRequest, body: bytes | None = None) -> "HttpRequest":
        """Return what whoever holds `signed` sends."""
        headers = {name.lower(): value for name, value in signed.headers.items()}
        return cls(method=signed.method, url=signed.url, headers=headers, body=body)


@attrs.frozen(kw_only=True)
class HttpReply:
    """What came back."""

    status: int
    reason: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Names in lower case."""
    body: bytes = attrs.field(default=b"", repr=False)

    @property
    def told(self) -> str:
        """The status in words."""
        return f"{self.status} {self.reason}".rstrip()

    def lacks_of_preflight(self, origin: str, method: str, names: Sequence[str]) -> str | None:
        """Return what a browser misses in the answer to its preflight (Fetch standard, 4.8); None: nothing."""
        if not 200 <= self.status < 300:
            return f"the preflight was answered {self.told}"
        if self.headers.get("access-control-allow-origin") not in ("*", origin):
            return "the origin is not allowed"
        if not {"*", method.lower()} & self._listed("access-control-allow-methods"):
            return f"the method {method} is not allowed"
        allowed = self._listed("access-control-allow-headers")
        missing = [] if "*" in allowed else [name for name in names if name not in allowed]
        return f"the headers {', '.join(missing)} are not allowed" if missing else None

    def _listed(self, name: str) -> set[str]:
        return {part.strip().lower() for part in self.headers.get(name, "").split(",")}


Fetch = Callable[[HttpRequest], HttpReply]
"""Sends a request and returns its reply, whatever its status; raises `OSError` where none comes."""


def skew_of(reply: HttpReply, now: datetime) -> timedelta | None:
    """Return how far the server's clock is ahead of `now`, to the second; None where it does not tell."""
    try:
        told = parsedate_to_datetime(reply.headers["date"])
    except (KeyError, ValueError):
        return None
    return (told if told.tzinfo else told.replace(tzinfo=UTC)) - now
