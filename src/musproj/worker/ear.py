"""A change feed as the supervisor listens to it: opened when its store answers, followed when it reconnects."""

import selectors
import time
from collections.abc import Callable

from musproj.ports.changes import ChangeFeed
from musproj.worker.outage import Outage

DEAF_INTERVAL_S = 1.0
"""Between two looks while the feed is not open."""


class Ear(ChangeFeed):
    """One feed, and its place in the selector.

    A feed over a network may open another connection whenever it is polled or its store is used, so its descriptor
    is compared after each of these. The selector must be one that keeps nothing of a descriptor in the kernel: a new
    connection may get the number of the one before.
    """

    def __init__(
        self,
        open_feed: Callable[[], ChangeFeed],
        selector: selectors.BaseSelector,
        outage: Outage,
        heed: Callable[[], None] | None = None,
    ) -> None:
        """Open nothing yet; `heed` is called by the loop when the feed's descriptor is readable."""
        self._open = open_feed
        self._selector = selector
        self._outage = outage
        self._heed = heed
        self._feed: ChangeFeed | None = None
        self._registered: int | None = None

    @property
    def interval(self) -> float:
        """The feed's, while it is open."""
        return DEAF_INTERVAL_S if self._feed is None else self._feed.interval

    @property
    def is_woken(self) -> bool:
        """Whether the selector hears of changes, so that nobody needs to ask."""
        return self._registered is not None

    def listen(self) -> bool:
        """Open the feed unless it is open, and tell whether that was done; a store that is away opens at a later call."""
        is_new = self._feed is None and time.monotonic() >= self._outage.retry_at
        if is_new:
            with self._outage.tolerated(proves=False):
                self._feed = self._open()
        self.follow()
        return is_new and self._feed is not None

    def follow(self) -> None:
        """Have the selector watch the feed's present descriptor."""
        descriptor = self.fileno()
        if descriptor == self._registered:
            return
        if self._registered is not None:
            self._selector.unregister(self._registered)
        if descriptor is not None:
            self._selector.register(descriptor, selectors.EVENT_READ, self._heed)
        self._registered = descriptor

    def fileno(self) -> int | None:
        """Return the feed's descriptor, if it is open and has one."""
        return None if self._feed is None else self._feed.fileno()

    def poll(self) -> bool:
        """Ask the feed; one that is not open tells nothing."""
        if self._feed is None:
            return False
        is_new = self._feed.poll()
        self.follow()
        return is_new

    def close(self) -> None:
        """Close the feed, which hands back what it may have taken; `listen` opens another."""
        feed, self._feed = self._feed, None
        self.follow()
        if feed is not None:
            with self._outage.tolerated(proves=False):
                feed.close()
