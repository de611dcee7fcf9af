"""A table of a TOML file that is read key by key, so that every mistake is told with the key's whole name."""

import re
import sys
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any, Final, TypeVar, cast

from musproj.application.http_template import is_pointer
from musproj.application.processor_file import placeholders, refuse_unknown

T = TypeVar("T")

_MOST: Final = sys.float_info.max

_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)  # RFC 9110, 5.6.2
_OUR_HEADERS: Final = frozenset({
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "host", "transfer-encoding"
})  # fmt: skip
_KIND_WORDS: Final[Mapping[Any, str]] = {
    str: "a text",
    int: "an integer",
    int | float: "a number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
}


class _Missing:
    pass


_MISSING: Final = _Missing()


class Table:
    """A table from which each key is taken once; what is left in the end is unknown. It raises ValueErrors."""

    def __init__(self, where: str, values: Mapping[str, Any]) -> None:
        """Read `values`, whose keys are named after `where`: `submit.`, empty for the file itself."""
        self._where = where
        self._values = dict(values)
        self._asked: list[str] = []

    def wrong(self, key: str, why: str | ValueError) -> ValueError:
        """Return the error that says what is wrong with a key."""
        return ValueError(f"{self._where}{key}{':' if isinstance(why, ValueError) else ''} {why}")

    def end(self) -> None:
        """Refuse the keys that were not taken."""
        for key in self._values:
            raise self.wrong(key, f"is unknown; known: {', '.join(self._asked)}")

    def maybe(self, key: str, read: Callable[[str], T]) -> T | None:
        """Take by `read` what may be absent."""
        if key in self._values:
            return read(key)
        self._asked.append(key)
        return None

    def table(self, key: str) -> "Table":
        """Take a table, to be read and ended by itself."""
        return Table(f"{self._where}{key}.", self.mapping(key))

    def mapping(self, key: str, default: Mapping[str, Any] | _Missing = _MISSING) -> dict[str, Any]:
        """Take a table whose keys are the author's own."""
        return cast("dict[str, Any]", self._take(key, dict, default))

    def list(self, key: str) -> list[Any]:
        """Take a list, empty where it is absent."""
        return cast("list[Any]", self._take(key, list, []))

    def flag(self, key: str) -> bool:
        """Take a boolean, false where it is absent."""
        return bool(self._take(key, bool, default=False))

    def string(self, key: str, default: str) -> str:
        """Take any text, which may be empty."""
        return str(self._take(key, str, default))

    def text(self, key: str, default: str | _Missing = _MISSING) -> str:
        """Take a text of one line."""
        value: str = self._take(key, str, default)
        if not value or not value.isprintable():
            raise self.wrong(key, "must be a text of one line")
        return value

    def number(self, key: str, default: float, *, above: float | None = None, most: float = _MOST) -> float:
        """Take a number that is not negative."""
        value: int | float = self._take(key, int | float, default)
        if not 0 <= value <= most or (above is not None and value <= above):
            lower = "from 0" if above is None else f"above {above:g}"
            raise self.wrong(key, f"must be a number {lower}{f', and {most:.15g} at most' if most < _MOST else ''}")
        return float(value)

    def count(self, key: str, default: int, *, most: int | None = None) -> int:
        """Take a positive integer."""
        value: int = self._take(key, int, default)
        if value < 1:
            raise self.wrong(key, "must be at least 1")
        if most is not None and value > most:
            raise self.wrong(key, f"must be {most} at most")
        return value

    def one_of(self, key: str, known: Collection[str], default: str) -> str:
        """Take one of the known texts."""
        value: str = self._take(key, str, default)
        if value not in known:
            raise self.wrong(key, f"must be one of: {', '.join(known)}")
        return value

    def pointer(self, key: str) -> str:
        """Take a JSON pointer."""
        value: str = self._take(key, str)
        if not is_pointer(value):
            raise self.wrong(key, 'must be a JSON pointer such as "/output/0"')
        return value

    def member(self, key: str) -> str:
        """Take a JSON pointer to something within the document."""
        value = self.pointer(key)
        if not value:
            raise self.wrong(key, 'must be a JSON pointer such as "/metadata/job"')
        return value

    def header(self, key: str, default: str | _Missing = _MISSING) -> str:
        """Take the name of an HTTP header."""
        value: str = self._take(key, str, default)
        if not _HEADER.fullmatch(value) or value.lower() in _OUR_HEADERS:
            raise self.wrong(key, "must be the name of a header, and none that is set anyway")
        return value

    def path(self, key: str, known: Collection[str], *, names: Collection[str] = (), default: str | None = None) -> str:
        """Take a path below the base URL, with `known` names in braces, one of `names` among them."""
        value: str = self._take(key, str, _MISSING if default is None else default)
        segments = value.partition("?")[0].split("/")
        if not value.startswith("/") or value.startswith("//") or not value.isprintable() or ".." in segments:
            raise self.wrong(key, 'must be a path below base_url, such as "/jobs"')
        if set(value) & set("\\# "):
            raise self.wrong(key, "must not hold a space, # or \\")
        found = placeholders([value])
        self.refuse_unknown(key, found, known)
        if names and not set(found) & set(names):
            raise self.wrong(key, f"must name what it is about: {' or '.join(f'{{{name}}}' for name in names)}")
        return value

    def refuse_unknown(self, key: str, names: Collection[str], known: Collection[str]) -> None:
        """Refuse names in braces that nothing is put in for."""
        try:
            refuse_unknown(names, known)
        except ValueError as exc:
            raise self.wrong(key, exc) from exc

    def _take(self, key: str, kind: Any, default: Any = _MISSING) -> Any:
        self._asked.append(key)
        if key not in self._values:
            if isinstance(default, _Missing):
                meant = get_close_matches(key, self._values, 1)
                raise self.wrong(key, f"is missing; is it what {meant[0]} should be?" if meant else "is missing")
            return default
        value = self._values.pop(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.wrong(key, f"must be {_KIND_WORDS[kind]}")
        return value
