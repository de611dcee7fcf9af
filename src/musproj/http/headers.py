"""Headers of requests and answers: entity tags, preconditions, preferences, idempotency keys, links."""

import hashlib
import re
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import parse_qsl, urlencode
from zlib import crc32

import msgspec

from musproj.domain.asset import Asset
from musproj.domain.job import Job, WaitReason
from musproj.domain.times import to_millis
from musproj.errors import InvalidError, PreconditionFailedError, Violation
from musproj.ports.assets import Idempotency

MAX_WAIT_SECONDS = 30
"""A proxy in between gives up on a silent connection after 60 s, commonly."""
MAX_KEY_LENGTH = 255
KEY_PATTERN = "^[!-~](?:[ -~]*[!-~])?$"
"""Printable ASCII; spaces around a header's value are not part of it."""

_KEY = re.compile(KEY_PATTERN.encode())
_REVISION = re.compile(r'"r(\d{1,15})"')
_canonical = msgspec.json.Encoder(order="sorted").encode

# ── entity tags (RFC 9110, sections 8.8.3 and 13.1) ──────────────────────────────────────────────


def asset_etag(asset: Asset) -> str:
    """Return the strong tag of an asset: its change counter."""
    return f'"r{asset.revision}"'


def version_etag(number: int) -> str:
    """Return the strong tag of a version, which never changes; `head` and `latest` may name another one."""
    return f'"v{number}"'


def job_etag(job: Job) -> str:
    """Return the strong tag of a job, from all that changes in its document."""
    said = f"{job.stage}{job.wait_reason}".encode()
    millis = to_millis(job.updated_at)
    return f'"{millis:x}.{job.status[0]}{job.progress}.{job.attempts}.{crc32(said):x}"'


def matches(header: bytes, etag: str) -> bool:
    """Tell whether an `If-None-Match` header names `etag`; weak tags count as strong ones there."""
    return any(tag in ("*", etag, f"W/{etag}") for tag in _tags(header))


def expected_revisions(header: bytes | None) -> frozenset[int] | None:
    """Return the revisions that an `If-Match` header allows, None where it allows any.

    Raises:
        PreconditionFailedError: it names no tag of ours.
    """
    if header is None:
        return None
    tags = list(_tags(header))
    if "*" in tags:
        return None
    found = frozenset(int(match[1]) for tag in tags if (match := _REVISION.fullmatch(tag)))
    if not found:
        raise PreconditionFailedError
    return found


def _tags(header: bytes) -> Iterator[str]:
    return (tag.strip() for tag in header.decode("latin-1").split(","))


# ── waiting (RFC 7240) ───────────────────────────────────────────────────────────────────────────


def wait_seconds(prefer: bytes | None, query: int | None) -> int | None:
    """Return how long the request may be held, None where it shall not; what is malformed is no preference."""
    wanted = query if prefer is None else _preferred_wait(prefer, query)
    return None if wanted is None else min(max(wanted, 1), MAX_WAIT_SECONDS)


def _preferred_wait(prefer: bytes, wanted: int | None) -> int | None:
    for preference in prefer.split(b","):
        name, _, value = preference.partition(b";")[0].partition(b"=")
        value = value.strip().strip(b'"')
        if name.strip().lower() == b"wait" and value.isdigit() and len(value) < 10:
            wanted = int(value)
    return wanted


def retry_after(job: Job, now: datetime) -> int:
    """Return in how many seconds to ask for a job again: 1 for a young one, growing to 5, 15 for remote work."""
    if job.wait_reason is WaitReason.REMOTE:
        return 15
    age = (now - job.created_at).total_seconds()
    return int(min(5, max(1, 1 + age / 10)))


# ── idempotency (draft-ietf-httpapi-idempotency-key-header-07) ───────────────────────────────────


def idempotency(key: bytes | None, method: str, path: str, body: object) -> Idempotency | None:
    """Return the key with the hash of its request: method, path and the canonical form of the decoded body.

    Raises:
        InvalidError: the key is empty, too long, or not printable ASCII.
    """
    if key is None:
        return None
    if len(key) > MAX_KEY_LENGTH or not _KEY.fullmatch(key):
        raise InvalidError(
            violations=(
                Violation(
                    "Idempotency-Key", "pattern", f"1 to {MAX_KEY_LENGTH} printable ASCII characters are allowed"
                ),
            )
        )
    request = b"\n".join((method.encode(), path.encode(), _canonical(body)))
    return Idempotency(key=key.decode("ascii"), body_hash=hashlib.sha256(request).hexdigest())


# ── links (RFC 8288) ─────────────────────────────────────────────────────────────────────────────


def next_link(path: str, query: bytes, cursor: str) -> bytes:
    """Return the `Link` header to the next page of the list that `path` and `query` showed."""
    kept = [pair for pair in parse_qsl(query.decode("latin-1")) if pair[0] != "cursor"]
    return f'<{path}?{urlencode([*kept, ("cursor", cursor)])}>; rel="next"'.encode("latin-1")
