"""The flags and the loop of every list."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from musproj.cli.output import Output
    from musproj.ports.assets import Page

T = TypeVar("T")

PAGE = 100

Limit = Annotated[int, typer.Option("--limit", min=1, metavar="N", help="How many.")]
Cursor = Annotated[str | None, typer.Option(metavar="CURSOR", help="Where to go on: `nextCursor` of the page before.")]
All = Annotated[bool, typer.Option("--all", help="Every one, whatever --limit says.")]
Ndjson = Annotated[bool, typer.Option("--ndjson", help="One JSON line per item, as soon as it is read.")]
Since = Annotated[
    str | None, typer.Option(metavar="AGE", help="Created at most this long ago (90s, 2h, 1d) or after a time.")
]


def stream(
    read: "Callable[[int, str | None], Page[T]]", limit: int, cursor: str | None, *, every: bool
) -> "Iterator[Page[T]]":
    """Yield page after page until `limit` items are there, or all of them."""
    count = 0
    while every or count < limit:
        page = read(PAGE if every else min(PAGE, limit - count), cursor)
        yield page
        count += len(page.items)
        cursor = page.next_cursor
        if cursor is None:
            break


def pages(read: "Callable[[int, str | None], Page[T]]", limit: int, cursor: str | None, *, every: bool) -> "Page[T]":
    """Return `limit` items from `cursor` on, or all of them, however many pages that takes."""
    from musproj.ports.assets import Page

    items: list[T] = []
    for page in stream(read, limit, cursor, every=every):
        items += page.items
        cursor = page.next_cursor
    return Page(tuple(items), cursor)


def tell_more(out: "Output", page: "Page[T]") -> None:
    """Say on a terminal how to see the rest."""
    if page.next_cursor is not None and out.form.for_people:
        out.note(f"There are more: --cursor {page.next_cursor}, or --all.")
