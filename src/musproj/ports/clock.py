"""The one source of wall time."""

from abc import abstractmethod
from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time; durations inside a process use `time.monotonic`."""

    __slots__ = ()

    @abstractmethod
    def now(self) -> datetime:
        """Return aware UTC, whole milliseconds, never earlier than the call before in this process."""
