"""How a waiter learns that something changed without asking all the time."""

from abc import abstractmethod
from typing import Protocol


class ChangeFeed(Protocol):
    """A hint that records may have changed; never the change itself.

    Used by one thread, in the process that opened it. A feed with a `fileno` is put into a selector and polled
    when readable; one without is polled each `interval`.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def interval(self) -> float:
        """Seconds between two polls; the longest wait where there is a `fileno`."""

    @abstractmethod
    def fileno(self) -> int | None:
        """Return a descriptor that becomes readable on a change, or None."""

    @abstractmethod
    def poll(self) -> bool:
        """Tell whether anything may have changed since the last call; costs microseconds, never raises."""

    @abstractmethod
    def close(self) -> None:
        """Free what the feed holds; a second call does nothing."""
