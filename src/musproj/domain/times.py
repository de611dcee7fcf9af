"""Wall time is aware UTC, everywhere."""

from datetime import UTC, datetime
from typing import Any


def aware(_instance: object, attribute: Any, value: Any) -> None:
    """Refuse a naive time (attrs validator)."""
    if value is not None and value.tzinfo is None:
        msg = f"{attribute.name} must carry a time zone, got {value!r}"
        raise ValueError(msg)


def to_millis(value: datetime) -> int:
    """Return milliseconds since the epoch."""
    return round(value.timestamp() * 1000)


def from_millis(value: int) -> datetime:
    """Return the aware UTC time of `value` milliseconds since the epoch."""
    return datetime.fromtimestamp(value / 1000, UTC)


def whole_millis(value: datetime) -> datetime:
    """Return `value` cut to the millisecond that every store keeps."""
    return value.replace(microsecond=value.microsecond // 1000 * 1000)
