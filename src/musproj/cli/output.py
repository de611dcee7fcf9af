"""The only place that prints: the result on stdout, everything else on stderr."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from musproj.cli import text

Document = Mapping[str, Any]

ID_END = 8
"""Characters of an id: 40 bits, most of them random."""


class Table(NamedTuple):
    """Rows under headings; without a terminal the rows alone, separated by tabs."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


class Fields(NamedTuple):
    """Names and their values, one a line."""

    pairs: Sequence[tuple[str, str]]


class Lines(NamedTuple):
    """Sentences, one a line."""

    lines: Sequence[str]


Shape = Table | Fields | Lines


class Form(NamedTuple):
    """How values are written: for people on a terminal, else raw for programs."""

    for_people: bool

    def id_beside(self, text: str) -> str:
        """Return an id that is not what the row is about: for people its end, which tells it from others."""
        return f"…{text[-ID_END:]}" if self.for_people and len(text) > ID_END else text

    def size(self, size: int) -> str:
        """Return a size in bytes."""
        return text.human_size(size) if self.for_people else str(size)

    def duration(self, seconds: float | None) -> str:
        """Return a duration in seconds; nothing where it is unknown."""
        if seconds is None:
            return ""
        return text.human_duration(seconds) if self.for_people else f"{seconds:g}"

    def audio(self, sample_rate: int | None, channels: int | None) -> str:
        """Return the format of audio, nothing where it is unknown."""
        if self.for_people:
            return text.human_rate(sample_rate, channels)
        return f"{sample_rate or ''}/{channels or ''}" if sample_rate or channels else ""

    def time(self, moment: datetime | None) -> str:
        """Return a time; nothing where there is none."""
        if moment is None:
            return ""
        return text.local_time(moment) if self.for_people else text.iso_time(moment)

    def short_time(self, moment: datetime) -> str:
        """Return a time for the column of a list."""
        return text.short_time(moment, datetime.now(UTC)) if self.for_people else text.iso_time(moment)


class Output:
    """Prints what one command has to say, in the form that its flags ask for."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False, no_color: bool = False) -> None:
        """Look at the terminals once."""
        self.as_json = as_json
        self.quiet = quiet
        self.no_color = no_color
        self.form = Form(for_people=sys.stdout.isatty())

    def result(
        self, name: str, document: Callable[[], Document], *, ids: Iterable[str], shape: Callable[[Form], Shape]
    ) -> None:
        """Print the one result of a command.

        Args:
            name: Of the document's schema: `job` for `musproj.job/1`.
            document: Makes what `--json` prints.
            ids: What `--quiet` prints.
            shape: Makes what people read.
        """
        if self.as_json:
            write(dump({"schema": f"musproj.{name}/1", **document()}, for_people=self.form.for_people))
        elif self.quiet:
            self._lines(list(ids))
        else:
            self.show(shape(self.form))

    def event(self, name: str, document: Document) -> None:
        """Print one line of an NDJSON stream at once."""
        write(dump({"schema": f"musproj.{name}/1", **document}, for_people=False))

    def show(self, shape: Shape) -> None:
        """Print text, every hostile character of it made visible."""
        if isinstance(shape, Table):
            self._table(shape)
        elif isinstance(shape, Fields):
            self._fields(shape)
        else:
            self._lines(shape.lines)

    def note(self, message: str) -> None:
        """Say something beside the result, unless only ids are wanted."""
        if not self.quiet:
            complain(message)

    def _table(self, table: Table) -> None:
        rows = [[text.visible(cell) for cell in row] for row in table.rows]
        if self.form.for_people:
            from musproj.cli.terminal import print_table

            print_table(table.heads, rows, no_color=self.no_color)
        else:
            for row in rows:
                write("\t".join(row))

    def _fields(self, fields: Fields) -> None:
        width = max((len(name) for name, _ in fields.pairs), default=0)
        for name, value in fields.pairs:
            gap = " " * (width - len(name) + 2) if self.form.for_people else "\t"
            write(f"{name}{gap}{text.visible(value)}")

    def _lines(self, lines: Sequence[str]) -> None:
        for line in lines:
            write(text.visible(line))


def dump(document: Document, *, for_people: bool) -> str:
    """Return `document` as JSON with sorted keys; ASCII, so that no name in it can steer a terminal."""
    return json.dumps(document, sort_keys=True, allow_nan=False, indent=2 if for_people else None)


class ClosedOutputError(Exception):
    """Nobody reads stdout any more; not an OSError, which Typer would answer in its own way."""


def write(line: str) -> None:
    """Print one line of the result at once, so that a reader of a pipe sees it.

    Raises:
        ClosedOutputError: the reader went away.
    """
    try:
        print(line, flush=True)  # noqa: T201 - the one place that prints the result
    except BrokenPipeError as exc:
        raise ClosedOutputError from exc


def write_bytes(block: bytes) -> None:
    """Write bytes of the result as they are.

    Raises:
        InvalidError: people look at stdout.
        ClosedOutputError: the reader went away.
    """
    if sys.stdout.isatty():
        from musproj.errors import InvalidError

        raise InvalidError("Audio is not written to a terminal.", hint="Send it to a file or a pipe: -o - > take.wav")
    try:
        sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
    except BrokenPipeError as exc:
        raise ClosedOutputError from exc


def complain(message: str) -> None:
    """Print one line that is not the result."""
    print(text.visible(message), file=sys.stderr, flush=True)  # noqa: T201 - the one place that prints the rest


def print_error(code: str, message: str, *, hint: str | None, facts: Document, as_json: bool) -> None:
    """Print an error on stderr: one line of JSON, or `error[code]: …` and a hint below it."""
    if as_json:
        error = {"code": code, "message": message, **facts, **({"hint": hint} if hint else {})}
        complain(dump({"error": error}, for_people=False))
        return
    complain(f"error[{code}]: {message}")
    if hint:
        complain(f"  hint: {hint}")
