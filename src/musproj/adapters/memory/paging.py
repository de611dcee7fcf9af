"""Cursors: the place where the next page goes on, opaque to clients."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from musproj.errors import InvalidCursorError
from musproj.ports.assets import Page

T = TypeVar("T")


def page(rows: Sequence[T], limit: int, place: Callable[[T], str]) -> Page[T]:
    """Return the first `limit` of `rows`; `place` gives what the next page begins behind."""
    items = tuple(rows[:limit])
    return Page(items, _encode(place(items[-1])) if len(rows) > limit else None)


def decode(cursor: str) -> str:
    """Return the place that a cursor stands for.

    Raises:
        InvalidCursorError: it is malformed.
    """
    try:
        place = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return place.decode("ascii")
    except (UnicodeError, binascii.Error) as exc:
        raise InvalidCursorError("The cursor did not come from this list.") from exc


def decode_number(cursor: str) -> int:
    """Return the number that a cursor stands for.

    Raises:
        InvalidCursorError: it is malformed.
    """
    place = decode(cursor)
    if not place.isdecimal():
        raise InvalidCursorError("The cursor did not come from this list.")
    return int(place)


def _encode(place: str) -> str:
    return base64.urlsafe_b64encode(place.encode()).rstrip(b"=").decode()
