"""A store that is away: the worker goes on, asks less often, and says so once."""

import random
import time
from collections.abc import Generator
from contextlib import contextmanager

from musproj.errors import MusProjError
from musproj.worker.events import Teller

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0


class Outage:
    """Knows whether the stores answer."""

    def __init__(self, tell: Teller) -> None:
        """Begin in good faith."""
        self._tell = tell
        self._pause = 0.0
        self._since: float | None = None
        self.retry_at = 0.0
        """Monotonic time before which nothing new is asked for."""

    @property
    def is_on(self) -> bool:
        """Whether the last call failed."""
        return self._since is not None

    @contextmanager
    def tolerated(self, *, proves: bool = True) -> Generator[None]:
        """Go on after the block where a store in it was away.

        A block that may only have read `proves` nothing: SQLite lets readers in while a writer is locked out.
        """
        try:
            yield
        except MusProjError as exc:  # an unreadable record, too, must not end all the jobs that run here
            self.note(exc)
        else:
            if proves:
                self.clear()

    def note(self, exc: MusProjError) -> None:
        """Note that a store did not answer."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
            self._tell("backend_down", f"A store is away: {exc.message}", code=exc.code)
        elif now < self.retry_at:
            return  # one pause for all the calls that fail during it
        self._pause = min(max(2 * self._pause, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        self.retry_at = now + self._pause * random.uniform(0.5, 1)  # noqa: S311 - jitter, no secret

    def clear(self) -> None:
        """Note that a store answered."""
        if self._since is None:
            return
        seconds = time.monotonic() - self._since
        self._since, self._pause, self.retry_at = None, 0.0, 0.0
        self._tell("backend_up", f"The stores answer again after {seconds:.0f} s.", seconds=seconds)
