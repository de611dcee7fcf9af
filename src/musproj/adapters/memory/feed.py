"""Change feeds inside one process: a counter that is compared."""

from collections.abc import Callable

from musproj.ports.changes import ChangeFeed


class MemoryFeed(ChangeFeed):
    """Compares a counter with what it was at the last look; costs nothing while nobody looks."""

    def __init__(self, read: Callable[[], int]) -> None:
        self._read = read
        self._seen = read()

    @property
    def interval(self) -> float:
        """Short: a look costs less than a microsecond."""
        return 0.02

    def fileno(self) -> int | None:
        """Return None: there is nothing to select on."""
        return None

    def poll(self) -> bool:
        """Tell whether the counter moved."""
        seen, self._seen = self._seen, self._read()
        return seen != self._seen

    def close(self) -> None:
        """Hold nothing, free nothing."""
