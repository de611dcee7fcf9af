"""One table and the frozen record that each of its rows holds."""

import functools
import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

import attrs

from musproj.codec import from_plain, to_plain
from musproj.domain.times import from_millis, to_millis
from musproj.errors import CorruptRecordError

log = logging.getLogger(__name__)

_REMEMBERED = 512

R = TypeVar("R")
Row = tuple[Any, ...]

LARGEST = (1 << 63) - 1
"""SQLite's largest integer; a greater number is in no row."""


@attrs.frozen
class Column:
    """How one field of a record lies in the table."""

    name: str
    field: str
    dump: Callable[[Any], Any] | None = None
    """From the field's value, where that is not None, to SQLite's; None: as it is."""
    load: Callable[[Any], Any] | None = None
    is_read: bool = True
    """False where the column only repeats a part of the field, for an index."""


class Table(Generic[R]):
    """Reads and writes records; the first column is the key. The caller holds the transaction."""

    def __init__(
        self,
        name: str,
        make: Callable[..., R],
        columns: Sequence[Column],
        derived: Mapping[str, Callable[[R], object]] | None = None,
    ) -> None:
        """Take `derived` columns, which are written with a new row and never read or changed."""
        self.name = name
        self._make = make
        self._columns = tuple(columns)
        self._derived = dict(derived or {})
        self._read = tuple(column for column in columns if column.is_read)
        self._fields = tuple(column.field for column in self._read)
        self._loads = tuple((i, column.load) for i, column in enumerate(self._read) if column.load is not None)
        self._updates: dict[tuple[str, ...], str] = {}
        self.select = f"SELECT {', '.join(column.name for column in self._read)} FROM {name}"  # noqa: S608 - our names
        names = [column.name for column in columns] + list(self._derived)
        marks = ", ".join("?" * len(names))
        self._insert = f"INSERT INTO {name}({', '.join(names)}) VALUES({marks})"

    def load(self, row: Row) -> R:
        """Return the record of a row of `select`.

        Raises:
            CorruptRecordError: it cannot be read.
        """
        values = list(row)
        try:
            for place, load in self._loads:
                if values[place] is not None:
                    values[place] = load(values[place])
            return self._make(**dict(zip(self._fields, values, strict=True)))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as exc:
            raise CorruptRecordError(f"The record {row[0]!r} cannot be read: {exc}", key=row[0]) from exc

    def load_all(self, rows: Iterable[Row]) -> list[R]:
        """Return the records that can be read; one that cannot be hides no other."""
        loaded: list[R] = []
        for row in rows:
            try:
                loaded.append(self.load(row))
            except CorruptRecordError as exc:
                facts = {"action": "record_unreadable", "table": self.name, "key": row[0]}
                log.error("A row of the table %s was left out: %s", self.name, exc, extra=facts)  # noqa: TRY400 - no bug
        return loaded

    def readable(self, row: Row) -> dict[str, Any]:
        """Return those fields of a row that can be read."""
        found: dict[str, Any] = {}
        for column, value in zip(self._read, row, strict=True):
            with suppress(Exception):
                found[column.field] = column.load(value) if column.load and value is not None else value
        return found

    def insert(self, connection: sqlite3.Connection, record: R) -> None:
        """Add a row."""
        values = [_dumped(column, getattr(record, column.field)) for column in self._columns]
        values += [derive(record) for derive in self._derived.values()]
        connection.execute(self._insert, values)

    def update(self, connection: sqlite3.Connection, before: R, after: R) -> None:
        """Write what differs between two states of a record, so that no index is touched in vain."""
        changed = [c for c in self._columns if getattr(after, c.field) is not getattr(before, c.field)]
        if changed:
            self._write(connection, changed, after)

    def overwrite(self, connection: sqlite3.Connection, record: R) -> None:
        """Write every column of a row."""
        self._write(connection, self._columns, record)

    def _write(self, connection: sqlite3.Connection, columns: Sequence[Column], record: R) -> None:
        values = [_dumped(column, getattr(record, column.field)) for column in columns]
        key = self._columns[0]
        names = tuple(column.name for column in columns)
        sql = self._updates.get(names)
        if sql is None:
            places = ", ".join(f"{name} = ?" for name in names)
            sql = self._updates[names] = f"UPDATE {self.name} SET {places} WHERE {key.name} = ?"  # noqa: S608 - ours
        connection.execute(sql, (*values, getattr(record, key.field)))


# ── kinds of columns ─────────────────────────────────────────────────────────────────────────────


def time(name: str, field: str | None = None) -> Column:
    """Return a column of milliseconds since the epoch."""
    return Column(name, field or name, to_millis, from_millis)


def flag(name: str, field: str | None = None) -> Column:
    """Return a column of 0 or 1."""
    return Column(name, field or name, int, bool)


def record(name: str, kind: type[Any]) -> Column:
    """Return a column that holds a record as JSON."""
    return Column(name, name, as_json, lambda text: from_plain(kind, json.loads(text)))


def records(name: str, kind: type[Any]) -> Column:
    """Return a column that holds several records as JSON."""

    # They are frozen, and the same few texts come again and again: a run reads its job several times.
    @functools.lru_cache(maxsize=_REMEMBERED)
    def load(text: str) -> tuple[Any, ...]:
        return tuple(from_plain(kind, part) for part in json.loads(text))

    return Column(name, name, as_json, load)


def names(name: str) -> Column:
    """Return a column that holds words as JSON."""

    @functools.lru_cache(maxsize=_REMEMBERED)
    def load(text: str) -> tuple[str, ...]:
        return tuple(json.loads(text))

    return Column(name, name, as_json, load)


def mapping(name: str) -> Column:
    """Return a column that holds a JSON object as it is."""
    return Column(name, name, as_json, json.loads)


def as_json(value: object) -> str:
    """Return a value as JSON; only ASCII, so that no lone surrogate of a client's text meets SQLite."""
    return json.dumps(to_plain(value), separators=(",", ":"))


def _dumped(column: Column, value: object) -> object:
    return value if value is None or column.dump is None else column.dump(value)
