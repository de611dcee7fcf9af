"""Change feeds without a broker: a number of SQLite's for other processes, a counter for this one."""

import time
from collections.abc import Callable

from musproj.adapters.local.database import LocalDatabase
from musproj.errors import MusProjError
from musproj.ports.changes import ChangeFeed

BUSY_INTERVAL_S = 0.010
IDLE_INTERVAL_S = 0.025
BUSY_FOR_S = 60.0
"""Measured: 10 ms cost 1.15 % of a core and gave 12 ms from submit to done, 25 ms 0.84 % and 27 ms."""


class LocalFeed(ChangeFeed):
    """Compares `PRAGMA data_version`, which moves when another connection commits, and a counter of this process.

    A commit of this very thread moves the counter alone, one of another process the pragma alone.
    """

    def __init__(self, database: LocalDatabase, counter: Callable[[], int]) -> None:
        """Begin with the present state as known."""
        self._database = database
        self._counter = counter
        self._is_closed = False
        self._busy_until = 0.0
        self._seen: tuple[object, ...] = ()
        self.poll()

    @property
    def interval(self) -> float:
        """Short while something happened in the last minute."""
        return BUSY_INTERVAL_S if time.monotonic() < self._busy_until else IDLE_INTERVAL_S

    def fileno(self) -> int | None:
        """Return None: SQLite has nothing to select on."""
        return None

    def poll(self) -> bool:
        """Tell whether anything may have changed since the last call."""
        if self._is_closed:
            return False
        try:
            now = (*self._database.data_version(), self._counter())
        except MusProjError:
            return True  # whoever looks will be told what is wrong
        is_new, self._seen = now != self._seen, now
        if is_new:
            self._busy_until = time.monotonic() + BUSY_FOR_S
        return is_new

    def close(self) -> None:
        """Hold nothing, free nothing; report nothing any more."""
        self._is_closed = True
