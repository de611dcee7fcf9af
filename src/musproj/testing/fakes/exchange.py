"""One request and its answer, free of sockets."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

import attrs

from musproj.testing.fakes.audio import Tone

Json = dict[str, Any]
KEY_HEADERS = ("authorization", "x-license-key", "x-api-key", "xi-api-key", "cookie")
"""What must not reach a result's host."""


@attrs.frozen(kw_only=True)
class Body:
    """What came in, or one part of it."""

    length: int = 0
    """Bytes."""
    sha256: str = ""
    head: bytes = attrs.field(default=b"", repr=False)
    """The first bytes, enough for the header of a WAV file."""
    content: bytes | None = attrs.field(default=None, repr=False)
    """All bytes; None where they are not kept."""

    def text(self) -> str:
        """Return a short body as text."""
        return (self.content or b"").decode(errors="replace")

    def json(self) -> Any:
        """Return what the JSON says; None where it is not JSON."""
        try:
            return json.loads(self.content or b"")
        except ValueError:
            return None


@attrs.frozen(kw_only=True)
class Part:
    """One part of a multipart form; a file has a name."""

    body: Body
    filename: str | None = None


@attrs.frozen(kw_only=True)
class Request:
    """What a client asks for."""

    method: str
    path: str
    """Decoded, without the query."""
    query: Mapping[str, str] = attrs.field(factory=dict[str, str])
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    """Names in lower case."""
    body: Body = attrs.field(factory=Body)
    parts: Mapping[str, Part] = attrs.field(factory=dict[str, Part])

    def keys(self) -> list[str]:
        """Return the names of the headers that carry a key."""
        return [name for name in KEY_HEADERS if name in self.headers]


@attrs.frozen(kw_only=True)
class Answer:
    """What the client gets: `data` as JSON, or a tone, or text."""

    status: int = 200
    data: Any = None
    tone: Tone | None = None
    text: str | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    is_result: bool = False
    """Whether this is a result, or the redirect to one."""

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return self.tone.size if self.tone is not None else len(self._bytes())

    def blocks(self) -> Iterator[bytes]:
        """Yield the body."""
        if self.tone is not None:
            yield from self.tone.blocks()
        else:
            yield self._bytes()

    def _bytes(self) -> bytes:
        return (json.dumps(self.data) if self.text is None else self.text).encode()


def as_object(value: Any) -> Json:
    """Return a JSON object as it is, and anything else as an empty one."""
    return value if is_object(value) else {}


def as_list(value: Any) -> list[Any]:
    """Return a JSON list as it is, and anything else as an empty one."""
    return value if _is_list(value) else []


def is_object(value: Any) -> TypeGuard[Json]:
    """Whether it is a JSON object."""
    return isinstance(value, dict)


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
