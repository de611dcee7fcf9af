"""The first rows of a list, and where the next page goes on."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from musproj.adapters.local.table import Row
from musproj.domain.cursors import cursor_of
from musproj.ports.assets import Page

T = TypeVar("T")


def page(found: Sequence[Row], limit: int, load: Callable[[Sequence[Row]], Sequence[T]]) -> Page[T]:
    """Return what `load` makes of the first `limit` rows, of which one more was asked for.

    The place of a row is its first column; one that `load` leaves out, because it cannot be read, has one too.
    """
    shown = found[:limit]
    return Page(tuple(load(shown)), cursor_of(str(shown[-1][0])) if shown and len(found) > limit else None)
