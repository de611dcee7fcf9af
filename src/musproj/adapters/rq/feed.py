"""How a worker waits for a job: one blocking command, on a connection whose socket it can select on."""

import threading
import time
from collections import deque
from collections.abc import Callable

from musproj.adapters.rq.records import Line
from musproj.ports.changes import ChangeFeed

BLOCK_S = 60
"""An idle worker asks once in this time."""
OVERDUE_S = BLOCK_S + 10.0
"""A server that has not answered by then is gone, although nobody told."""
BROKEN_INTERVAL_S = 1.0
ON_ITS_WAY_S = 0.1
"""How long a delivery may take from the server to who waits for it."""
FAREWELL_S = 1.0
"""How long the answer to the end of the waiting may take."""


class RqFeed(ChangeFeed):
    """Takes the next delivery while nobody asks, and keeps it for the next claim."""

    def __init__(self, line: Line, source: str, target: str, end: "Callable[[RqFeed], None]") -> None:
        """Wait on `line` for what comes to the list `source`; `end` is told of the close."""
        self._line = line
        self._command = ("BLMOVE", source, target, "LEFT", "RIGHT", BLOCK_S)
        self._end = end
        self._kept: deque[str] = deque()
        self._armed_at: float | None = None
        self._thread = threading.get_ident()
        self._is_closed = False
        self._is_behind = False
        self.arm()

    @property
    def interval(self) -> float:
        """As long as the waiting lasts; short while the connection is broken."""
        return float(BLOCK_S) if self._line.is_open else BROKEN_INTERVAL_S

    @property
    def is_waiting(self) -> bool:
        """Whether the queue was empty when the feed last looked, so that a look at it would find nothing."""
        return self._armed_at is not None and self._is_here

    @property
    def client_id(self) -> int | None:
        """The server's number of the connection."""
        return self._line.greeted[0] if self._line.is_open and self._line.greeted else None

    def fileno(self) -> int | None:
        """Return a descriptor that is readable when a delivery has come, None while the connection is broken."""
        return None if self._is_closed else self._line.fileno()

    def poll(self) -> bool:
        """Tell whether there is a delivery, or may be one because the connection was broken."""
        if self._is_closed:
            return False
        if self._is_behind:
            self._is_behind = False
            return True
        if not self._line.is_open:
            self._armed_at = None
            return self._line.reopen() and self.arm()
        was_waiting = self._armed_at is not None
        self._hear()
        if self._armed_at is not None and time.monotonic() > self._armed_at + OVERDUE_S:
            self._line.hang_up()
        if self._kept or not self._line.is_open:
            return True
        if was_waiting and self._armed_at is None:
            self.arm()  # the time was over
        return False

    def hurry(self) -> None:
        """Tell at the next look that there may be a delivery: a claim ended before it had seen all."""
        self._is_behind = True

    def arm(self) -> bool:
        """Wait for the next delivery; for who has found nothing."""
        if self._armed_at is None and self._is_here and not self._kept and self._line.say(*self._command):
            self._armed_at = time.monotonic()
        return self._armed_at is not None

    def take(self) -> str | None:
        """Return the delivery that has come, once."""
        if not self._is_here:
            return None
        self._hear()
        return self._kept.popleft() if self._kept else None

    def expect(self) -> None:
        """Listen for a delivery that was just made: it is on its way, unless another worker waited longer."""
        if self._armed_at is not None and self._is_here and not self._kept:
            self._keep(self._line.await_reply(ON_ITS_WAY_S))

    def close(self) -> None:
        """Stop waiting and give back what has come; a second call does nothing."""
        if self._is_closed:
            return
        try:
            self._end(self)
        finally:
            self._is_closed = True
            self._line.close()

    def rest(self) -> list[str]:
        """Return what has come until the waiting was ended, for it to be given back."""
        if self._armed_at is not None and not self._kept:
            self._keep(self._line.await_reply(FAREWELL_S))
        found, self._kept = list(self._kept), deque()
        return found

    @property
    def _is_here(self) -> bool:
        """A claim may be made in another thread; the feed belongs to one."""
        return not self._is_closed and threading.get_ident() == self._thread

    def _hear(self) -> None:
        if self._armed_at is not None:
            self._keep(self._line.hear())

    def _keep(self, replies: list[object]) -> None:
        for reply in replies:
            self._armed_at = None
            if isinstance(reply, bytes):
                self._kept.append(reply.decode("utf-8", "replace"))
