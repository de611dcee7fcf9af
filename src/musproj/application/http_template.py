"""What a profile of an HTTP service says with: JSON pointers, and templates with names in braces. No code is run.

All of it works on plain JSON data; what is wrong is told by a ValueError.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import quote

from musproj.application.processor_file import PLACEHOLDER, as_text, placeholders

ABSENT: Final = object()
"""What `pick` finds where there is nothing; JSON's null is None."""

_POINTER: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_NO_SEGMENT: Final = frozenset({"", ".", ".."})


# ── pointers (RFC 6901) ──────────────────────────────────────────────────────────────────────────


def is_pointer(text: str) -> bool:
    """Tell whether `text` is a JSON pointer; the empty one points to the whole document."""
    return _POINTER.fullmatch(text) is not None


def pick(document: object, pointer: str) -> Any:
    """Return what `pointer` points to, `ABSENT` where there is nothing."""
    found = document
    for token in _tokens(pointer):
        if isinstance(found, Mapping):
            found = cast("Mapping[str, object]", found).get(token, ABSENT)
        elif isinstance(found, list) and _INDEX.fullmatch(token):
            items = cast("list[object]", found)
            found = items[int(token)] if int(token) < len(items) else ABSENT
        else:
            return ABSENT
    return found


def put(document: dict[str, Any], pointer: str, value: object) -> None:
    """Set the member that `pointer` points to; objects on the way are made.

    Raises:
        ValueError: something on the way is no object.
    """
    *way, last = _tokens(pointer)
    place = document
    for token in way:
        inner = place.setdefault(token, {})
        if not isinstance(inner, dict):
            raise ValueError(f"{pointer} leads through something that is no object")  # noqa: TRY004 - as promised
        place = cast("dict[str, Any]", inner)
    place[last] = value


def _tokens(pointer: str) -> list[str]:
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


# ── templates ────────────────────────────────────────────────────────────────────────────────────


def names_in(template: object) -> list[str]:
    """Return the names in braces of a JSON template.

    Raises:
        ValueError: it holds something that JSON cannot, such as a date.
    """
    return placeholders(_texts(template))


def _texts(template: object) -> Iterator[str]:
    match template:
        case str():
            yield template
        case bool() | int() | None:
            pass
        case float() if math.isfinite(template):
            pass
        case dict():
            for value in cast("dict[str, object]", template).values():
                yield from _texts(value)
        case list():
            for value in cast("list[object]", template):
                yield from _texts(value)
        case _:
            raise ValueError(f"{template!r} is nothing that JSON can hold")


def filled(template: object, values: Mapping[str, object]) -> Any:
    """Return a copy of a JSON template with the values put in; a text that is one name alone becomes its value.

    Keys are left as they are.
    """
    match template:
        case str():
            alone = PLACEHOLDER.fullmatch(template)
            return values[alone[1]] if alone else PLACEHOLDER.sub(lambda found: as_text(values[found[1]]), template)
        case dict():
            return {key: filled(value, values) for key, value in cast("dict[str, object]", template).items()}
        case list():
            return [filled(value, values) for value in cast("Sequence[object]", template)]
        case _:
            return template


def filled_path(template: str, values: Mapping[str, object]) -> str:
    """Return a path with the values put in, each percent-encoded: none of them can lead elsewhere.

    Raises:
        ValueError: a value is not there, empty, or one that a path is walked by.
    """

    def encoded(found: re.Match[str]) -> str:
        value = values.get(found[1])
        text = "" if value is None else as_text(value)
        if text in _NO_SEGMENT:
            raise ValueError(f"{{{found[1]}}} is {text!r}, which no path can hold")
        return quote(text, safe="")

    return PLACEHOLDER.sub(encoded, template)
