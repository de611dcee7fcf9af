"""What may be taken from a service's answer: whatever stands there, of the kind that it should be or not at all."""

import re
from collections.abc import Mapping
from typing import Any, cast

from musproj.adapters.services.failures import holds_secret
from musproj.ports.remote import CallClass, CallError

LONGEST_ID = 512
_ODD = re.compile(r"[?#%\\\s]|(^|/)\.\.?(/|$)")
"""What would lead a path elsewhere."""


def identity(value: object) -> str | None:
    """Return an id as text, None for what is none."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    is_sound = text.strip() and len(text) <= LONGEST_ID and text.isprintable() and text.isascii()
    return text if is_sound and not _ODD.search(text) and not holds_secret(text) else None


def required_id(answer: Mapping[str, Any], name: str, *, is_effect: bool = False) -> str:
    """Return the id under `name`.

    Raises:
        CallError: there is none; AMBIGUOUS where the call had an effect, which happened, or not.
    """
    found = identity(answer.get(name))
    if found is None:
        kind = CallClass.AMBIGUOUS if is_effect else CallClass.TRANSIENT
        raise CallError(kind, f"its answer has no {name}")
    return found


def inside(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the object under `name`, an empty one where there is none."""
    found = answer.get(name)
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}


def objects(value: object) -> list[Mapping[str, Any]]:
    """Return the objects of a list."""
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("Mapping[str, Any]", item) for item in items if isinstance(item, dict)]


def whole(value: object) -> int | None:
    """Return a number of bytes, None for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
