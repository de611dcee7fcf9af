"""What a supervisor does by the clock, and how often."""

import random
import time
from collections.abc import Iterable

from musproj.composition import ECONOMY_TICK

WATCH_S = 1.0
"""Between two looks at memory, time limits and progress."""
FLAGS_S = 0.25
"""Between two looks whether a running job is to be cancelled."""
POLL_S = 0.5
"""Between two looks at outside services, where the supervisor has to do that itself."""
RETRY_S = 2.0
"""Between two beats, and two tries to settle, while a store is away."""
BEATS_PER_LEASE = 3
TICK_SHARES = (0.4, 14.5 / 30)
"""Between two ticks, in leases: 12 to 14.5 s, so that lease and tick together stay within 45 s."""
TICK_S = (12.0, 14.5)
ECONOMY_TICK_S = (0.8 * ECONOMY_TICK.total_seconds(), ECONOMY_TICK.total_seconds())
"""The same where every command is paid for: a killed worker's job then waits up to lease + 60 s."""
ANNOUNCE_S = 40.0
"""Between two signs of life, each good for `WORKER_LIFE`; about each third tick."""
NEWS_S, REMOTE_NEWS_S = 1.0, 5.0
"""Between two writes of progress: into a file of this host, and over a network, where each is a paid command."""


class Chores:
    """Monotonic times at which each is due; all are at the start."""

    def __init__(self, lease_s: float, *, is_economical: bool = False) -> None:
        """Beat three times per lease; tick rarely where that `is_economical`."""
        self._lease_s = lease_s
        self._is_economical = is_economical
        names = ("beat", "watch", "news", "flags", "settle", "tick", "announce", "poll")
        self._due: dict[str, float] = dict.fromkeys(names, 0.0)

    def next_of(self, names: Iterable[str]) -> float:
        """Return when the first of these is due."""
        return min(self._due[name] for name in names)

    def hurry(self, name: str) -> None:
        """Make it due now."""
        self._due[name] = 0.0

    def retry(self, name: str) -> None:
        """Make it due again soon: the store that it needs was away."""
        self._due[name] = min(self._due[name], time.monotonic() + RETRY_S)

    def take(self, name: str, *, is_remote: bool = False) -> bool:
        """Tell whether it is due; if so, it is due again after its time, which depends on where the stores are."""
        now = time.monotonic()
        if now < self._due[name]:
            return False
        self.postpone(name, is_remote=is_remote)
        return True

    def postpone(self, name: str, *, is_remote: bool = False) -> None:
        """Make it due after its time, from now on."""
        self._due[name] = time.monotonic() + self._interval(name, is_remote=is_remote)

    def _interval(self, name: str, *, is_remote: bool) -> float:
        match name:
            case "watch":
                return WATCH_S
            case "news":
                return REMOTE_NEWS_S if is_remote else NEWS_S
            case "announce":
                return ANNOUNCE_S
            case "flags":
                return FLAGS_S
            case "poll":
                return POLL_S
            case "settle":
                return RETRY_S
            case "beat":
                return self._lease_s / BEATS_PER_LEASE
            case _:
                return random.uniform(*self._tick_interval())  # noqa: S311 - spread, no secret

    def _tick_interval(self) -> tuple[float, float]:
        if self._is_economical:
            return ECONOMY_TICK_S
        (least, most), (low, high) = TICK_SHARES, TICK_S
        return min(least * self._lease_s, low), min(most * self._lease_s, high)
