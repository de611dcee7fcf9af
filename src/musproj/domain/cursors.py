"""Cursors of lists: the place behind which the next page goes on, opaque to clients."""

import base64
import binascii

from musproj.errors import InvalidCursorError

_DIGITS = 18
"""Of the largest number, so that it fits into 64 bit."""


def cursor_of(place: str) -> str:
    """Return the cursor that stands for a place; of ASCII alone."""
    return base64.urlsafe_b64encode(place.encode()).rstrip(b"=").decode()


def place_of(cursor: str) -> str:
    """Return the place that a cursor stands for.

    Raises:
        InvalidCursorError: it is malformed.
    """
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return raw.decode("ascii")
    except (UnicodeError, binascii.Error) as exc:
        raise InvalidCursorError("The cursor did not come from this list.") from exc


def number_of(cursor: str) -> int:
    """Return the number that a cursor stands for.

    Raises:
        InvalidCursorError: it is malformed.
    """
    place = place_of(cursor)
    if not place.isdecimal() or len(place) > _DIGITS:
        raise InvalidCursorError("The cursor did not come from this list.")
    return int(place)
