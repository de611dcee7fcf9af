"""What S3 tells of an object, as ours."""

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from musproj.domain.keys import ObjectKey
from musproj.domain.upload_headers import SHA256_HEADER
from musproj.errors import ConfigurationError, InvalidError
from musproj.ports.storage import StoredObject

METADATA_PREFIX = "x-amz-meta-"
WRITE_MARK = "musproj-put"
"""Metadata of every object that is put here, random and seen by nobody else: it tells whose write came through where
an answer was lost."""

_NAME = re.compile(r"[a-z0-9-]{1,64}")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


def metadata_headers(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that carry `metadata`.

    Raises:
        InvalidError: a name or value cannot be one; S3 takes ASCII alone.
    """
    for name, value in metadata.items():
        if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None or "  " in value:
            raise InvalidError(f"The metadata {name!r} of an object must be printable ASCII without spaces around it.")
    return {METADATA_PREFIX + name: value for name, value in metadata.items()}


def stored_from_headers(key: ObjectKey, headers: Mapping[str, str]) -> StoredObject:
    """Read the answer to a HEAD; names of headers are looked up in lower case.

    Raises:
        ConfigurationError: it lacks one of them, as after a proxy that meddles.
    """
    size, etag = headers.get("content-length"), headers.get("etag")
    if size is None or etag is None:
        raise ConfigurationError(f"The store does not tell size and entity tag of {key}.", key=key)
    return StoredObject(
        key=key,
        size_bytes=int(size),
        etag=plain_etag(etag),
        sha256=verified_sha256(headers),
        content_type=headers.get("content-type"),
        metadata={name: value for name, value in _metadata(headers) if name != WRITE_MARK},
        modified_at=time_of(headers.get("last-modified")),
    )


def mark_of(headers: Mapping[str, str]) -> str | None:
    """Return by which write the object came."""
    return headers.get(METADATA_PREFIX + WRITE_MARK)


def plain_etag(etag: str) -> str:
    """Return an entity tag without quotes."""
    return etag.removeprefix("W/").strip('"')


def verified_sha256(headers: Mapping[str, str]) -> str | None:
    """Return the hash in hex where the store keeps one of the whole object; that of parts (`…-3`) is none."""
    try:
        digest = b64decode(headers.get(SHA256_HEADER, ""), validate=True)
    except binascii.Error:
        return None
    return digest.hex() if len(digest) == 32 else None


def time_of(text: str | None) -> datetime | None:
    """Read a date of a header; what cannot be read is none, and one without a zone is UTC (RFC 5322, 3.3: -0000)."""
    try:
        found = parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)


def iso_time(text: str) -> datetime:
    """Read the time of a listing, such as 2026-01-01T12:00:00.000Z."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _metadata(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    names = [(name.lower(), name) for name in headers]
    return [
        (low.removeprefix(METADATA_PREFIX), headers[name]) for low, name in names if low.startswith(METADATA_PREFIX)
    ]
