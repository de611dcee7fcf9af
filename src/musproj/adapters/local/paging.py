"""Cursors: the place where the next page goes on, opaque to clients."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from musproj.adapters.local.table import LARGEST, Row
from musproj.errors import InvalidCursorError
from musproj.ports.assets import Page

T = TypeVar("T")


def page(found: Sequence[Row], limit: int, load: Callable[[Sequence[Row]], Sequence[T]]) -> Page[T]:
    """Return what `load` makes of the first `limit` rows, of which one more was asked for.

    The place of a row is its first column; one that `load` leaves out, because it cannot be read, has one too.
    """
    shown = found[:limit]
    return Page(tuple(load(shown)), _encoded(str(shown[-1][0])) if shown and len(found) > limit else None)


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
    if not place.isdecimal() or len(place) > len(str(LARGEST)) or int(place) > LARGEST:
        raise InvalidCursorError("The cursor did not come from this list.")
    return int(place)


def _encoded(place: str) -> str:
    return base64.urlsafe_b64encode(place.encode()).rstrip(b"=").decode()
