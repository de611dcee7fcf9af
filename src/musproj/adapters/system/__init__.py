"""What every deployment takes from the operating system."""

import threading
import time
from datetime import UTC, datetime

from musproj.domain.times import whole_millis
from musproj.ports.clock import Clock


class SystemClock(Clock):
    """The host's wall clock, which in one process never runs backwards."""

    __slots__ = ("_last", "_lock")

    def __init__(self) -> None:
        """Start at the present time."""
        self._last = 0.0
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return aware UTC in whole milliseconds, never earlier than the call before."""
        with self._lock:
            self._last = max(self._last, time.time())
            return whole_millis(datetime.fromtimestamp(self._last, UTC))
