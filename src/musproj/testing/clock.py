"""A clock that stands still until it is told to move."""

import threading
from datetime import UTC, datetime, timedelta

from musproj.domain.times import whole_millis
from musproj.ports.clock import Clock

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""Where a fake clock starts."""


class FakeClock(Clock):
    """Wall time under a test's control; usable from several threads."""

    def __init__(self, start: datetime = NOON) -> None:
        self._now = whole_millis(start)
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the time that was set last."""
        with self._lock:
            return self._now

    def advance(self, by: timedelta | float) -> datetime:
        """Move on by a timedelta or by seconds; return the new time."""
        step = by if isinstance(by, timedelta) else timedelta(seconds=by)
        if step < timedelta(0):
            raise ValueError("advance() only goes forward; use set() to act out a clock that jumped back")
        with self._lock:
            self._now = whole_millis(self._now + step)
            return self._now

    def set(self, now: datetime) -> None:
        """Jump anywhere, also back: the view of another process with another clock."""
        with self._lock:
            self._now = whole_millis(now)
