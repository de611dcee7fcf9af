"""What a supervisor does by the clock, and how often."""

import random
import time
from collections.abc import Iterable

WATCH_S = 1.0
"""Between two looks at memory, time limits and progress."""
FLAGS_S = 0.25
"""Between two looks whether a running job is to be cancelled."""
RETRY_S = 2.0
"""Between two beats, and two tries to settle, while a store is away."""
BEATS_PER_LEASE = 3
TICK_SHARES = (0.4, 14.5 / 30)
"""Between two ticks, in leases: 12 to 14.5 s, so that lease and tick together stay within 45 s."""
TICK_S = (12.0, 14.5)


class Chores:
    """Monotonic times at which each is due; all are at the start."""

    def __init__(self, lease_s: float) -> None:
        """Beat three times per lease."""
        self._lease_s = lease_s
        self._due: dict[str, float] = dict.fromkeys(("beat", "watch", "flags", "settle", "tick"), 0.0)

    def next_of(self, names: Iterable[str]) -> float:
        """Return when the first of these is due."""
        return min(self._due[name] for name in names)

    def hurry(self, name: str) -> None:
        """Make it due now."""
        self._due[name] = 0.0

    def take(self, name: str, *, is_away: bool = False) -> bool:
        """Tell whether it is due; if so, it is due again after its time, which depends on whether a store `is_away`."""
        now = time.monotonic()
        if now < self._due[name]:
            return False
        self._due[name] = now + self._interval(name, is_away=is_away)
        return True

    def _interval(self, name: str, *, is_away: bool) -> float:
        match name:
            case "watch":
                return WATCH_S
            case "flags":
                return FLAGS_S
            case "settle":
                return RETRY_S
            case "beat":
                interval = self._lease_s / BEATS_PER_LEASE
                return min(RETRY_S, interval) if is_away else interval
            case _:
                low, high = (min(s * self._lease_s, most) for s, most in zip(TICK_SHARES, TICK_S, strict=True))
                return random.uniform(low, high)  # noqa: S311 - spread, no secret
