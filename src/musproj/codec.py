"""Domain values as plain JSON data and back: the form in which stores keep what they do not index.

Keys are the field names, absent where a value is None; times are milliseconds since the epoch; a tuple is a
list, a set a sorted one. A reader ignores keys it does not know, so that a newer writer may add some.
"""

import types
import typing
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from typing import Any, TypeVar, cast

import attrs

from musproj.domain.times import from_millis, to_millis
from musproj.errors import CorruptRecordError

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Return `value` as JSON data."""
    kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType] -- of anything
    if attrs.has(kind):
        return {name: to_plain(item) for name in _names(kind) if (item := getattr(value, name)) is not None}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return to_millis(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in cast("Mapping[object, object]", value).items()}
    if isinstance(value, frozenset | set):
        return sorted(to_plain(item) for item in cast("frozenset[object]", value))
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in cast("list[object]", value)]
    return value


def from_plain(kind: type[T], data: Any) -> T:
    """Return JSON data as a `kind`.

    Raises:
        CorruptRecordError: it is no record of that kind.
    """
    try:
        result: T = _reader(cast("Any", kind))(data)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise CorruptRecordError(f"A stored {kind.__name__} cannot be read: {exc}") from exc
    return result


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(kind))


@cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        inner = _reader(next(arg for arg in args if arg is not type(None)))
        return lambda data: None if data is None else inner(data)
    if origin is tuple:
        item = _reader(args[0])
        return lambda data: tuple(item(part) for part in data)
    if origin is frozenset:
        item = _reader(args[0])
        return lambda data: frozenset(item(part) for part in data)
    if kind is datetime:
        return from_millis
    if kind is timedelta:
        return lambda data: timedelta(seconds=data)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    if isinstance(kind, type) and attrs.has(kind):
        return _record_reader(kind)
    return lambda data: data


def _record_reader(kind: type) -> Callable[[Any], Any]:
    hints = typing.get_type_hints(kind)
    readers = {name: _reader(hints[name]) for name in _names(kind)}

    def read(data: Mapping[str, Any]) -> object:
        return kind(**{name: reader(data[name]) for name, reader in readers.items() if name in data})

    return read
