"""What a download is called and served as, whatever the client called its upload."""

import re
import unicodedata
from functools import lru_cache
from urllib.parse import quote

from musproj.domain.media import OCTET_STREAM

_LONGEST_BYTES = 255
"""What file systems take as a name."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-](?:[A-Za-z0-9 ._()-]{0,250}[A-Za-z0-9_()-])?")

_BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Marks that reorder what follows: `gnp.exe` may then look like `exe.png` (Unicode TR 36, 3.1)."""
_UNSEEN = "\u200b\u2060\ufeff"
_DROPPED = dict.fromkeys(map(ord, _BIDI + _UNSEEN + '"'))
_FOLDER_MARKS = {ord("/"): "_", ord("\\"): "_"}

_ATTR_CHARS = "!#$&+-.^_`|~"
"""What RFC 8187 leaves unescaped beside letters and digits."""

_HARMLESS = frozenset(
    {
        "application/json",
        "application/zip",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/csv",
        "text/plain",
    }
)
"""What a browser shows without running anything in it, given `nosniff`."""

_TYPE_GRAMMAR = re.compile(
    r"[a-z]+/[a-z0-9][a-z0-9.+-]{0,63}(?:; ?[a-z]+=(?:[A-Za-z0-9._,+-]+|\"[A-Za-z0-9 ._,+-]+\"))?"
)


@lru_cache(maxsize=1024)
def clean_name(filename: str) -> str:
    """Return a name that is safe in a header and in a folder; the same name again, it stays as it is."""
    if _PLAIN_NAME.fullmatch(filename):
        return filename
    name = filename.translate(_FOLDER_MARKS).translate(_DROPPED)
    # Control characters, lone surrogates, line and paragraph separators.
    name = "".join(c for c in name if unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp"))
    # A leading dot hides a file, a trailing dot or space is lost on Windows.
    return _shortened(unicodedata.normalize("NFC", name).strip(". ")) or "download"


def disposition(filename: str, *, inline: bool) -> str:
    """Return a Content-Disposition (RFC 6266): a plain name for old clients, the real one after RFC 8187."""
    kind = "inline" if inline else "attachment"
    name = clean_name(filename)
    # Some clients take `%` in the plain form for an escape.
    plain = "".join(c if " " <= c <= "~" and c != "%" else "_" for c in name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe=_ATTR_CHARS)}"


@lru_cache(maxsize=256)
def served_type(content_type: str) -> str:
    """Return the type to serve an object as: audio and what is harmless as it is, everything else as plain bytes."""
    text = content_type.strip()
    plain = text.partition(";")[0].rstrip().lower()
    if _TYPE_GRAMMAR.fullmatch(text) is None or not (plain.startswith("audio/") or plain in _HARMLESS):
        return OCTET_STREAM
    return text


def _shortened(name: str) -> str:
    """Cut a name in the middle, so that its extension stays."""
    if len(name.encode()) <= _LONGEST_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    tail = f"{dot}{extension}"
    if not stem or len(tail.encode()) > 16:
        stem, tail = name, ""
    room = _LONGEST_BYTES - len(tail.encode())
    return stem.encode()[:room].decode(errors="ignore").rstrip(". ") + tail
