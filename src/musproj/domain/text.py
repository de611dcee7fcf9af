"""Text of strangers, such as a processor's error or a mistyped name, and what is made of it."""

import difflib
import re
from collections.abc import Iterable

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    """Return `text` with control characters and lone surrogates, which UTF-8 has no bytes for, replaced by U+FFFD."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return the question after the known name that is nearest to `name`, or None where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {near[0]!r}?" if near else None
