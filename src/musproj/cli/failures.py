"""Errors as data: what `--json`, the plain text and the items of a bulk command show of one."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from musproj.cli.exit_codes import ExitCode
from musproj.cli.output import Document, Output, print_error
from musproj.errors import InvalidError, MusProjError

T = TypeVar("T")
R = TypeVar("R")


def facts_of(error: MusProjError) -> Document:
    """Return whether trying again helps, and every wrong place of a request."""
    facts: dict[str, object] = {"retryable": error.retryable}
    if isinstance(error, InvalidError) and error.violations:
        facts["errors"] = [{"pointer": v.pointer, "code": v.code, "detail": v.detail} for v in error.violations]
    return facts


def describe(error: MusProjError, *, as_json: bool, about: str | None = None) -> None:
    """Print an error, and which of several items it is `about`."""
    facts = dict(facts_of(error))
    if about is not None and as_json:
        facts["item"] = about
    message = error.message if about is None or as_json else f"{about}: {error.message}"
    print_error(error.code, message, hint=error.hint, facts=facts, as_json=as_json)


def each(out: Output, items: Sequence[T], action: Callable[[T], R], *, name: Callable[[T], str] = str) -> Iterator[R]:
    """Yield what `action` makes of each item; of several, one that fails is told on stderr and left out.

    Raises:
        MusProjError: the only item failed.
    """
    for item in items:
        try:
            yield action(item)
        except MusProjError as exc:
            if len(items) == 1:
                raise
            describe(exc, as_json=out.as_json, about=name(item))


def outcome(items: Sequence[object], done: Sequence[object]) -> int:
    """Return the exit code of a command that did `done` of `items`."""
    return ExitCode.OK if len(done) == len(items) else ExitCode.PARTIAL
