"""Text of strangers, such as a processor's error, in a form that every store and terminal can take."""

import re

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    """Return `text` with control characters and lone surrogates, which UTF-8 has no bytes for, replaced by U+FFFD."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
