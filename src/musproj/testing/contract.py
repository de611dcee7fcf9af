"""What the suites over an installation's stores share: their fixtures, and how a lacking power is told."""

import select
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

from musproj.domain.ledger import Rules
from musproj.ports.changes import ChangeFeed
from musproj.testing.clock import FakeClock
from musproj.testing.ledger import Ledger, OpenLedger

T = TypeVar("T")

HEARING_SECONDS = 10.0


class LedgerContract:
    """Override `open_ledger`; everything else follows from it."""

    @pytest.fixture
    def open_ledger(self) -> OpenLedger:
        """Return a function that opens a new, empty installation by a clock and rules."""
        raise NotImplementedError("override the fixture `open_ledger`: (clock, rules) -> Ledger")

    @pytest.fixture
    def clock(self) -> FakeClock:
        """Return the clock that the stores under test go by."""
        return FakeClock()

    @pytest.fixture
    def ledger(self, open_ledger: OpenLedger, clock: FakeClock) -> Ledger:
        """Return an installation with the default rules."""
        return open_ledger(clock, Rules())

    @pytest.fixture
    def again(self, ledger: Ledger) -> Ledger:
        """Return the same installation through other handles, as another process has it."""
        return need(ledger.again, "Ledger.again: it cannot be opened a second time")()

    @pytest.fixture
    def cut_off(self, ledger: Ledger) -> Ledger:
        """Return an installation whose backend cannot be reached any more."""
        need(ledger.cut_off, "Ledger.cut_off: its backend cannot be made unreachable")()
        return ledger


def need(power: T | None, lacking: str) -> T:
    """Return `power`, or skip the test and say what this adapter lacks."""
    if power is None:
        pytest.skip(f"not given by this adapter's fixture: {lacking}")
    return power


def hears(feed: ChangeFeed) -> bool:
    """Wait for the feed as a supervisor does; tell whether it spoke within a generous time."""
    deadline = time.monotonic() + HEARING_SECONDS
    while time.monotonic() < deadline:
        _wait(feed, min(feed.interval, 0.2))
        if feed.poll():
            return True
    return False


def hush(feed: ChangeFeed) -> None:
    """Poll until the feed has nothing left to say of what happened before."""
    for _ in range(100):
        _wait(feed, min(feed.interval, 0.02))
        if not feed.poll():
            return


def tells_of(feed: ChangeFeed, change: Callable[[], object]) -> bool:
    """Tell whether the feed, quiet before, speaks after `change`."""
    hush(feed)
    change()
    return hears(feed)


def _wait(feed: ChangeFeed, seconds: float) -> None:
    descriptor = feed.fileno()
    if descriptor is None:
        time.sleep(seconds)
    else:
        select.select([descriptor], [], [], seconds)
