"""A worker's signs of life for those who look which workers there are."""

import time
from collections.abc import Callable

import attrs

from musproj.ports.jobs import JobStore, LiveWorker
from musproj.worker.outage import Outage


@attrs.define(kw_only=True, eq=False)
class Presence:
    """Says that the worker lives, and that it does not any more."""

    jobs: JobStore
    outage: Outage
    sign: Callable[[], LiveWorker]
    _is_known: bool = attrs.field(default=False, init=False)

    def lapse(self) -> None:
        """Note that it is time for another sign."""
        self._is_known = False

    def renew(self) -> None:
        """Give a sign where it is time; where the store is away, as soon as that answers again."""
        if self._is_known or time.monotonic() < self.outage.retry_at:
            return
        with self.outage.tolerated():
            self.jobs.announce(self.sign())
            self._is_known = True

    def withdraw(self) -> None:
        """Take leave."""
        self._is_known = True
        with self.outage.tolerated():
            self.jobs.withdraw(self.sign().worker_id)
