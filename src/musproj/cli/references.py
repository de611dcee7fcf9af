"""How arguments name things: `ASSET[@VERSION][/FILE]`, and lists of ids from `-` or `@file`."""

import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, TypeVar

from musproj.domain.ids import AssetId, JobId, is_id
from musproj.errors import InvalidError

E = TypeVar("E", bound=StrEnum)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class AssetRef(NamedTuple):
    """An asset and, where given, one version and file of it."""

    asset_id: AssetId
    version: int | str | None
    """A number, `head` or `latest`; None: the head."""
    file: str | None


def asset_ref(text: str) -> AssetRef:
    """Return what `ASSET[@VERSION][/FILE]` names.

    Raises:
        InvalidError: it is not of that form.
    """
    whole, _, file = text.partition("/")
    name, at, version = whole.partition("@")
    if at and not (version.isdecimal() or version in ("head", "latest")):
        raise InvalidError(
            f"A version is a number, 'head' or 'latest', not {version!r}.", hint=f"Write it like: {name}@2"
        )
    return AssetRef(asset_id(name), int(version) if version.isdecimal() else version or None, file or None)


def asset_id(text: str) -> AssetId:
    """Return `text` as an asset id.

    Raises:
        InvalidError: it cannot be one.
    """
    if not is_id(text):
        raise InvalidError(f"{text!r} is no asset id.", hint="Ids look like ast_01m887fz1marevj8kart6pt10d.")
    return AssetId(text)


def job_id(text: str) -> JobId:
    """Return `text` as a job id.

    Raises:
        InvalidError: it cannot be one.
    """
    if not is_id(text):
        raise InvalidError(f"{text!r} is no job id.", hint="Ids look like job_01m887fz1marevj8kart6pt10d.")
    return JobId(text)


def choice(kind: type[E], text: str | None, flag: str) -> E | None:
    """Return `text` as a member of `kind`; None for None.

    Raises:
        InvalidError: it is none of them.
    """
    if text is None:
        return None
    try:
        return kind(text)
    except ValueError:
        raise InvalidError(f"{flag} is one of {', '.join(kind)}, not {text!r}.") from None


def expand(arguments: Iterable[str]) -> Iterator[str]:
    """Yield each argument, and in place of `-` and `@file` the id at the head of each line of stdin and of the file.

    Raises:
        InvalidError: the file cannot be read.
    """
    return _expanded(arguments, _first_words)


def expand_paths(arguments: Iterable[str]) -> Iterator[str]:
    """Yield each argument, and in place of `-` and `@file` each line, whole: a path may hold spaces.

    Raises:
        InvalidError: the file cannot be read.
    """
    return _expanded(arguments, _whole_lines)


def _expanded(arguments: Iterable[str], items: Callable[[Iterable[str]], Iterator[str]]) -> Iterator[str]:
    for argument in arguments:
        if argument == "-":
            yield from items(sys.stdin)
        elif argument.startswith("@"):
            yield from items(_read_lines(Path(argument[1:])))
        else:
            yield argument


def seconds(text: str) -> float:
    """Return a duration such as `90`, `90s`, `5m` or `1.5h` in seconds.

    Raises:
        InvalidError: it is none.
    """
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _UNITS else (text, "s")
    try:
        value = float(number) * _UNITS[unit]
    except ValueError:
        value = -1
    if not 0 <= value < float("inf"):
        raise InvalidError(f"{text!r} is no duration.", hint="Write it like 90s, 5m, 2h or 1d.")
    return value


def since(text: str | None, now: datetime) -> datetime | None:
    """Return the moment that `1d` ago or an RFC 3339 time stands for; None for None.

    Raises:
        InvalidError: it is neither.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return now - timedelta(seconds=seconds(text))
    return moment if moment.tzinfo else moment.astimezone()


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidError(f"Cannot read {path}: {exc}") from exc


def _whole_lines(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if text := line.rstrip("\r\n"):
            yield text


def _first_words(lines: Iterable[str]) -> Iterator[str]:
    """Yield the first word of each line, so that the tab-separated output of a list serves as input."""
    for line in lines:
        words = line.split()
        if words:
            yield words[0]
