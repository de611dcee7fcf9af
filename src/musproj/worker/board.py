"""A page of memory that a job's process and its supervisor share: progress one way, the cancel flag the other.

A processor may report a thousand times a second; writing to memory costs nothing and wakes nobody.
"""

import mmap
import struct
from typing import Self

import attrs

from musproj.application.execution_context import Phase, Pulse
from musproj.errors import JobCancelledError

SIZE = 512
STAGE_BYTES = 200

_CANCEL = 0
_SEQUENCE = struct.Struct("<I")
_SEQUENCE_AT = 4
_REPORT = struct.Struct(f"<BBH{STAGE_BYTES}s")
_REPORT_AT = 8
_TRIES = 100


@attrs.frozen
class Report:
    """What a run says of itself."""

    phase: Phase = Phase.FETCH
    percent: int = 0
    stage: str | None = None


class Board:
    """The shared page; one process writes the report, the other the flag."""

    __slots__ = ("_page",)

    def __init__(self, page: mmap.mmap) -> None:
        """Take a page of `SIZE` zero bytes."""
        self._page = page

    @classmethod
    def anonymous(cls) -> Self:
        """Return a page that forked children share."""
        return cls(mmap.mmap(-1, SIZE))

    @classmethod
    def of_file(cls, descriptor: int) -> Self:
        """Return a page of a file, which a program started anew can share as well."""
        return cls(mmap.mmap(descriptor, SIZE))

    def ask_to_stop(self) -> None:
        """Set the flag; it stays."""
        self._page[_CANCEL] = 1

    @property
    def is_asked_to_stop(self) -> bool:
        """Whether the flag is set."""
        return self._page[_CANCEL] != 0

    def write(self, report: Report) -> None:
        """Replace the report; an odd sequence number tells a reader that it is half written."""
        stage = (report.stage or "").encode()[:STAGE_BYTES]
        (sequence,) = _SEQUENCE.unpack_from(self._page, _SEQUENCE_AT)
        _SEQUENCE.pack_into(self._page, _SEQUENCE_AT, (sequence + 1) & 0xFFFFFFFF)
        _REPORT.pack_into(self._page, _REPORT_AT, report.phase, report.percent, len(stage), stage)
        _SEQUENCE.pack_into(self._page, _SEQUENCE_AT, (sequence + 2) & 0xFFFFFFFF)

    def read(self) -> Report | None:
        """Return the report, or None where its writer died or was stopped in the middle of it.

        The page belongs to a process that runs other people's code: whatever stands there becomes a report.
        """
        for _ in range(_TRIES):
            (before,) = _SEQUENCE.unpack_from(self._page, _SEQUENCE_AT)
            phase, percent, length, stage = _REPORT.unpack_from(self._page, _REPORT_AT)
            (after,) = _SEQUENCE.unpack_from(self._page, _SEQUENCE_AT)
            if before == after and before % 2 == 0:
                text = stage[: min(length, STAGE_BYTES)].decode(errors="ignore")
                return Report(Phase(min(phase, Phase.PUBLISH)), min(percent, 100), text or None)
        return None

    def close(self) -> None:
        """Give the page back."""
        self._page.close()


class BoardPulse(Pulse):
    """The pulse of a run in a job's process."""

    __slots__ = ("_board", "_report")

    def __init__(self, board: Board) -> None:
        """Write to `board`."""
        self._board = board
        self._report = Report()

    def enter(self, phase: Phase) -> None:
        """Write the phase."""
        self._show(attrs.evolve(self._report, phase=phase))

    def report(self, percent: int, stage: str | None) -> None:
        """Write percent and stage, where they differ."""
        if percent != self._report.percent or (stage is not None and stage != self._report.stage):
            self._show(attrs.evolve(self._report, percent=percent, stage=stage or self._report.stage))

    def check(self) -> None:
        """Look at the flag."""
        if self._board.is_asked_to_stop:
            raise JobCancelledError

    def _show(self, report: Report) -> None:
        self._report = report
        self._board.write(report)
