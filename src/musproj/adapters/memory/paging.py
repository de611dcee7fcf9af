"""The first rows of a list, and where the next page goes on."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from musproj.domain.cursors import cursor_of
from musproj.ports.assets import Page

T = TypeVar("T")


def page(rows: Sequence[T], limit: int, place: Callable[[T], str]) -> Page[T]:
    """Return the first `limit` of `rows`; `place` gives what the next page begins behind."""
    items = tuple(rows[:limit])
    return Page(items, cursor_of(place(items[-1])) if len(rows) > limit else None)
