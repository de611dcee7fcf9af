"""Asks outside services how far they are: in a process of its own, because the supervisor waits for nobody."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress

import attrs

from musproj.application.remote_poll import Poller
from musproj.composition import MusProj
from musproj.errors import UnavailableError
from musproj.worker.side_process import SideProcess

log = logging.getLogger(__name__)

IDLE_S, ECONOMY_IDLE_S = 5.0, 30.0
"""Between two looks that found nothing to do, and the same where each command is paid for."""
AWAY_S = 2.0
"""Between two looks while the records are away."""
RESTART_S = 5.0
"""Between the start of a poller and the start of the next, at least: its end does not count."""
LONGEST_RESTART_S = 300.0
"""The same, of one that ends each time before the next may start: no service can be opened, say."""
SHARE = 1 / 3
"""Of the shortest time between two questions for one operation: how punctual a look is."""


@attrs.frozen(kw_only=True)
class Polling:
    """What a poller's process is given."""

    parent: int
    """Pid of the supervisor."""
    who: str


def poller_of(mp: MusProj, who: str) -> Poller | None:
    """Return the poller of the services that have a key here; None where there is nothing to poll."""
    names = mp.services.usable()
    if not names or mp.outside is None:
        return None
    return Poller(
        jobs=mp.metadata.jobs,
        accounts=mp.outside.accounts,
        services={name: mp.services.open(name) for name in names},
        policy=mp.outside.policy,
        clock=mp.clock,
        who=who,
    )


def poll_for_ever(mp: MusProj, who: str) -> None:
    """Look, and look again; a store that is away is waited for."""
    poller = poller_of(mp, who)
    idle = ECONOMY_IDLE_S if mp.settings.economy else min(IDLE_S, mp.settings.remote_poll_s)
    while poller is not None:
        try:
            done = poller.round()
        except UnavailableError as exc:
            log.info("The records are away: %s", exc, extra={"action": "backend_unavailable"})
            time.sleep(AWAY_S)
            continue
        time.sleep(min(idle, SHARE * mp.settings.remote_poll_s) if done else idle)


@attrs.define(kw_only=True, eq=False)
class PollerKeeper:
    """Keeps one poller alive, where there is something to poll."""

    start: Callable[[], int] | None
    """Starts its process and returns the pid; None: nothing is to be polled."""
    _process: SideProcess = attrs.field(factory=SideProcess, init=False)
    _next_at: float = attrs.field(default=0.0, init=False)
    _pause: float = attrs.field(default=RESTART_S, init=False)

    @property
    def pid(self) -> int | None:
        """The process of the poller that runs, or None."""
        return self._process.pid

    def step(self, now: float) -> None:
        """Start the poller, or start it again; one that never runs for long, less and less often."""
        if self.start is None or now < self._next_at:
            return
        if self._process.is_running():
            self._pause = RESTART_S
            return
        self._next_at = now + self._pause
        self._pause = min(LONGEST_RESTART_S, 2 * self._pause)
        with suppress(OSError):  # no process left: later
            self._process.pid = self.start()

    def close(self) -> None:
        """Kill it; whatever it was about to do, the next one does."""
        self._process.kill()
