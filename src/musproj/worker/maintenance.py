"""Looks after uploads that nobody confirmed, in a process of its own: a bucket that hangs blocks no job."""

import random
import time
from collections.abc import Callable
from contextlib import suppress

import attrs

from musproj.worker.outage import Outage
from musproj.worker.side_process import SideProcess

INTERVAL_S = 60.0
LONGEST_S = 600.0
"""A sweep that takes longer hangs."""


@attrs.define(kw_only=True, eq=False)
class Maintenance:
    """Starts one sweep a minute, never two at once."""

    start: Callable[[], int | None]
    """Starts the process of one sweep and returns its pid, None where there is nothing to sweep."""
    outage: Outage
    _process: SideProcess = attrs.field(factory=SideProcess, init=False)
    _started_at: float = attrs.field(default=0.0, init=False)
    _due_at: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Draw the first time, so that many workers do not begin together."""
        self._due_at = time.monotonic() + random.uniform(0, INTERVAL_S)  # noqa: S311 - spread, no secret

    @property
    def pid(self) -> int | None:
        """The process of the sweep that runs, or None."""
        return self._process.pid

    @property
    def due_at(self) -> float:
        """Monotonic time of the next `step` that does something."""
        return self._due_at

    def step(self, now: float) -> None:
        """Start a sweep that is due; reap one that has ended, kill one that hangs."""
        is_running = self._process.is_running()
        if now < self._due_at:
            return
        self._due_at = now + INTERVAL_S
        if is_running:
            if now > self._started_at + LONGEST_S:
                self.close()
            return
        if now < self.outage.retry_at:
            return
        with self.outage.tolerated(), suppress(OSError):  # no process left: next minute
            self._process.pid = self.start()
            self._started_at = now

    def close(self) -> None:
        """Kill a sweep that runs; whatever it was about to do, the next one does."""
        self._process.kill()
