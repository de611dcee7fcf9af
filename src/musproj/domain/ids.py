"""Ids: made here, checked here.

An id is a prefix and 26 characters of Crockford's base 32: 48 bit of milliseconds, then 80 random bits, so
that ids sort by time and cannot be guessed (layout of the ULID specification, github.com/ulid/spec).
"""

import re
import secrets
from datetime import datetime
from typing import NewType

from musproj.errors import InvalidError, Violation

AssetId = NewType("AssetId", str)
JobId = NewType("JobId", str)
Owner = NewType("Owner", str)

DEFAULT_OWNER = Owner("default")

_GRAMMAR = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 80
_CHARACTERS = 26
_TOKEN_BYTES = 16


def new_asset_id(now: datetime) -> AssetId:
    """Return a fresh asset id that sorts at `now`."""
    return AssetId("ast_" + _sortable(now))


def new_job_id(now: datetime) -> JobId:
    """Return a fresh job id that sorts at `now`."""
    return JobId("job_" + _sortable(now))


def new_token() -> str:
    """Return a random fencing token, 128 bit in hex: unlike a counter it cannot repeat after lost writes."""
    return secrets.token_hex(_TOKEN_BYTES)


def is_id(text: str) -> bool:
    """Tell whether `text` has the grammar of an id."""
    return _GRAMMAR.fullmatch(text) is not None


def asset_id(text: str) -> AssetId:
    """Return `text` as an asset id.

    Raises:
        InvalidError: it breaks the grammar.
    """
    return AssetId(_checked(text, "assetId"))


def job_id(text: str) -> JobId:
    """Return `text` as a job id.

    Raises:
        InvalidError: it breaks the grammar.
    """
    return JobId(_checked(text, "jobId"))


def _checked(text: str, field: str) -> str:
    if not is_id(text):
        raise InvalidError(
            violations=(Violation(f"/{field}", "pattern", f"an id matches {_GRAMMAR.pattern}"),),
        )
    return text


def _sortable(now: datetime) -> str:
    number = (int(now.timestamp() * 1000) << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(5 * (_CHARACTERS - 1), -1, -5))
