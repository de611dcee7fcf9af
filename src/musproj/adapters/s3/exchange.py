"""One request to the bucket, and what came back."""

from collections.abc import Mapping

import attrs

from musproj.domain.keys import ObjectKey


@attrs.frozen(kw_only=True)
class Question:
    """What is asked of the store."""

    method: str
    key: ObjectKey | None = None
    """None: the bucket itself."""
    query: Mapping[str, str] = attrs.field(factory=dict[str, str])
    signed: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Headers that the signature covers; S3 wants every `x-amz-…` among them."""
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Further headers."""

    def __str__(self) -> str:
        """Return what may be told of it: no query, no header."""
        return f"{self.method} {self.key or 'of the bucket'}"


@attrs.frozen(kw_only=True)
class Answer:
    """What the store said."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = attrs.field(default=b"", repr=False)
